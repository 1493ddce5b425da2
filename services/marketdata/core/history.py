"""Know which historical bars are cached, and ask only for what is missing.

Invariants:
1. Only closed bars are kept: a bar whose interval has not ended by `now_ns` is handed out but asked for again.
2. A span counts as covered only when the broker answered for all of it; no bars in it then means none exist. "No data"
   for a whole request covers nothing: it is handed on, but asked again the next time.
3. Spans are half open, wall ns UTC, aligned to the bar length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.messages.requests import HistoryBar

NS_PER_S = 1_000_000_000
DAY_NS = 86_400 * NS_PER_S
_LONGEST_S = ((1, 1_800), (5, 7_200), (30, 28_800), (60, 86_400), (300, 604_800), (1_800, 2_592_000))
"""Longest span IB answers in one request, by bar length in seconds (its table of step sizes, shortened)."""
_LONGEST_DAILY_S = 365 * 86_400
SMALL_BARS_S = 30
"""Bars up to this length are under IB's strict pacing."""
SMALL_STEPS = 12
"""So many requests may go into looking for small bars before the time that would hold them in an open market."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the broker: bars up to `end_ns`, over IB's `duration` text, covering `span`."""

    end_ns: int
    duration: str
    span: Span


def longest_s(length_s: int) -> int:
    """Return the longest span in seconds that one request for bars of `length_s` may ask for."""
    for limit_s, span_s in _LONGEST_S:
        if length_s <= limit_s:
            return span_s
    return _LONGEST_DAILY_S


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return spans sorted and joined where they touch."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        elif end > start:
            joined.append((start, end))
    return joined


def steps_back(end_ns: int, count: int, length_s: int) -> Iterator[Span]:
    """Yield the spans to look through, newest first, for the last `count` bars before `end_ns`.

    The first holds them in a market that never closes; for daily bars it allows for weekends and holidays. Each further
    one is twice as long, up to what one request may ask for. The walk ends after nights, weekends and holidays enough,
    so that a contract without so many bars ends it too; for small bars, of which IB answers only 60 requests in ten
    minutes, after a few steps.
    """
    length_ns = length_s * NS_PER_S
    longest_ns = longest_s(length_s) * NS_PER_S
    is_daily = length_s * NS_PER_S >= DAY_NS
    wanted_ns = count * 3 // 2 * length_ns + 10 * DAY_NS if is_daily else count * length_ns
    step_ns = min(longest_ns, -(-wanted_ns // length_ns) * length_ns)
    first_ns = max(0, end_ns - 4 * wanted_ns - 30 * DAY_NS)
    if length_s <= SMALL_BARS_S:
        first_ns = max(0, end_ns - wanted_ns - SMALL_STEPS * longest_ns)
    at_ns = end_ns
    while at_ns > first_ns:
        yield max(first_ns, at_ns - step_ns), at_ns
        at_ns -= step_ns
        step_ns = min(longest_ns, 2 * step_ns)


class BarCache:
    """The cached bars of one contract, bar size, kind and hours.

    Args:
        length_s: bar length.
        spans: what is covered.
        bars: cached bars in any order.
    """

    def __init__(self, length_s: int, spans: Iterable[Span] = (), bars: Iterable[HistoryBar] = ()) -> None:
        self.length_ns = length_s * NS_PER_S
        self.spans = merged(spans)
        self._bars = {bar.ts_ns: bar for bar in bars}

    @property
    def bars(self) -> list[HistoryBar]:
        """Return every cached bar, oldest first."""
        return [self._bars[ts_ns] for ts_ns in sorted(self._bars)]

    def between(self, start_ns: int, end_ns: int) -> list[HistoryBar]:
        """Return the cached bars that open in `start_ns`..`end_ns`, oldest first."""
        return [bar for bar in self.bars if start_ns <= bar.ts_ns < end_ns]

    def missing(self, start_ns: int, end_ns: int) -> list[Span]:
        """Return the parts of a span that are not covered."""
        holes: list[Span] = []
        at_ns = start_ns
        for start, end in self.spans:
            if end <= at_ns or start >= end_ns:
                continue
            if start > at_ns:
                holes.append((at_ns, start))
            at_ns = end
        if at_ns < end_ns:
            holes.append((at_ns, end_ns))
        return holes

    def requests(self, start_ns: int, end_ns: int) -> list[Request]:
        """Return the requests that fill what is missing, newest first, as IB counts back from an end."""
        step_ns = longest_s(self.length_ns // NS_PER_S) * NS_PER_S
        found: list[Request] = []
        for hole_start, hole_end in reversed(self.missing(start_ns, end_ns)):
            end = hole_end
            while end > hole_start:
                start = max(hole_start, end - step_ns)
                found.append(Request(end, duration_text(end - start, self.length_ns // NS_PER_S), (start, end)))
                end = start
        return found

    def add(self, span: Span, bars: Iterable[HistoryBar], now_ns: int) -> None:
        """Keep the closed bars of an answer and count its span as covered up to the last bar that had closed."""
        closed_ns = now_ns - now_ns % self.length_ns
        for bar in bars:
            if bar.ts_ns + self.length_ns <= now_ns:
                self._bars[bar.ts_ns] = bar
        self.spans = merged([*self.spans, (span[0], min(span[1], closed_ns))])


def duration_text(span_ns: int, length_s: int = 1) -> str:
    """Return a span in IB's words, rounded up: seconds up to a day (never for daily bars), else days, else years."""
    seconds = -(-span_ns // NS_PER_S)
    if seconds <= 86_400 and length_s < 86_400:
        return f"{max(seconds, 30)} S"
    days = -(-seconds // 86_400)
    return f"{days} D" if days <= 365 else f"{-(-days // 365)} Y"
