"""Lead or stand by: win the lease, fence, pass cancels, restore the book, decide; step down when it is over."""

from __future__ import annotations

import asyncio
from typing import Protocol

from services.risk.shell.feed import Feed
from services.risk.shell.intents import CancelReader, IntentReader
from services.risk.shell.restore import restore
from shared.bus.ports import Bus, LeaseToken
from shared.clock import Clock
from shared.errors import Fenced, OutcomeUnknown, TransientError
from shared.logs import get_logger
from shared.runtime import bind_epoch, side_by_side

RETRY_S = 0.05


class Election(Protocol):
    """What leadership needs of an elector (`shared.leases.elector.Elector`)."""

    def has_lease(self) -> bool:
        """Return whether an act right now is covered by the lease."""
        ...

    async def win(self) -> LeaseToken:
        """Wait until this process leads."""
        ...

    async def lost(self) -> str:
        """Wait until leadership is over; return why."""
        ...

    async def resign(self, reason: str) -> None:
        """Give leadership up."""
        ...


class Leadership:
    """Runs the readers while this process leads. `token` is None while it stands by."""

    def __init__(
        self, bus: Bus, clock: Clock, elector: Election, feed: Feed, intents: IntentReader, cancels: CancelReader
    ) -> None:
        self.token: LeaseToken | None = None
        self.is_deciding = False
        self._bus = bus
        self._clock = clock
        self._elector = elector
        self._feed = feed
        self._intents = intents
        self._cancels = cancels
        self._is_warm = False
        self._is_stopping = False

    async def run(self) -> None:
        """Lead whenever the lease can be had, for ever."""
        while not self._is_stopping:
            token = await self._elector.win()
            bind_epoch(token.epoch)
            try:
                await self._lead(token)
            except* Fenced as group:
                get_logger().warning("leadership.over", epoch=token.epoch, reason=str(group.exceptions[0]))
            finally:
                self.token = None
                self.is_deciding = False
            # Approvals that were reserved but never written are in this book only: the next one is read anew.
            self._is_warm = False
        await asyncio.Event().wait()

    async def warm_up(self) -> None:
        """Begin the book of a standby, so that a take-over only reads what is new."""
        incarnation = await self._bus.incarnation()
        await self._feed.rebuild(incarnation, 0)
        self._is_warm = True

    async def drain(self) -> None:
        """Give the lease up, so that a standby takes over at once."""
        self._is_stopping = True
        await self._elector.resign("stopping")

    async def _lead(self, token: LeaseToken) -> None:
        await self._raise_fence(token)
        self.token = token
        await side_by_side(
            {
                "lease": self._watch,
                "cancels": lambda: self._cancels.run(token),
                "intents": lambda: self._decide(token),
            }
        )

    async def _decide(self, token: LeaseToken) -> None:
        await self._restore(token)
        self.is_deciding = True
        await self._intents.run(token)

    async def _watch(self) -> None:
        reason = await self._elector.lost()
        raise Fenced(reason)

    async def _raise_fence(self, token: LeaseToken) -> None:
        while True:
            if not self._elector.has_lease():
                raise Fenced("the lease was over before the fence stood")
            try:
                await self._bus.raise_fence(token)
                return
            except (TransientError, OutcomeUnknown):
                await self._clock.sleep(RETRY_S)

    async def _restore(self, token: LeaseToken) -> None:
        while True:
            if not self._elector.has_lease():
                raise Fenced("the lease was over before the book was complete")
            try:
                await restore(self._feed, self._bus, token, self._clock, is_warm=self._is_warm)
                return
            except (TransientError, OutcomeUnknown):
                self._is_warm = False
                await self._clock.sleep(RETRY_S)
