"""Make historical bars: from recorded seconds where there are some, else from the synthetic price path.

Invariants:
1. Bars are on the tick, low <= open, close <= high, in time order, and never begin in the future.
2. The same request at the same time gives the same bars.

Regular hours are those of the exchange's calendar where one is followed, else Monday to Friday 09:30-16:00.

Source: ib-facts B.5 (17, 90, 88); duration and bar size names of the IB documentation.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from services.simulator.core.chance import hash_unit
from services.simulator.core.contracts import Instrument
from services.simulator.core.hours import Hours
from services.simulator.core.market import NS_PER_S, MarketEvent, Prices, Trade
from services.simulator.core.times import local, to_ns

BAR_SECONDS: dict[str, int] = {
    "1 sec": 1, "1 secs": 1, "5 secs": 5, "10 secs": 10, "15 secs": 15, "30 secs": 30, "1 min": 60, "1 mins": 60,
    "2 mins": 120, "3 mins": 180, "5 mins": 300, "10 mins": 600, "15 mins": 900, "20 mins": 1200, "30 mins": 1800,
    "1 hour": 3600, "1 hours": 3600, "2 hours": 7200, "3 hours": 10800, "4 hours": 14400, "8 hours": 28800,
    "1 day": 86400, "1 days": 86400, "1W": 604800, "1 week": 604800, "1M": 2592000, "1 month": 2592000,
}  # fmt: skip
_UNITS = {"S": 1, "D": 86400, "W": 7 * 86400, "M": 30 * 86400, "Y": 365 * 86400}
_PERIOD = re.compile(r"(\d{1,4}) ?(second|minute|hour|day|week|month|year)s?")
_PERIOD_S = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86400,
    "week": 7 * 86400,
    "month": 30 * 86400,
    "year": 365 * 86400,
}
_DURATION = re.compile(r"(\d{1,5}) ?([SDWMY])")
DAY_S = 86400
MAX_BARS = 20_000
MAX_SERIES = 64
MAX_DURATION_S = 45 * 365 * 86400
"""Nor does any request reach back beyond 1970."""
TRADE_KINDS = frozenset({"TRADES", "ADJUSTED_LAST", "AGGTRADES"})
RATE_KINDS = frozenset({"HISTORICAL_VOLATILITY", "OPTION_IMPLIED_VOLATILITY", "FEE_RATE"})
"""Kinds that are no prices: per year, as fractions."""
PRICE_KINDS = TRADE_KINDS | RATE_KINDS | {"MIDPOINT", "BID", "ASK", "BID_ASK"}
RECORDED_SECONDS = 2 * 86400


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `start_ns` is its beginning, volume -1 where the kind has none."""

    start_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    wap: float
    count: int


def parse_duration(text: str) -> int:
    """Return the seconds of a duration such as `2 D`.

    Raises:
        ValueError: another form.
    """
    match = _DURATION.fullmatch(text.strip().upper())
    if match is None or int(match[1]) == 0:
        raise ValueError(f"Historical data request duration {text!r} is not like 3600 S, 1 D, 2 W, 3 M or 1 Y")
    return int(match[1]) * _UNITS[match[2]]


def parse_period(text: str) -> int:
    """Return the seconds of a histogram's period such as `3 days`.

    Raises:
        ValueError: another form.
    """
    match = _PERIOD.fullmatch(text.strip().lower())
    if match is None or int(match[1]) == 0:
        raise ValueError(f"Invalid histogram period {text!r}, not like 3 days, 1 week or 2 months")
    return int(match[1]) * _PERIOD_S[match[2]]


def has_kind(instrument: Instrument, what: str) -> bool:
    """Return whether a contract has history of this kind."""
    if instrument.legs:
        return what in ("MIDPOINT", "BID", "ASK", "BID_ASK")
    if instrument.sec_type == "CASH":
        return what in PRICE_KINDS - TRADE_KINDS - RATE_KINDS
    if instrument.sec_type == "CRYPTO":
        return what in PRICE_KINDS - RATE_KINDS - {"ADJUSTED_LAST"}
    if what == "AGGTRADES" or (what == "FEE_RATE" and instrument.sec_type != "STK"):
        return False
    return what in PRICE_KINDS and not (what in RATE_KINDS and instrument.sec_type in ("OPT", "FUT"))


@dataclass
class Recorder:
    """Seconds of trades and quotes of the instruments that play from files."""

    seconds: dict[int, list[list[float]]] = field(default_factory=dict)
    """Per contract, rows of [second, open, high, low, close, volume, value, count, bid, ask]."""

    def add(self, event: MarketEvent) -> None:
        """Take an event."""
        rows = self.seconds.setdefault(event.con_id, [])
        second = event.ts_ns // NS_PER_S
        if not rows or rows[-1][0] != second:
            previous = rows[-1] if rows else None
            price = previous[4] if previous else 0.0
            bid, ask = (previous[8], previous[9]) if previous else (0.0, 0.0)
            rows.append([second, price, price, price, price, 0.0, 0.0, 0.0, bid, ask])
            if len(rows) > RECORDED_SECONDS:
                del rows[: RECORDED_SECONDS // 10]
        row = rows[-1]
        if isinstance(event, Trade):
            if not row[7]:
                row[1] = row[2] = row[3] = event.price
            row[2], row[3], row[4] = max(row[2], event.price), min(row[3], event.price), event.price
            row[5] += event.size
            row[6] += event.size * event.price
            row[7] += 1
        else:
            row[8], row[9] = event.bid, event.ask
            if not row[4]:
                row[1] = row[2] = row[3] = row[4] = round((event.bid + event.ask) / 2, 6)


class History:
    """Historical bars of all instruments."""

    def __init__(self, prices: Prices, recorder: Recorder, seed: int, hours: Hours | None = None) -> None:
        self._prices = prices
        self._hours = hours or Hours()
        self._recorder = recorder
        self._seed = seed
        self._finished: dict[tuple[int, int, str], dict[int, Bar]] = {}
        """Bars that cannot change any more, by contract, size and kind."""

    def bars(
        self, instrument: Instrument, *, end_ns: int, duration_s: int, bar_s: int, what: str, use_rth: bool
    ) -> list[Bar]:
        """Return the bars that begin within `duration_s` before `end_ns`; the last may be unfinished.

        Raises:
            ValueError: the request asks for more than `MAX_BARS` bars.
        """
        if duration_s // bar_s > MAX_BARS or duration_s > min(MAX_DURATION_S, end_ns // NS_PER_S):
            raise ValueError("Time length exceed max.")
        if bar_s >= DAY_S:
            starts = _day_starts(instrument, end_ns, duration_s, bar_s, self._hours)
        else:
            first = (end_ns // NS_PER_S - duration_s + bar_s - 1) // bar_s * bar_s
            last = (end_ns - 1) // NS_PER_S // bar_s * bar_s
            starts = [second * NS_PER_S for second in range(first, last + 1, bar_s)]
            if use_rth and instrument.sec_type in ("STK", "OPT", "IND"):
                starts = [each for each in starts if self._is_regular(instrument, each)]
        return [self.bar(instrument, start, bar_s, end_ns, what) for start in starts if start < end_ns]

    def bar(self, instrument: Instrument, start_ns: int, bar_s: int, until_ns: int, what: str) -> Bar:
        """Return one bar, unfinished if `until_ns` lies within it."""
        end_ns = min(start_ns + bar_s * NS_PER_S, until_ns)
        if what in RATE_KINDS:
            return self._rate(instrument, start_ns, what)
        recorded = self._recorded(instrument, start_ns, end_ns, what)
        if recorded is not None:
            return recorded
        if end_ns < start_ns + bar_s * NS_PER_S:
            return self._synthetic(instrument, start_ns, end_ns, bar_s, what)
        known = self._finished.setdefault((instrument.con_id, bar_s, what), {})
        bar = known.get(start_ns)
        if bar is None:
            self._make_room(known)
            bar = known[start_ns] = self._synthetic(instrument, start_ns, end_ns, bar_s, what)
        return bar

    def _is_regular(self, instrument: Instrument, at_ns: int) -> bool:
        if self._hours.covers(instrument, at_ns):
            return self._hours.is_open(instrument, at_ns)
        moment = local(at_ns, instrument.time_zone)
        return moment.weekday() < 5 and 570 <= moment.hour * 60 + moment.minute < 960

    def _make_room(self, known: dict[int, Bar]) -> None:
        if len(known) >= MAX_BARS:
            known.clear()
        if len(self._finished) > MAX_SERIES:
            self._finished.pop(next(iter(self._finished)))

    def _recorded(self, instrument: Instrument, start_ns: int, end_ns: int, what: str) -> Bar | None:
        rows = self._recorder.seconds.get(instrument.con_id)
        if not rows:
            return None
        first = bisect_left(rows, float(start_ns // NS_PER_S), key=lambda row: row[0])
        last = bisect_left(rows, float(-(-end_ns // NS_PER_S)), key=lambda row: row[0])
        chosen = rows[first:last]
        if not chosen:
            return None
        if what in TRADE_KINDS:
            volume, value = sum(row[5] for row in chosen), sum(row[6] for row in chosen)
            return Bar(
                start_ns, chosen[0][1], max(row[2] for row in chosen), min(row[3] for row in chosen), chosen[-1][4],
                volume, round(value / volume, 6) if volume else chosen[-1][4], int(sum(row[7] for row in chosen)),
            )  # fmt: skip
        if what == "BID_ASK":
            return _bid_ask(start_ns, [row[8] or row[4] for row in chosen], [row[9] or row[4] for row in chosen])
        series = [_shown(row[8], row[9], what) or row[4] for row in chosen]
        return Bar(start_ns, series[0], max(series), min(series), series[-1], -1.0, -1.0, -1)

    def _synthetic(self, instrument: Instrument, start_ns: int, end_ns: int, bar_s: int, what: str) -> Bar:
        samples = 3 if bar_s <= 5 else 4 if bar_s < DAY_S else 24
        span = end_ns - start_ns
        mids = [self._prices.mid(instrument, start_ns + span * index // samples) for index in range(samples)]
        mids.append(self._prices.mid(instrument, end_ns - 1))
        tick = float(instrument.min_tick)
        half = tick * instrument.spread_ticks / 2
        if what == "BID_ASK":
            lower, upper = ([round(round((mid + side) / tick) * tick, 6) for mid in mids] for side in (-half, half))
            return _bid_ask(start_ns, lower, upper)
        shift = {"BID": -half, "ASK": half}.get(what, 0.0)
        step = tick / 2 if what == "MIDPOINT" else tick
        series = [round(round((mid + shift) / step) * step, 6) for mid in mids]
        if what not in TRADE_KINDS:
            return Bar(start_ns, series[0], max(series), min(series), series[-1], -1.0, -1.0, -1)
        noise = 0.5 + hash_unit(self._seed ^ instrument.con_id, start_ns // NS_PER_S)
        count = max(1, int(noise * span / NS_PER_S * 1.5))
        volume = float(count * max(1, instrument.size)) if instrument.size else 0.0
        wap = round(sum(series) / len(series), 6)
        return Bar(start_ns, series[0], max(series), min(series), series[-1], volume, wap, count)

    def _rate(self, instrument: Instrument, start_ns: int, what: str) -> Bar:
        """Return a bar of volatility or borrow fee: near the instrument's own, another one every day."""
        day = start_ns // NS_PER_S // DAY_S
        level = 0.0025 if what == "FEE_RATE" else instrument.volatility
        wobble = [hash_unit(self._seed ^ instrument.con_id ^ len(what), day * 4 + part) for part in range(4)]
        series = [round(level * (0.85 + 0.3 * unit), 6) for unit in wobble]
        return Bar(start_ns, series[0], max(series), min(series), series[-1], -1.0, -1.0, -1)


def _bid_ask(start_ns: int, bids: list[float], asks: list[float]) -> Bar:
    """Return a bar as IB makes it of quotes: mean bid, highest ask, lowest bid, mean ask."""
    opened, closed = round(sum(bids) / len(bids), 6), round(sum(asks) / len(asks), 6)
    return Bar(start_ns, opened, max(asks), min(bids), closed, -1.0, -1.0, -1)


def _shown(bid: float, ask: float, what: str) -> float:
    if what == "BID":
        return bid
    if what == "ASK":
        return ask
    return round((bid + ask) / 2, 6) if bid and ask else 0.0


def _day_starts(instrument: Instrument, end_ns: int, duration_s: int, bar_s: int, hours: Hours) -> list[int]:
    """Return the beginnings of trading days, weeks or months, oldest first."""
    zone = instrument.time_zone
    end = local(end_ns - 1, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    wanted = max(1, duration_s // DAY_S)
    day = end - timedelta(days=wanted if wanted > 1 else 0)
    starts: list[int] = []
    if wanted <= 7:  # `5 D` means five trading days
        day = end
        while len(starts) < wanted:
            if _trades(instrument, day, hours) or day == end:
                starts.insert(0, to_ns(day))
            day -= timedelta(days=1)
    else:
        while day <= end:
            if _trades(instrument, day, hours) or day == end:
                starts.append(to_ns(day))
            day += timedelta(days=1)
    if bar_s > DAY_S:
        step = 5 if bar_s < 1_000_000 else 21
        starts = starts[::step]
    return starts


def _trades(instrument: Instrument, day: datetime, hours: Hours) -> bool:
    """Return whether a local day is one of trading: the calendar's, else Monday to Friday, coins always."""
    if hours.covers(instrument, to_ns(day + timedelta(hours=12))):
        return bool(hours.of_day(instrument, day))
    return day.weekday() < 5 or instrument.sec_type == "CRYPTO"


def head_ns(instrument: Instrument) -> int:
    """Return since when there is history."""
    year = 1980 + instrument.con_id % 25
    return int(datetime(year, 12, 12, 14, 30, tzinfo=UTC).timestamp()) * NS_PER_S
