"""Read daily bars, and turn each into what a market does in a day: open, the two extremes, close.

Files are `<SYMBOL>_daily.csv[.gz]` or `.parquet` with the columns `date,open,high,low,close,volume`; dates are ISO.

Invariants:
1. A whole file is checked before its first row is used; a bad row is one sentence with file, line and column.
2. Nothing of a day is visible before its time: the open at the opening, the bar itself at the close. An order that a
   bar causes meets the next day's prices.

Known limit: in which order the extremes came is not in the data; the one nearer to the open comes first.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from copilot_quant.backtest.ticks import Ticks
from services.simulator.core.hours import TradingSession
from shared.clock import NS_PER_S
from shared.errors import BadInput

COLUMNS = ("date", "open", "high", "low", "close", "volume")
HEADER = ",".join(COLUMNS)
LAST_TRADE_NS = NS_PER_S
"""The closing price trades this long before the close, so that the bar, at the close, comes after it."""


@dataclass(frozen=True, slots=True)
class Day:
    """One day's bar; prices in the contract's currency, volume in shares."""

    date: date
    open: float
    high: float
    low: float
    close: float
    volume: float


def read_daily(path: Path) -> list[Day]:
    """Read one file.

    Raises:
        BadInput: it cannot be read, or a row is bad: with file, line and column.
    """
    try:
        if path.suffix == ".parquet":
            return _days(str(path), "row", enumerate(_parquet_rows(path), start=1))
        opener: Any = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8", newline="") as lines:
            head = next(lines, "").strip()
            if head != HEADER:
                raise BadInput(f"{path}, line 1: the header must be {HEADER!r}, found {head[:80]!r}")
            rows = ((number, line.strip().split(",")) for number, line in enumerate(lines, start=2) if line.strip())
            return _days(str(path), "line", rows)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as e:
        raise BadInput(f"{path}: the file cannot be read ({e})") from e


def _days(name: str, unit: str, rows: Iterable[tuple[int, Sequence[object]]]) -> list[Day]:
    days: list[Day] = []
    for number, row in rows:
        try:
            days.append(_day(row, days[-1].date if days else date.min))
        except ValueError as e:
            shown = ",".join(str(cell) for cell in row)[:80]
            raise BadInput(f"{name}, {unit} {number}: {e} (row {shown!r})") from e
    if not days:
        raise BadInput(f"{name}: the file has no rows")
    return days


def _day(row: Sequence[object], before: date) -> Day:
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(COLUMNS)} columns are needed, there are {len(row)}")
    try:
        label = date.fromisoformat(str(row[0])[:10])
    except ValueError:
        raise ValueError(f"column date: {row[0]!r} is not a date such as 2013-10-08") from None
    if label <= before:
        raise ValueError(f"column date: time goes back from {before} to {label}")
    values = [_number(name, cell) for name, cell in zip(COLUMNS[1:], row[1:], strict=True)]
    first, high, low, close, volume = values
    if min(first, high, low, close) <= 0 or volume < 0:
        raise ValueError("prices have to be positive and the volume not negative")
    if low > min(first, close) or high < max(first, close):
        raise ValueError(f"open {first:g} and close {close:g} do not lie between low {low:g} and high {high:g}")
    return Day(label, first, high, low, close, volume)


def _number(name: str, cell: object) -> float:
    try:
        value = float(str(cell))
    except ValueError:
        raise ValueError(f"column {name}: {cell!r} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"column {name}: {cell!r} is not finite")
    return value


def _parquet_rows(path: Path) -> Iterator[tuple[Any, ...]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as e:
        raise BadInput(f"{path}: Parquet needs one more package: pip install 'copilot-quant[parquet]'") from e
    try:
        file = parquet.ParquetFile(path)
        missing = [each for each in COLUMNS if each not in file.schema_arrow.names]
        if missing:
            raise BadInput(f"{path}: the columns {', '.join(missing)} are missing")
        for batch in file.iter_batches(columns=list(COLUMNS)):
            yield from zip(*(batch.column(name).to_pylist() for name in COLUMNS), strict=True)
    except pyarrow.ArrowException as e:
        raise BadInput(f"{path}: the file cannot be read ({e})") from e


def ticks_of_days(days: Sequence[tuple[Day, TradingSession]]) -> Ticks:
    """Return the trades that daily bars stand for, a quarter of the volume each."""
    times: list[int] = []
    prices: list[float] = []
    sizes: list[float] = []
    for day, session in days:
        open_ns, last_ns = session.open_ns, session.close_ns - LAST_TRADE_NS
        extremes = (day.low, day.high) if day.open - day.low <= day.high - day.open else (day.high, day.low)
        step_ns = (last_ns - open_ns) // 3
        times += [open_ns, open_ns + step_ns, open_ns + 2 * step_ns, last_ns]
        prices += [day.open, *extremes, day.close]
        sizes += [float(day.volume // 4)] * 4
    at_ns = np.array(times, dtype=np.int64)
    zeros = np.zeros(len(times))
    return Ticks(at_ns, at_ns, zeros.astype(np.bool_), np.array(prices), np.array(sizes), zeros, zeros)
