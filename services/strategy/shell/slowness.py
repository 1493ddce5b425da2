"""Name units whose handlers are quick but many: none blocks, but together they leave the others little of the worker.

A unit that takes more than `SLOW_SHARE` of the time in `SLOW_AFTER` looks one after the other is slow; it is named once
for each such stretch.
"""

from __future__ import annotations

from collections.abc import Mapping

SLOW_SHARE = 0.5
SLOW_AFTER = 5


class Slowness:
    """Turns the time spent in handlers into shares; look about once a second."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}
        self._looked_ns = 0
        self._streak: dict[str, int] = {}
        self.shares: dict[str, float] = {}

    def look(self, spent_ns: Mapping[str, int], now_ns: int) -> list[str]:
        """Take the sums so far and return the units that have become slow.

        Args:
            spent_ns: unit → time in its handlers since the worker began.
            now_ns: monotonic time.
        """
        elapsed_ns = now_ns - self._looked_ns
        if elapsed_ns <= 0:
            return []
        news = []
        for unit, spent in spent_ns.items():
            share = (spent - self._before.get(unit, 0)) / elapsed_ns if self._looked_ns else 0.0
            self.shares[unit] = share
            self._streak[unit] = self._streak.get(unit, 0) + 1 if share > SLOW_SHARE else 0
            if self._streak[unit] == SLOW_AFTER:
                news.append(unit)
        self._before, self._looked_ns = dict(spent_ns), now_ns
        return news
