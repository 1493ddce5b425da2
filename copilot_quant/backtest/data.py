"""Find the data of a backtest in a folder: ticks or daily bars in files of a symbol each, or a recording of marketdata.

```
data/IBM_20131008.csv.gz    ticks of a day (any name that begins with the symbol; .csv, .csv.gz, .parquet)
data/IBM_daily.csv.gz       daily bars
```

Invariants:
1. Everything is read and checked before anything runs.
2. What lies before the begin is for warming up only: no strategy is called with it, `self.history` shows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from copilot_quant.backtest.contracts import CALENDAR, NEW_YORK, day_of, exchange_hours, midnight_ns
from copilot_quant.backtest.daily import Day, read_daily, ticks_of_days
from copilot_quant.backtest.recorded import Recorded, read_recorded
from copilot_quant.backtest.ticks import Ticks, joined, read_ticks, symbol_in
from copilot_quant.backtest.world import GivenBar
from services.marketdata.core.bars import BarRules, ContractBars
from services.marketdata.shell.recorder import SESSION_FILE
from services.simulator.core.hours import Hours, TradingSession
from services.strategy.core.history import INTERVALS, ClosedBar
from shared.clock import NS_PER_S
from shared.contracts import parse_contract
from shared.errors import BadInput
from shared.messages.market import Bar, ContractInfo
from shared.money import decimal_of
from shared.sessions import SessionCalendar

SUFFIXES = (".csv", ".csv.gz", ".parquet")
DAILY = "_daily."
AFTER_NS = NS_PER_S
"""The last second's bars and the closing bell come after the last event."""
_DATE = re.compile(r"_(\d{8})(?!\d)")
_FOREVER = (0, 1 << 62)


@dataclass(slots=True)
class MarketData:
    """The market of one backtest; everything is by contract name."""

    names: Sequence[str]
    hours: Hours
    ticks: dict[str, Ticks]
    start_ns: int
    end_ns: int
    is_daily: bool = False
    before: dict[str, Ticks] = field(default_factory=dict)
    """Ticks from before the begin."""
    days: dict[str, list[Day]] = field(default_factory=dict)
    """Daily bars, those from before the begin too."""
    recorded: Recorded | None = None

    @classmethod
    def load(
        cls,
        folder: Path,
        names: Sequence[str],
        *,
        first: date | str | None = None,
        last: date | str | None = None,
        is_daily: bool | None = None,
        reads: set[str] | frozenset[str] = frozenset(),
    ) -> MarketData:
        """Read what a folder has of some contracts.

        Args:
            folder: with files of a symbol each, or a recording.
            names: contract names.
            first: begin, a date or a time; New York where it says no zone.
            last: end; a date is included.
            is_daily: daily bars; None: where there are no ticks.
            reads: intervals of bars that somebody wants.

        Raises:
            BadInput: nothing there, nothing in the span, or a bad row: with file and line.
            ConfigError: the calendar library is not installed.
        """
        if not folder.is_dir():
            raise BadInput(f"there is no folder {folder}")
        span = _span(first, last)
        if (folder / SESSION_FILE).is_file():
            return cls._of_recording(read_recorded(folder, names), names, span)
        files = {name: _files_of(folder, name) for name in names}
        daily = {name: [path for path in paths if DAILY in path.name] for name, paths in files.items()}
        ticks = {name: [path for path in paths if DAILY not in path.name] for name, paths in files.items()}
        if is_daily is None:
            is_daily = not any(ticks.values())
        missing = [name for name in names if not (daily if is_daily else ticks)[name]]
        if missing:
            what = "no daily bars (SYMBOL_daily.csv)" if is_daily else "no ticks (SYMBOL_yyyymmdd.csv)"
            raise BadInput(f"{folder} has {what} of {', '.join(missing)}: files end in {', '.join(SUFFIXES)}")
        days = {name: _days_of(paths) for name, paths in daily.items() if paths and (is_daily or "1d" in reads)}
        if is_daily:
            return cls._of_days(names, days, span, reads)
        return cls._of_ticks(names, ticks, days, span)

    @classmethod
    def _of_ticks(
        cls,
        names: Sequence[str],
        files: Mapping[str, Sequence[Path]],
        days: dict[str, list[Day]],
        span: tuple[int, int],
    ) -> MarketData:
        every = {name: _ticks_of(files[name], span) for name in names}
        played = {name: each.between(*span) for name, each in every.items()}
        empty = [name for name, each in played.items() if not len(each)]
        if empty:
            raise BadInput(f"nothing of {', '.join(empty)} lies within the span that was asked for")
        before = {name: each.between(0, span[0]) for name, each in every.items()}
        start_ns = min(int(each.at_ns[0]) for each in played.values())
        end_ns = max(int(each.at_ns[-1]) for each in played.values())
        hours = exchange_hours(day_of(start_ns), day_of(end_ns))
        return cls(names, hours, played, start_ns, end_ns + AFTER_NS, before=before, days=days)

    @classmethod
    def _of_days(
        cls, names: Sequence[str], days: dict[str, list[Day]], span: tuple[int, int], reads: set[str] | frozenset[str]
    ) -> MarketData:
        if reads - {"1d"}:
            raise BadInput(f"{', '.join(sorted(reads - {'1d'}))} bars cannot be made of daily bars")
        labels = [day.date for each in days.values() for day in each]
        hours = exchange_hours(min(labels), max(labels))
        found = cls(names, hours, {}, 0, 0, is_daily=True, days=days)
        sessions = found._sessions()
        for name in names:
            kept = [(day, sessions[day.date]) for day in days[name] if _is_session(name, day, sessions)]
            kept = [(day, session) for day, session in kept if span[0] <= session.open_ns < span[1]]
            if not kept:
                raise BadInput(f"nothing of {name} lies within the span that was asked for")
            found.ticks[name] = ticks_of_days(kept)
        found.start_ns = min(int(each.at_ns[0]) for each in found.ticks.values())
        found.end_ns = max(int(each.at_ns[-1]) for each in found.ticks.values()) + 2 * AFTER_NS
        return found

    @classmethod
    def _of_recording(cls, recorded: Recorded, names: Sequence[str], span: tuple[int, int]) -> MarketData:
        played = {name: recorded.ticks[name].between(*span) for name in names}
        empty = [name for name, each in played.items() if not len(each)]
        if empty:
            raise BadInput(f"nothing of {', '.join(empty)} was recorded within the span that was asked for")
        start_ns = span[0] or min(int(each.at_ns[0]) for each in played.values())
        end_ns = max(int(each.at_ns[-1]) for each in played.values())
        # A recording of the simulator may be of any hour: the market was open when it was recorded.
        return cls(names, Hours(), played, start_ns, end_ns + AFTER_NS, recorded=recorded)

    # -- what is asked

    @property
    def infos(self) -> Mapping[str, ContractInfo]:
        """Return what the broker said of the contracts when they were recorded."""
        return {} if self.recorded is None else self.recorded.infos

    def count(self) -> int:
        """Return how many events there are."""
        return sum(len(each) for each in self.ticks.values())

    def first_prices(self) -> dict[str, float]:
        """Return what each contract's data begin with."""
        return {name: each.first_price() for name, each in self.ticks.items()}

    def given_bars(self, infos: Mapping[str, ContractInfo]) -> list[GivenBar]:
        """Return the bars that the data bring: daily ones at their close, recorded ones when they came."""
        if self.recorded is not None:
            spanned = (one for one in self.recorded.bars if self.start_ns <= one.at_ns <= self.end_ns)
            return [one for one in spanned if one.index < len(self.names)]
        if not self.is_daily:
            return []
        sessions = self._sessions()
        return [
            GivenBar(session.close_ns, index, _message(day, infos[name].con_id, session.open_ns, session.close_ns))
            for index, name in enumerate(self.names)
            for day in self.days[name]
            if (session := sessions[day.date]).open_ns >= self.start_ns and session.close_ns <= self.end_ns
        ]

    def history(self, name: str, info: ContractInfo, size: str) -> list[ClosedBar]:
        """Return the closed bars of before the begin, oldest first.

        Raises:
            BadInput: there is nothing to make them of.
        """
        if self.recorded is not None:
            return self.recorded.history(name, size)
        if size == "1 day":
            if name not in self.days:
                raise BadInput(f"{name}: the strategy looks back on daily bars, and there is no file of them")
            begin = day_of(self.start_ns)
            return [_closed(day) for day in self.days[name] if day.date < begin]
        return _built(self.before.get(name), info, INTERVALS[size])

    def _sessions(self) -> dict[date, TradingSession]:
        return {day_of(each.open_ns): each for each in self.hours.calendars.get(CALENDAR, [])}


def _files_of(folder: Path, name: str) -> list[Path]:
    symbol = parse_contract(name).symbol.upper()
    found = [path for path in sorted(folder.iterdir()) if path.name.endswith(SUFFIXES)]
    return [path for path in found if symbol_in(path) == symbol]


def _is_session(name: str, day: Day, sessions: Mapping[date, TradingSession]) -> bool:
    if day.date not in sessions:
        raise BadInput(f"{name}: {day.date} has a daily bar, and the exchange was closed")
    return True


def _ticks_of(files: Sequence[Path], span: tuple[int, int]) -> Ticks:
    """Return the ticks of several files, one after the other; files dated after the span are left alone."""
    parts: list[Ticks] = []
    for path in files:
        dated = _DATE.search(path.name)
        if dated is not None and midnight_ns(_label(dated[1])) >= span[1]:
            continue
        part = read_ticks(path)
        if parts and part.at_ns[0] < parts[-1].at_ns[-1]:
            raise BadInput(
                f"{path} begins before {files[files.index(path) - 1].name} ends: files follow by their names"
            )
        parts.append(part)
    if not parts:
        raise BadInput(f"{files[0].parent}: no file of {symbol_in(files[0])} lies within the span that was asked for")
    return joined(parts)


def _days_of(files: Sequence[Path]) -> list[Day]:
    if len(files) > 1:
        raise BadInput(f"{files[0].name} and {files[1].name} both have daily bars: keep one")
    return read_daily(files[0])


def _label(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return date.min.replace(year=1970)  # eight digits that are no date: the file is read


def _span(first: date | str | None, last: date | str | None) -> tuple[int, int]:
    begin, end = _moment(first, "from", _FOREVER[0]), _moment(last, "to", _FOREVER[1], is_end=True)
    if begin >= end:
        raise BadInput(f"from {first} to {last} is no span of time")
    return begin, end


def _moment(value: date | str | None, name: str, default: int, *, is_end: bool = False) -> int:
    if value is None or value == "":
        return default
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError as e:
        raise BadInput(f"{name}: {value!r} is no date or time such as 2013-10-08 or 2013-10-08T10:30") from e
    if not isinstance(moment, datetime) or (isinstance(value, str) and len(value) <= len("2013-10-08")):
        label = moment.date() if isinstance(moment, datetime) else moment
        return midnight_ns(label + timedelta(days=1) if is_end else label)
    at = moment if moment.tzinfo is not None else moment.replace(tzinfo=NEW_YORK)
    return int(at.timestamp() * 1000) * (NS_PER_S // 1000)


def _message(day: Day, con_id: int, open_ns: int, close_ns: int) -> Bar:
    first, high, low, close = (decimal_of(each) for each in (day.open, day.high, day.low, day.close))
    return Bar(
        con_id=con_id, interval="1d", ts_open_ns=open_ns, ts_close_ns=close_ns, open=first, high=high, low=low,
        close=close, volume=decimal_of(day.volume), hours="rth",
    )  # fmt: skip


def _closed(day: Day) -> ClosedBar:
    midnight = datetime.combine(day.date, datetime.min.time(), UTC)
    return ClosedBar(int(midnight.timestamp()) * NS_PER_S, day.open, day.high, day.low, day.close, day.volume)


def _built(ticks: Ticks | None, info: ContractInfo, interval: str) -> list[ClosedBar]:
    """Return the bars that the ticks before the begin make, by marketdata's own builder."""
    out: list[Bar] = []
    if ticks is None or not len(ticks):
        return []
    calendar = SessionCalendar(info.time_zone, info.liquid_hours)
    builder = ContractBars(info.con_id, calendar, BarRules(intervals=(interval,)))
    is_trade = ~ticks.is_quote
    times, prices, sizes = (column[is_trade].tolist() for column in (ticks.ts_ns, ticks.a, ticks.b))
    for ts_ns, price, size in zip(times, prices, sizes, strict=True):
        builder.on_trade(ts_ns, price, size, 1, out)
    builder.advance(int(ticks.at_ns[-1]) + 120 * NS_PER_S, out)
    return [
        ClosedBar(
            bar.ts_open_ns, float(bar.open), float(bar.high), float(bar.low), float(bar.close), float(bar.volume),
            float("nan") if bar.vwap is None else float(bar.vwap),
        )
        for bar in out
    ]  # fmt: skip
