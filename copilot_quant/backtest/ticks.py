"""Read recorded quotes and trades of one symbol into columns, checked row by row, as fast as a table reader goes.

Files are those the simulator plays: `<SYMBOL>….csv[.gz]` or `.parquet` with the columns
`ts_ms,kind,bid_or_price,bid_size_or_size,ask,ask_size` (docs/reference/simulator.md).

Invariants:
1. A whole file is checked before its first row is used; a bad row is one sentence with file, line and column.
2. The fast reader decides nothing by itself: what it does not like is read again by the simulator's own parser, whose
   word counts.
"""

from __future__ import annotations

import gzip
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from copilot_quant.frames import pandas
from services.simulator.core.replay import HEADER, Recording
from services.simulator.shell.files import read_recordings, symbol_of
from shared.clock import NS_PER_MS
from shared.errors import BadInput

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
COLUMNS = HEADER.split(",")


@dataclass(frozen=True, slots=True)
class Ticks:
    """Quotes and trades of one symbol in time order.

    `at_ns` is when an event is known (wall ns, never back), `ts_ns` the time it carries; both are the same where a file
    has one. a..d are bid, bid size, ask, ask size of a quote, and price, size, 0, 0 of a trade.
    """

    at_ns: Ints
    ts_ns: Ints
    is_quote: npt.NDArray[np.bool_]
    a: Floats
    b: Floats
    c: Floats
    d: Floats

    def __len__(self) -> int:
        """Return how many events there are."""
        return len(self.at_ns)

    @property
    def has_quotes(self) -> bool:
        """Return whether any event is a quote."""
        return bool(self.is_quote.any())

    def first_price(self) -> float:
        """Return the price of the first event that has one; 1.0 if none has."""
        prices = np.where(self.is_quote, (self.a + self.c) / 2, self.a)
        known = prices[np.isfinite(prices) & (prices > 0)]
        return float(known[0]) if len(known) else 1.0

    def between(self, from_ns: int, to_ns: int) -> Ticks:
        """Return the events of a half-open span."""
        first, last = np.searchsorted(self.at_ns, [from_ns, to_ns], side="left")
        return Ticks(*(column[first:last] for column in self.columns()))

    def columns(self) -> tuple[Any, ...]:
        """Return the columns in the order of the fields."""
        return self.at_ns, self.ts_ns, self.is_quote, self.a, self.b, self.c, self.d


def joined(parts: list[Ticks]) -> Ticks:
    """Return several spans of one symbol as one; they follow each other in time."""
    if len(parts) == 1:
        return parts[0]
    return Ticks(*(np.concatenate(columns) for columns in zip(*(part.columns() for part in parts), strict=True)))


def read_ticks(path: Path) -> Ticks:
    """Read one file.

    Raises:
        BadInput: it cannot be read, or a row is bad: with file, line and column.
    """
    if path.suffix != ".parquet":
        found = _read_fast(path)
        if found is not None:
            return found
    return ticks_of(read_recordings((str(path),))[symbol_of(path)])


def ticks_of(recording: Recording) -> Ticks:
    """Return a parsed recording in columns."""
    at_ns = np.array(recording.ts_ms, dtype=np.int64) * NS_PER_MS
    is_quote = np.frombuffer(bytes(recording.is_quote), dtype=np.bool_)
    values = (np.array(each, dtype=np.float64) for each in (recording.bid, recording.bid_size))
    others = (np.array(each, dtype=np.float64) for each in (recording.ask, recording.ask_size))
    return Ticks(at_ns, at_ns, is_quote, *values, *others)


def _read_fast(path: Path) -> Ticks | None:
    """Return the rows of a CSV file in which nothing is wrong; None leaves the verdict to the careful parser."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            if file.readline().strip() != HEADER:
                return None
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a row with more cells than the header is a warning to pandas
                table = pandas().read_csv(
                    file, names=COLUMNS, header=None, index_col=False, engine="c", keep_default_na=False,
                    na_values=[""], dtype={"ts_ms": "int64", "kind": "str", **dict.fromkeys(COLUMNS[2:], "float64")},
                )  # fmt: skip
    except (OSError, EOFError, zlib.error, ValueError, OverflowError, Warning):
        return None
    return _checked(table)


def _checked(table: Any) -> Ticks | None:
    at_ms, kind = table["ts_ms"].to_numpy(), table["kind"]
    a, b, c, d = (table[name].to_numpy() for name in COLUMNS[2:])
    is_quote, is_trade = (kind == "Q").to_numpy(dtype=bool), (kind == "T").to_numpy(dtype=bool)
    has_no_ask = np.isnan(c) & np.isnan(d)
    good = np.isfinite(a) & np.isfinite(b) & (a > 0) & (b >= 0)
    with np.errstate(invalid="ignore"):
        good &= (is_trade & has_no_ask) | (is_quote & (c > a) & np.isfinite(c) & np.isfinite(d) & (d >= 0))
    if not len(at_ms) or not good.all() or at_ms[0] < 0 or (np.diff(at_ms) < 0).any():
        return None
    at_ns = at_ms * NS_PER_MS
    return Ticks(at_ns, at_ns, is_quote, a, b, np.where(is_quote, c, 0.0), np.where(is_quote, d, 0.0))


def symbol_in(path: Path) -> str:
    """Return the symbol that a file's name begins with.

    Raises:
        BadInput: it begins with none.
    """
    symbol = symbol_of(path)
    if not symbol:
        raise BadInput(f"{path}: the name does not begin with a symbol")
    return symbol
