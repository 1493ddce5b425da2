"""Know which strategies and contracts are halted or paused by themselves, and which of it the guard holds too.

Invariants:
1. A latch is set from the moment its entry of `control` is read until the resume that names the same scope.
2. It is said to hold only once nothing is between a claim and the socket, and nothing of it on its way to the broker:
   for a contract the guard holds it too.
3. A strategy is known here and at the claim alone: an order at the guard's wire carries a hash of its intent. So what
   was sent and not shown since must be shown, or belong to a connection that was cut, before its latch holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from services.gateway.core.halt_orders import must_go
from services.gateway.core.order_machine import OrderTrack
from shared.bus.latches import HALT
from shared.messages.control import HaltStage
from shared.messages.orders import OrderEvent, OrderState

_CONTRACT = f"{HALT}contract:"
_ON_ITS_WAY = (OrderState.CLAIMED, OrderState.UNKNOWN)


@dataclass
class Latches:
    """The latches of one deployment, by their field in the `halt` hash."""

    _said: dict[str, str] = field(default_factory=dict)
    _requested: dict[str, None] = field(default_factory=dict)
    """Those that are not known to hold yet."""
    _opened: dict[str, None] = field(default_factory=dict)

    def restore(self, known: Mapping[str, str]) -> None:
        """Take what was stored; whether it holds is asked anew in each leadership."""
        self._opened.clear()
        for name, text in known.items():
            self.set(name, text.partition(" ")[2])

    def set(self, name: str, said: str) -> None:
        """Set a latch; the later word is shown."""
        self._said[name] = said
        self._opened.pop(name, None)
        self._requested[name] = None

    def open(self, name: str) -> None:
        """Open a latch."""
        self._said.pop(name, None)
        self._requested.pop(name, None)
        self._opened[name] = None

    def confirmed(self, name: str) -> None:
        """Note that nothing of it passes any more."""
        self._requested.pop(name, None)

    @property
    def requested(self) -> dict[str, str]:
        """Return the latches that are not known to hold, with who set them and why."""
        return {name: self._said[name] for name in self._requested}

    def fields(self) -> dict[str, str]:
        """Return them as the `halt` hash shows them: `<stage> <who>: <reason>`, empty once opened."""
        stage = {name: HaltStage.REQUESTED if name in self._requested else HaltStage.HOLDING for name in self._said}
        shown = {name: f"{stage[name]} {said}" for name, said in self._said.items()}
        return {**dict.fromkeys(self._opened, ""), **shown}

    def must_go(self, tracks: Iterable[OrderTrack], positions: Mapping[int, Decimal] | None) -> list[OrderTrack]:
        """Return the open orders of halted strategies and contracts that add exposure; a pause cancels nothing."""
        if not any(name.startswith(HALT) for name in self._said):
            return []
        return [track for track in must_go(tracks, positions, everything=False) if self.halts(track)]

    def halts(self, track: OrderTrack) -> bool:
        """Return whether an order's strategy or contract is halted, and not only paused."""
        return f"{HALT}strategy:{track.strategy}" in self._said or f"{_CONTRACT}{track.con_id}" in self._said


def may_still_pass(
    name: str, tracks: Iterable[OrderTrack], changes: Iterable[OrderEvent], *, opened_ns: int, client_id: int
) -> bool:
    """Return whether something of a strategy may be on its way to the broker, where its latch stops it no more.

    Args:
        name: the latch of a strategy.
        tracks: open orders.
        changes: changes of orders that wait for the broker's word.
        opened_ns: when the session was opened, 0 while there is none. What was sent before, under the same client id,
            passes no more: its connection was cut, or read to its end, before the id was given out again.
        client_id: of that session.
    """
    strategy = name.partition("strategy:")[2]
    if any(change.strategy == strategy for change in changes):
        return True
    return any(
        track.strategy == strategy
        and track.state in _ON_ITS_WAY
        and not track.is_reducing
        and not (opened_ns and track.sent_ns < opened_ns and track.client_id == client_id)
        for track in tracks
    )


def contract_of(name: str) -> int | None:
    """Return the conId of a contract's latch, None for another."""
    text = name.removeprefix(_CONTRACT)
    return int(text) if name.startswith(_CONTRACT) and text.isascii() and text.isdigit() else None
