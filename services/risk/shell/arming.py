"""Look at the stored checklist again and again, so that `cq preflight` arms, and disarms, a risk that runs."""

from __future__ import annotations

import asyncio

from services.risk.core.arming import unprepared
from services.risk.settings import RiskSettings
from services.risk.shell.feed import Feed
from shared.clock import Clock
from shared.logs import get_logger
from shared.preflight import read_result
from shared.settings import Mode

PERIOD_S = 2.0


class Arming:
    """Keeps `Readiness.unprepared` of the book."""

    def __init__(self, settings: RiskSettings, clock: Clock, feed: Feed) -> None:
        self._settings = settings
        self._clock = clock
        self._feed = feed
        self._began_ns = clock.wall_ns()

    async def run(self) -> None:
        """Look for ever; other modes than live have nothing to look at."""
        while True:
            if self._settings.mode is Mode.LIVE:
                self.take(await asyncio.to_thread(self.look))
            await self._clock.sleep(PERIOD_S)

    def look(self) -> tuple[str, ...]:
        """Return what is missing now."""
        settings = self._settings
        is_live = settings.mode is Mode.LIVE
        return unprepared(
            read_result(settings.preflight_path) if is_live else None,
            stage=settings.stage,
            account=settings.account,
            is_live=is_live,
            has_limits_file=settings.limits_file is not None,
            began_ns=self._began_ns,
        )

    def take(self, left: tuple[str, ...]) -> None:
        """Tell the book, and say once what has changed."""
        readiness = self._feed.book.readiness
        if left != readiness.unprepared:
            readiness.unprepared = left
            if left:
                get_logger().warning("live.unprepared", missing=list(left))
            else:
                get_logger().warning("live.prepared", account=self._settings.account)
