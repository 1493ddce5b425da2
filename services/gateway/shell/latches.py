"""Carry out halts and pauses of a strategy or a contract: at the claim, for a contract at the guard, then cancel.

They are stored in the `halt` hash, where the claim script looks (`shared/bus/latches.py`), and on this machine's disk
with the account's halt. The guard is asked again until it holds a contract, and what is under way of a strategy is
waited for; what adds exposure is cancelled as by a halt of the account, whether risk lives or not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal

from services.gateway.core.book import OrderBook
from services.gateway.core.latches import Latches, contract_of, may_still_pass
from services.gateway.core.order_machine import OrderTrack
from services.gateway.shell.commands import Commands
from services.gateway.shell.guard import GuardControl
from services.gateway.shell.trading import Trading
from shared.clock import NS_PER_S, Clock
from shared.logs import get_logger
from shared.messages.control import Control

CANCEL_AGAIN_NS = 1 * NS_PER_S


class LatchDesk:
    """The leader's side of halts that are not the account's.

    Args:
        store: writes the halt hash, the latches of `fields` and the cursor with it, then (or first) the disk; told
            whether something is held by it that was not.
    """

    def __init__(
        self, book: OrderBook, commands: Commands, trading: Trading, guard: GuardControl,
        store: Callable[[bool], Awaitable[None]], clock: Clock,
    ) -> None:  # fmt: skip
        self._book = book
        self._commands = commands
        self._trading = trading
        self._guard = guard
        self._store = store
        self._clock = clock
        self._latches = Latches()
        self.halts = self._latches.halts

    def restore(self, known: Mapping[str, str]) -> None:
        """Take what was stored."""
        self._latches.restore(known)

    def fields(self) -> dict[str, str]:
        """Return what the halt hash shows of them."""
        return self._latches.fields()

    async def take(self, message: Control, name: str, *, is_set: bool) -> bool:
        """Set or open the latch that an act names; False if the guard does not open it."""
        if is_set:
            async with self._commands.sending:  # what was claimed is written; what comes next meets the latch
                self._latches.set(name, f"{message.who}: {message.reason or 'no reason given'}")
                await self._store(True)
            get_logger().warning("halt.scope_set", latch=name, who=message.who, reason=message.reason)
            await self._see_held()
            return True
        con_id = contract_of(name)
        if con_id is not None and not await self._guard.resume_contract(con_id, message.who, message.reason):
            get_logger().error("resume.refused_by_guard", who=message.who, latch=name)
            return False
        self._latches.open(name)
        await self._store(False)
        get_logger().warning("halt.scope_opened", latch=name, who=message.who, reason=message.reason)
        return True

    async def _see_held(self) -> None:
        """Have the guard hold contracts, look for orders of strategies under way, and say what holds by now."""
        for name, said in self._latches.requested.items():
            con_id = contract_of(name)
            who, _, reason = said.partition(": ")
            if con_id is not None:
                holds = await self._guard.halt_contract(con_id, who, reason)
            else:
                holds = not self._may_still_pass(name)
            if holds:
                self._latches.confirmed(name)
                await self._store(True)

    def _may_still_pass(self, name: str) -> bool:
        book, trading = self._book, self._trading
        return may_still_pass(
            name, book.open_tracks(), book.modifies.values(), opened_ns=trading.opened_ns, client_id=trading.client_id
        )

    async def work(self, positions: Mapping[int, Decimal] | None) -> list[OrderTrack]:
        """See again whether what does not hold yet does by now, and cancel what must go.

        Returns:
            The orders that must go and live under another client id: this session cannot cancel them.
        """
        await self._see_held()
        now_ns = self._clock.monotonic_ns()
        foreign = []
        for track in self._latches.must_go(self._book.open_tracks(), positions):
            if track.cancel_sent_ns and now_ns - track.cancel_sent_ns < CANCEL_AGAIN_NS:
                continue
            if track.client_id not in (0, self._trading.client_id):
                foreign.append(track)
            else:
                await self._commands.cancel(track, "its strategy or its contract is halted")
        return foreign
