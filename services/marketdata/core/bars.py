"""Build time bars of one contract from its trades.

Trades go into the bar of the current second; when that second closes, it is added to the longer intervals, so that a
trade costs one update whatever the number of intervals.

Invariants:
1. A bar is a function of the trades of its interval, not of the order in which they came: open and close are the first
   and last by event time (of equal times, the first and last that came), so that a restart derives equal bars.
2. A bar is given out once when its interval closes, and again, marked `is_revised`, for each late trade of it.
3. An interval closes on time even if no later trade comes: `advance` closes what ended `grace_ns` ago.
4. An interval that overlaps a known gap in the ticks is never `is_complete`.
5. No bar without trades, except of the intervals in `fill_empty` while the market is open: those repeat the last price.

Known limits: a trade later than the kept history (`HISTORY`) is counted in `too_late` and dropped. Bars close by the
sender's clock; while data is delayed they close as much later as the last trade was.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from shared.messages.market import Bar
from shared.sessions import SessionCalendar

NS_PER_S = 1_000_000_000
SECOND = "1s"
DAY = "1d"
LENGTH_NS = {"1s": NS_PER_S, "5s": 5 * NS_PER_S, "1m": 60 * NS_PER_S}
INTERVALS = ("1s", "5s", "1m", "1d")
HISTORY = {"1s": 120, "5s": 60, "1m": 30, "1d": 2}
"""How many closed bars of each interval a late trade can still revise."""
_MAX_EMPTY = 600


@dataclass(frozen=True, slots=True)
class BarRules:
    """What to build: `intervals` are given out, `fill_empty` also without trades, closing `grace_ns` after the end.

    `day_hours` is what the calendar's days cover, `rth` or `all`, and is told with each daily bar.
    """

    intervals: tuple[str, ...] = INTERVALS
    fill_empty: tuple[str, ...] = ()
    grace_ns: int = 200_000_000
    day_hours: str = "rth"


@dataclass(frozen=True, slots=True)
class DayState:
    """The running daily bar, to be kept outside and seeded after a restart; `upto_ns` is the time it covers."""

    open_ns: int
    close_ns: int
    open: float
    high: float
    low: float
    last: float
    volume: float
    notional: float
    trades: int
    first_ns: int
    last_ns: int
    quality: int
    is_complete: bool
    upto_ns: int


class _Accumulator:
    __slots__ = (
        "close",
        "close_ns",
        "first_ns",
        "high",
        "is_complete",
        "last_ns",
        "low",
        "notional",
        "open",
        "open_ns",
        "quality",
        "trades",
        "volume",
    )

    def __init__(self, open_ns: int, close_ns: int, *, is_complete: bool) -> None:
        self.open_ns = open_ns
        self.close_ns = close_ns
        self.is_complete = is_complete
        self.open = self.high = self.low = self.close = 0.0
        self.volume = self.notional = 0.0
        self.trades = 0
        self.first_ns = self.last_ns = 0
        self.quality = 0

    def add(self, ts_ns: int, price: float, size: float, quality: int) -> None:
        if not self.trades:
            self.open = self.high = self.low = self.close = price
            self.first_ns = self.last_ns = ts_ns
        else:
            if price > self.high:
                self.high = price
            elif price < self.low:
                self.low = price
            if ts_ns >= self.last_ns:
                self.close = price
                self.last_ns = ts_ns
            elif ts_ns < self.first_ns:
                self.open = price
                self.first_ns = ts_ns
        self.trades += 1
        self.volume += size
        self.notional += size * price
        if quality > self.quality:
            self.quality = quality

    def merge(self, other: _Accumulator) -> None:
        if not self.trades:
            self.open, self.high, self.low, self.close = other.open, other.high, other.low, other.close
            self.first_ns, self.last_ns = other.first_ns, other.last_ns
        else:
            self.high = max(self.high, other.high)
            self.low = min(self.low, other.low)
            if other.last_ns >= self.last_ns:
                self.close, self.last_ns = other.close, other.last_ns
            if other.first_ns < self.first_ns:
                self.open, self.first_ns = other.open, other.first_ns
        self.trades += other.trades
        self.volume += other.volume
        self.notional += other.notional
        self.quality = max(self.quality, other.quality)
        self.is_complete = self.is_complete and other.is_complete


def _exact(value: float) -> Decimal:
    return Decimal(repr(value)) if value != int(value) else Decimal(int(value))


class ContractBars:
    """The bars of one contract.

    Args:
        con_id: the contract.
        calendar: its trading days, for the daily bar; may be replaced while running.
        rules: what to build.
        known_from_ns: bars that open before were not seen whole.
    """

    __slots__ = (
        "_closed_until_ns",
        "_gap_from_ns",
        "_gap_until_ns",
        "_history",
        "_lag_ns",
        "_last_price",
        "_last_ts_ns",
        "_longer",
        "_rules",
        "_second",
        "_seeded_upto_ns",
        "calendar",
        "con_id",
        "too_late",
    )

    def __init__(self, con_id: int, calendar: SessionCalendar, rules: BarRules, *, known_from_ns: int = 0) -> None:
        self.con_id = con_id
        self.calendar = calendar
        self.too_late = 0
        self._rules = rules
        self._second: _Accumulator | None = None
        self._longer: dict[str, _Accumulator | None] = {name: None for name in INTERVALS if name != SECOND}
        self._history: dict[str, dict[int, _Accumulator]] = {name: {} for name in INTERVALS}
        self._closed_until_ns = 0
        self._gap_from_ns = 0
        self._gap_until_ns = known_from_ns
        self._seeded_upto_ns = 0
        self._lag_ns = 0
        self._last_price = 0.0
        self._last_ts_ns = 0

    # ------------------------------------------------------------------------------------------ events

    def on_trade(self, ts_ns: int, price: float, size: float, quality: int, out: list[Bar]) -> None:
        """Add a trade; bars that it closes or revises are appended to `out`, shorter intervals first."""
        second = self._second
        if second is not None:
            if second.open_ns <= ts_ns < second.close_ns:
                second.add(ts_ns, price, size, quality)
                return
            if ts_ns < second.open_ns:
                self._add_late(ts_ns, price, size, quality, out)
                return
            self._close_second(out)
        elif ts_ns < self._closed_until_ns:
            self._add_late(ts_ns, price, size, quality, out)
            return
        self._close_longer(ts_ns, out)
        open_ns = ts_ns - ts_ns % NS_PER_S
        self._fill(open_ns, out)
        second = self._second = self._opened(open_ns, open_ns + NS_PER_S)
        second.add(ts_ns, price, size, quality)

    def note_lag(self, lag_ns: int) -> None:
        """Let bars close `lag_ns` later by the clock: the last trade was that old when it came (delayed data)."""
        self._lag_ns = lag_ns

    def mark_gap(self, until_ns: int) -> None:
        """Ticks between the last one and `until_ns` may be missing: no bar that overlaps is complete."""
        last_ns = self._second.last_ns if self._second is not None else self._last_ts_ns
        self._gap_from_ns = min(last_ns, until_ns)
        self._gap_until_ns = max(until_ns, self._gap_until_ns)
        for open_bar in (self._second, *self._longer.values()):
            if open_bar is not None:
                open_bar.is_complete = False

    def advance(self, now_ns: int, out: list[Bar]) -> None:
        """Close every interval that ended `grace_ns` (and the data's delay) before `now_ns`."""
        until_ns = now_ns - self._rules.grace_ns - self._lag_ns
        if self._second is not None:
            if self._second.close_ns > until_ns:
                return  # the longer intervals close no earlier than this second
            self._close_second(out)
        self._close_longer(until_ns, out)
        whole_ns = until_ns - until_ns % NS_PER_S
        if whole_ns > self._closed_until_ns:
            self._fill(whole_ns, out)
            self._closed_until_ns = whole_ns

    def deadline_ns(self) -> int | None:
        """Return when `advance` has something to close if no trade comes, by the clock that `advance` is given."""
        open_bars = [bar.close_ns for bar in (self._second, *self._longer.values()) if bar is not None]
        if self._rules.fill_empty and self._last_price:
            open_bars.append(self._closed_until_ns + NS_PER_S)
        return min(open_bars) + self._rules.grace_ns + self._lag_ns if open_bars else None

    # ------------------------------------------------------------------------------------- the daily bar

    def day_state(self) -> DayState | None:
        """Return the running daily bar, the open second not yet included."""
        day = self._longer[DAY]
        if day is None:
            return None
        upto_ns = self._second.open_ns if self._second is not None else max(self._closed_until_ns, day.last_ns + 1)
        return DayState(
            day.open_ns,
            day.close_ns,
            day.open,
            day.high,
            day.low,
            day.close,
            day.volume,
            day.notional,
            day.trades,
            day.first_ns,
            day.last_ns,
            day.quality,
            day.is_complete,
            upto_ns,
        )

    def seed_day(self, state: DayState) -> None:
        """Go on with a daily bar that was kept; trades before its `upto_ns` are in it already."""
        day = _Accumulator(state.open_ns, state.close_ns, is_complete=state.is_complete)
        day.open, day.high, day.low, day.close = state.open, state.high, state.low, state.last
        day.volume, day.notional, day.trades = state.volume, state.notional, state.trades
        day.first_ns, day.last_ns, day.quality = state.first_ns, state.last_ns, state.quality
        self._longer[DAY] = day
        self._seeded_upto_ns = state.upto_ns
        self._last_price = state.last

    def set_calendar(self, calendar: SessionCalendar) -> None:
        """Use other trading days from now on; a running daily bar gets the edges they give it, or ends unseen."""
        self.calendar = calendar
        day = self._longer[DAY]
        if day is None:
            return
        right = calendar.day_of(day.last_ns)
        if right is None:
            self._longer[DAY] = None
        elif (right.open_ns, right.close_ns) != (day.open_ns, day.close_ns):
            day.is_complete = day.is_complete and right.open_ns >= day.open_ns
            day.open_ns, day.close_ns = right.open_ns, right.close_ns

    # ------------------------------------------------------------------------------------------- inside

    def _opened(self, open_ns: int, close_ns: int) -> _Accumulator:
        overlaps_gap = open_ns < self._gap_until_ns and close_ns > self._gap_from_ns
        return _Accumulator(open_ns, close_ns, is_complete=not overlaps_gap)

    def _span(self, interval: str, ts_ns: int) -> tuple[int, int] | None:
        length_ns = LENGTH_NS.get(interval)
        if length_ns is not None:
            open_ns = ts_ns - ts_ns % length_ns
            return open_ns, open_ns + length_ns
        day = self.calendar.day_of(ts_ns)
        return None if day is None else (day.open_ns, day.close_ns)

    def _close_second(self, out: list[Bar]) -> None:
        second = self._second
        if second is None:
            return
        self._second = None
        self._last_price = second.close
        self._last_ts_ns = max(self._last_ts_ns, second.last_ns)
        self._closed_until_ns = max(self._closed_until_ns, second.close_ns)
        self._keep(SECOND, second)
        self._give(SECOND, second, out)
        for interval, running in self._longer.items():
            if running is None or not running.open_ns <= second.open_ns < running.close_ns:
                span = self._span(interval, second.open_ns)
                if span is None:
                    continue
                if running is not None:
                    self._close_one(interval, running, out)
                running = self._longer[interval] = self._opened(*span)
            if interval != DAY or second.open_ns >= self._seeded_upto_ns:
                running.merge(second)

    def _close_longer(self, until_ns: int, out: list[Bar]) -> None:
        for interval, running in self._longer.items():
            if running is not None and running.close_ns <= until_ns:
                self._close_one(interval, running, out)

    def _close_one(self, interval: str, running: _Accumulator, out: list[Bar]) -> None:
        self._longer[interval] = None
        if running.trades:
            self._keep(interval, running)
            self._give(interval, running, out)

    def _keep(self, interval: str, closed: _Accumulator) -> None:
        kept = self._history[interval]
        kept[closed.open_ns] = closed
        while len(kept) > HISTORY[interval]:
            del kept[min(kept)]  # late trades can add an older one: not always the first inserted

    def _add_late(self, ts_ns: int, price: float, size: float, quality: int, out: list[Bar]) -> None:
        frontier_ns = self._second.open_ns if self._second is not None else self._closed_until_ns
        for interval in INTERVALS:
            if interval == DAY and ts_ns < self._seeded_upto_ns:
                continue
            span = self._span(interval, ts_ns)
            if span is None:
                continue
            if interval != SECOND and span[1] > frontier_ns:
                running = self._longer[interval]
                if running is None:
                    running = self._longer[interval] = self._opened(*span)
                running.add(ts_ns, price, size, quality)
            else:
                self._revise(interval, span, (ts_ns, price, size, quality), out)

    def _revise(
        self, interval: str, span: tuple[int, int], trade: tuple[int, float, float, int], out: list[Bar]
    ) -> None:
        kept = self._history[interval]
        closed = kept.get(span[0])
        if closed is not None:
            closed.add(*trade)
            self._give(interval, closed, out, is_revised=True)
            return
        if len(kept) >= HISTORY[interval] and span[0] < min(kept):
            self.too_late += interval == SECOND
            return
        # an interval that had no trade until this one: its bar is new, not a revision
        closed = self._opened(*span)
        closed.add(*trade)
        self._keep(interval, closed)
        self._give(interval, closed, out)

    def _fill(self, until_ns: int, out: list[Bar]) -> None:
        """Give out bars without trades for the intervals asked for that ended at or before `until_ns`."""
        if not self._rules.fill_empty or not self._last_price or not self._closed_until_ns:
            return
        for interval in self._rules.fill_empty:
            length_ns = LENGTH_NS.get(interval)
            if length_ns is None:
                continue
            first_ns = self._closed_until_ns - self._closed_until_ns % length_ns
            opens = range(first_ns, until_ns - length_ns + 1, length_ns)
            kept = self._history[interval]
            for open_ns in opens[-_MAX_EMPTY:]:
                if open_ns in kept or not self.calendar.is_open(open_ns):
                    continue
                empty = self._opened(open_ns, open_ns + length_ns)
                empty.open = empty.high = empty.low = empty.close = self._last_price
                self._keep(interval, empty)
                self._give(interval, empty, out)

    def _give(self, interval: str, bar: _Accumulator, out: list[Bar], *, is_revised: bool = False) -> None:
        if interval not in self._rules.intervals:
            return
        vwap = _exact(round(bar.notional / bar.volume, 6)) if bar.volume > 0 else None
        out.append(
            Bar(
                con_id=self.con_id,
                interval=interval,
                ts_open_ns=bar.open_ns,
                ts_close_ns=bar.close_ns,
                open=_exact(bar.open),
                high=_exact(bar.high),
                low=_exact(bar.low),
                close=_exact(bar.close),
                volume=_exact(bar.volume),
                vwap=vwap,
                trades=bar.trades,
                quality=bar.quality,
                is_complete=bar.is_complete,
                is_revised=is_revised,
                hours=self._rules.day_hours if interval == DAY else "all",
            )
        )
