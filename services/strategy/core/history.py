"""The closed bars a unit may look back on: loaded before it starts, carried on by the bars it handles.

Invariants:
1. A bar is visible up to the horizon of its contract and size. The horizon moves when the unit handles a bar of the
   stream, and at a start to what had closed by the time the unit goes on from: never ahead of the unit's events, so
   that a unit that catches up does not look into its future.
2. The horizon is saved with the unit; the bars are not: after a move they are loaded again.
3. A bar of the stream that is not complete never replaces one that is known.

Known limit: bars that were handled are our own, built from ticks; loaded ones are the broker's. After a move the
broker's stand in the place of ours, and volume or a last digit may differ.
"""

from __future__ import annotations

import importlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.strategy.core.events import Bar
from shared.bar_sizes import BAR_SIZES, parse_bar_size
from shared.errors import BadInput
from shared.messages.requests import HistoryBar

NS_PER_S = 1_000_000_000
DAY_NS = 86_400 * NS_PER_S
INTERVALS: Mapping[str, str] = {"1 secs": "1s", "5 secs": "5s", "1 min": "1m", "1 day": "1d"}
"""Sizes that the bar streams carry on."""
MAX_COUNT = 5000
DAILY = "1 day"


@dataclass(frozen=True, slots=True)
class ClosedBar:
    """One bar of the past; `ts_ns` is its opening time, of a daily bar midnight UTC of its date. `vwap` may be NaN."""

    ts_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float = float("nan")


def closed_bar_of(bar: HistoryBar) -> ClosedBar:
    """Return a bar of marketdata's answer as a unit sees it."""
    vwap = float("nan") if bar.vwap is None else float(bar.vwap)
    prices = (float(bar.open), float(bar.high), float(bar.low), float(bar.close))
    return ClosedBar(bar.ts_ns, *prices, float(bar.volume), vwap)


def pandas(who: str, otherwise: str = "") -> Any:
    """Return the module.

    Raises:
        BadInput: it is not installed.
    """
    try:
        return importlib.import_module("pandas")
    except ImportError as e:
        hint = f"`pip install 'copilot-quant[history]'`{otherwise}"
        raise BadInput(f"{who} and pandas is not installed: {hint}") from e


def hours_of(size: str) -> str:
    """Return what the bars of a size cover: `rth` regular hours only, `all` whatever was traded."""
    return "rth" if size == DAILY else "all"


def frame_of(rows: Sequence[ClosedBar], size: str = "") -> Any:
    """Return bars as a pandas DataFrame by UTC time; `attrs["hours"]` says which hours they cover.

    Raises:
        BadInput: pandas is not installed.
    """
    module = pandas("self.history gives pandas DataFrames", ", or use self.history_bars")
    names = ("open", "high", "low", "close", "volume", "vwap")
    index = module.DatetimeIndex([row.ts_ns for row in rows], tz="UTC", name="time")
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    frame = module.DataFrame(columns, index=index, dtype="float64")
    if size:
        frame.attrs.update({"bar_size": size, "hours": hours_of(size), "time_zone": "UTC"})
    return frame


def checked_needs(needs: Mapping[str, Any]) -> dict[str, int]:
    """Return what a strategy says it needs, bar sizes in the broker's words.

    Raises:
        BadInput: a size that no bar stream carries on, or a count that is none.
    """
    checked: dict[str, int] = {}
    for text, count in needs.items():
        size = parse_bar_size(str(text))
        if size not in INTERVALS:
            raise BadInput(
                f"history of {size!r} bars is not kept up to date: choose from {', '.join(INTERVALS)}, and build "
                "longer bars from these"
            )
        if not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= MAX_COUNT:
            raise BadInput(f"history of {count!r} bars of {size!r}: write a number from 1 to {MAX_COUNT}")
        checked[size] = max(count, checked.get(size, 0))
    return checked


class BarHistory:
    """The bars of one unit.

    Args:
        needs: bar size → how many closed bars to keep.
        horizons: `conId:size` → opening time of the newest visible bar; the caller saves it.
    """

    def __init__(self, needs: Mapping[str, int] | None = None, horizons: dict[str, int] | None = None) -> None:
        self.needs = dict(needs or {})
        self.horizons = {} if horizons is None else horizons
        self._bars: dict[str, list[ClosedBar]] = {}
        self._sizes = {INTERVALS[size]: size for size in self.needs}

    @property
    def loaded(self) -> Mapping[str, list[ClosedBar]]:
        """Return every bar there is, by `conId:size`, visible or not."""
        return self._bars

    def load(self, con_id: int, size: str, bars: Iterable[ClosedBar]) -> None:
        """Take what was asked for; bars handled before stay where the answer has none."""
        key = f"{con_id}:{size}"
        known = {bar.ts_ns: bar for bar in (*self._bars.get(key, ()), *bars)}
        self._bars[key] = [known[ts_ns] for ts_ns in sorted(known)]

    def begin(self, as_of_ns: int) -> None:
        """Show what had closed by the time that the unit goes on from."""
        for key, bars in self._bars.items():
            length_ns = BAR_SIZES[key.partition(":")[2]] * NS_PER_S
            closed = [bar.ts_ns for bar in bars if bar.ts_ns + length_ns <= as_of_ns]
            if closed:
                self.horizons[key] = max(closed[-1], self.horizons.get(key, 0))

    def take(self, bar: Bar) -> None:
        """Take a bar that the unit handles; one of a size nobody asked for is left alone."""
        size = self._sizes.get(bar.interval)
        if size is None:
            return
        key = f"{bar.contract.con_id}:{size}"
        ts_ns = bar.ts_open_ns if size != DAILY else (bar.ts_close_ns - 1) // DAY_NS * DAY_NS
        vwap = float("nan") if bar.vwap is None else bar.vwap
        closed = ClosedBar(ts_ns, bar.open, bar.high, bar.low, bar.close, bar.volume, vwap)
        bars = self._bars.setdefault(key, [])
        at = bisect_right(bars, ts_ns, key=lambda one: one.ts_ns)
        is_known = at > 0 and bars[at - 1].ts_ns == ts_ns
        if not is_known:
            bars.insert(at, closed)
            del bars[: max(0, at + 1 - self.needs[size])]
        elif bar.is_complete:
            bars[at - 1] = closed
        self.horizons[key] = max(ts_ns, self.horizons.get(key, 0))

    def last(self, con_id: int, size: str, count: int) -> list[ClosedBar]:
        """Return the last visible bars, oldest first; fewer where there are no more.

        Raises:
            BadInput: more than the strategy said it needs.
        """
        name = parse_bar_size(size)
        if count > self.needs.get(name, 0) or count <= 0:
            declared = ", ".join(f"{number} of {each!r}" for each, number in self.needs.items()) or "none"
            raise BadInput(
                f"history of {count} bars of {name!r} was not asked for: history_needs names {declared}, and only that "
                "is loaded before the start"
            )
        key = f"{con_id}:{name}"
        bars = self._bars.get(key, [])
        end = bisect_right(bars, self.horizons.get(key, 0), key=lambda one: one.ts_ns)
        return bars[max(0, end - count) : end]
