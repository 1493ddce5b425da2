"""Let callers wait for room in a session's message budget, most urgent first."""

from __future__ import annotations

import asyncio

from services.gateway.core.pacing import Lane, Pacer
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock


class Pace:
    """The data session's budget; the trading session has its own, with lanes for orders, in `trading.py`."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._pacer: Pacer[asyncio.Future[None]] = Pacer()

    async def slot(self, lane: Lane) -> None:
        """Wait for room for one message.

        Raises:
            PacingRefused: the lane's queue is full.
        """
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pacer.submit(lane, mine)
        while not mine.done():
            for granted in self._pacer.take(self._clock.monotonic_ns()):
                if not granted.done():
                    granted.set_result(None)
            if mine.done():
                return
            deadline_ns = self._pacer.deadline_ns() or 0
            await self._clock.sleep(max(0.001, (deadline_ns - self._clock.monotonic_ns()) / NS_PER_S))
