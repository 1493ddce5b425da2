"""Look at the stored checklist again and again, so that `cq preflight` arms, and disarms, a risk that runs (P8).

The account is not asked for here: without the account id typed into the settings, or with one of another kind than the
mode, nothing starts at all (`shared.settings.check_account`), and the gateway leaves a login that has not got it.
"""

from __future__ import annotations

import asyncio

from services.risk.core.limits import Stage
from services.risk.settings import RiskSettings
from services.risk.shell.feed import Feed
from shared.clock import Clock
from shared.logs import get_logger
from shared.preflight import Result, missing, read_result
from shared.settings import Mode

PERIOD_S = 2.0
NO_FILE = "there is no limits file of your own: set RISK_LIMITS_FILE"


def unprepared(
    result: Result | None, *, stage: Stage, account: str, is_live: bool, has_limits_file: bool, began_ns: int
) -> tuple[str, ...]:
    """Return what is missing before entries, a sentence each.

    Args:
        result: what `cq preflight` stored, None where there is nothing that can be read.
        stage: an observing deployment needs nothing: it opens nothing.
        account: of the settings; a result for another one counts as none.
        is_live: whether real money is traded.
        has_limits_file: whether the settings name one; what is wrong in it is another rule's.
        began_ns: when this process began: a checklist may run out between two starts, not under a running system.
    """
    if not is_live or stage is Stage.OBSERVE:
        return ()
    left = missing(result, mode="live", account=account, now_ns=began_ns)
    return tuple(left if has_limits_file else [NO_FILE, *left])


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
