"""Let the exits of a bracket follow what its entry has filled, also where IB does not reduce them by itself.

An entry that ends partly filled (cancelled, expired at the close) leaves exits that were made for all of it: a stop for
100 shares over a position of 40 would open a short position of 60. What TWS does with them then is not documented
(ib-facts A.13), so the platform sees to it, for a dead strategy as well.

Invariants:
1. Nothing is asked for while the entry may still fill: IB holds the exits back until it has ended.
2. An exit is made no larger than what the entry has filled and its siblings have not closed; one that has nothing left
   to close is cancelled. It grows only up to the size it had before it was reduced here, and only for executions that
   came after that.
3. The broker gets `GRACE_NS` to do it by itself, an answer `AGAIN_NS`.
4. An exit is changed only while the broker shows it and no other change of it is under way.
5. What was reduced is remembered outside too (`reduced`, `remember`), so that the next leader lets it grow as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from services.risk.core.legs import Leg, OrderGroup
from shared.messages.orders import Group, OrderState
from shared.money import ZERO

GRACE_NS = 1_000_000_000
"""How long the broker may take to reduce or cancel the exits itself, and late executions to come."""
AGAIN_NS = 5_000_000_000
"""How long a change may take before it is asked for again."""
_CHANGEABLE = (OrderState.WORKING, OrderState.PENDING, OrderState.INACTIVE)

Key = tuple[str, int]
"""Intent id and leg of an exit."""


@dataclass(frozen=True, slots=True)
class ResizeExit:
    """Give an exit another quantity; `filled` of `wanted` is what its entry did."""

    intent_id: str
    leg: int
    quantity: Decimal
    filled: Decimal
    wanted: Decimal


@dataclass(frozen=True, slots=True)
class CancelExit:
    """Cancel an exit that has nothing to close."""

    intent_id: str
    leg: int
    strategy: str


@dataclass(slots=True)
class _Watched:
    """An exit that does not fit: what it should be, and when that is due."""

    quantity: Decimal
    due_ns: int


@dataclass(frozen=True, slots=True)
class Reduced:
    """An exit that was reduced here: its size before, and what its entry had filled by then."""

    before: Decimal
    filled: Decimal


class Exits:
    """What is to be done about exits, step by step."""

    def __init__(self) -> None:
        self._watched: dict[Key, _Watched] = {}
        self._reduced: dict[Key, Reduced] = {}

    @property
    def reduced(self) -> Mapping[Key, Reduced]:
        """Return what was reduced and still works."""
        return self._reduced

    def remember(self, reduced: Mapping[Key, Reduced]) -> None:
        """Take what a leader before reduced; what this one did itself is newer."""
        self._reduced = {**reduced, **self._reduced}

    def step(self, groups: Iterable[OrderGroup], now_ns: int) -> list[ResizeExit | CancelExit]:
        """Return what to ask for now; nothing while exits fit, or answers are awaited."""
        acts: list[ResizeExit | CancelExit] = []
        watched, reduced = self._watched, self._reduced
        self._watched, self._reduced = {}, {}
        for group in groups:
            for entry, leg in _exits_of(group):
                key = (group.key, leg.number)
                if key in reduced:
                    self._reduced[key] = reduced[key]
                wanted = self._wanted(group, entry, leg, reduced.get(key))
                if wanted is None:
                    continue
                found = watched.get(key)
                if found is None or found.quantity != wanted:
                    found = _Watched(wanted, now_ns + GRACE_NS)
                self._watched[key] = found
                if now_ns < found.due_ns or leg.pending or leg.state not in _CHANGEABLE:
                    continue
                found.due_ns = now_ns + AGAIN_NS
                if wanted <= leg.filled:
                    acts.append(CancelExit(group.key, leg.number, group.strategy))
                    continue
                before = reduced[key].before if key in reduced else leg.quantity
                self._reduced[key] = Reduced(before, entry.filled)
                acts.append(ResizeExit(group.key, leg.number, wanted, entry.filled, entry.quantity))
        return acts

    @staticmethod
    def _wanted(group: OrderGroup, entry: Leg, leg: Leg, reduced: Reduced | None) -> Decimal | None:
        """Return the quantity an exit should have, None if it has it."""
        left = entry.filled - sum(
            (other.filled for other in group.legs.values() if other.parent == entry.number and other is not leg), ZERO
        )
        left = max(ZERO, left)
        if leg.quantity > entry.filled:
            return left
        # Within it siblings are the broker's: whether it shows what it took off an exit for them is not known.
        if reduced is not None and entry.filled > reduced.filled and min(reduced.before, left) > leg.quantity:
            return min(reduced.before, left)
        return None


def _exits_of(group: OrderGroup) -> Iterator[tuple[Leg, Leg]]:
    """Yield (entry, exit) for the working exits of a bracket of ours whose entry has ended."""
    if group.kind is not Group.BRACKET or group.is_external:
        return
    for leg in group.legs.values():
        entry = None if leg.parent is None else group.legs.get(leg.parent)
        if entry is not None and entry.is_shown and not entry.is_open and leg.is_open and leg.is_shown:
            yield entry, leg
