"""Go on after a restart or a take-over without losing or doubling a bar.

Bars follow from ticks alone, so a new leader reads ticks again from a while before the last bars on the bus and builds
them anew; what is on the bus already, equal in its numbers, is not published again.

Invariants:
1. A bar that opens at or after `start_ns` and is not on the bus with these numbers is published.
2. A bar that opens before `start_ns` is never published (the daily bar excepted: it is seeded, not rebuilt).
3. A bar that is on the bus with other numbers (late trades came while nobody looked) is published as revised.

Source: P9's idea for strategies, applied to bars; architecture §4, ticks.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from shared.messages.market import Bar

NS_PER_S = 1_000_000_000
OVERLAP_NS = 120 * NS_PER_S
"""How far before the newest published minute the ticks are read again: two minutes, so that each minute is whole."""

Numbers = tuple[Decimal, Decimal, Decimal, Decimal, Decimal, int]


def numbers_of(bar: Bar) -> Numbers:
    """Return what makes two bars of the same interval equal."""
    return (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades)


def start_after(tail: Iterable[Bar]) -> int | None:
    """Return from which opening time on bars are rebuilt, given the newest on the bus; None: from the beginning."""
    minutes = [bar.ts_close_ns for bar in tail if bar.interval == "1m"]
    shorter = [bar.ts_open_ns for bar in tail if bar.interval != "1d"]
    if minutes:
        newest_ns = max(minutes)
    elif shorter:
        newest_ns = min(shorter)
    else:
        return None
    start_ns = newest_ns - OVERLAP_NS
    return start_ns - start_ns % (60 * NS_PER_S)


class Resumption:
    """Filters the rebuilt bars of one partition.

    Args:
        start_ns: as `start_after` says.
        published: bars on the bus that open at or after it, in order (a revision replaces the earlier).
    """

    def __init__(self, start_ns: int | None, published: Iterable[Bar] = ()) -> None:
        self.start_ns = start_ns or 0
        self._published = {bar.envelope_id(): numbers_of(bar) for bar in published}

    @property
    def is_over(self) -> bool:
        """Return whether nothing can be held back any more."""
        return not self._published

    def news(self, bars: Iterable[Bar]) -> list[Bar]:
        """Return the bars to publish."""
        kept: list[Bar] = []
        for bar in bars:
            if bar.ts_open_ns < self.start_ns and bar.interval != "1d":
                continue
            before = self._published.get(bar.envelope_id())
            if before is None:
                kept.append(bar)
            elif before != numbers_of(bar):
                self._published[bar.envelope_id()] = numbers_of(bar)
                kept.append(bar.model_copy(update={"is_revised": True}))
        return kept

    def forget_before(self, ts_ns: int) -> None:
        """Drop what opened before `ts_ns`: it can no longer be rebuilt, so it need not be remembered."""
        self._published = {key: row for key, row in self._published.items() if int(key.rsplit(":", 1)[1]) >= ts_ns}
