"""Play recorded quotes and trades at any speed.

The file format is CSV (or Parquet of the same columns), one file per symbol,
`ts_ms,kind,bid_or_price,bid_size_or_size,ask,ask_size`: `Q` rows carry a
quote, `T` rows a trade (the last two columns are empty). Times are Unix milliseconds UTC and never go back.

Invariants:
1. Every row is checked before the first is played; a bad one is refused with file, line and column.
2. Rows keep their order and, divided by the speed, their distances.
3. A symbol without quotes gets one tick around each trade, so that orders can be matched.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.simulator.core.contracts import Universe
from services.simulator.core.market import NS_PER_MS, NS_PER_S, MarketEvent, Prices, Quote, Trade
from shared.errors import BadInput

HEADER = "ts_ms,kind,bid_or_price,bid_size_or_size,ask,ask_size"
_LOOP_PAUSE_MS = 1000


class BadReplayRow(BadInput):
    """A row that cannot be played; the text names file and line."""


@dataclass
class Recording:
    """The rows of one symbol in columns; `is_quote` tells them apart, a trade uses `bid` and `bid_size` only."""

    symbol: str
    ts_ms: array[int] = field(default_factory=lambda: array("q"))
    is_quote: bytearray = field(default_factory=bytearray)
    bid: array[float] = field(default_factory=lambda: array("d"))
    bid_size: array[float] = field(default_factory=lambda: array("d"))
    ask: array[float] = field(default_factory=lambda: array("d"))
    ask_size: array[float] = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.ts_ms)

    @property
    def has_quotes(self) -> bool:
        """Return whether any row is a quote."""
        return 1 in self.is_quote

    def first_price(self) -> float:
        """Return the price of the first row."""
        return (self.bid[0] + self.ask[0]) / 2 if self.is_quote[0] else self.bid[0]


def parse_recording(name: str, symbol: str, lines: Iterable[str]) -> Recording:
    """Read the lines of one file.

    Raises:
        BadReplayRow: a row that is not of the format, crossed, negative or back in time; names file, line and column.
    """
    recording = Recording(symbol)
    last_ms = 0
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if number == 1:
            if text != HEADER:
                raise BadReplayRow(f"{name}, line 1, column 1: the header must be {HEADER!r}, found {text[:80]!r}")
            continue
        if not text:
            continue
        cells = text.split(",")
        try:
            last_ms = _append_row(recording, cells, last_ms)
        except _BadCell as e:
            column = len(",".join(cells[: e.cell])) + (2 if e.cell else 1)
            raise BadReplayRow(f"{name}, line {number}, column {column}: {e} (row {text[:80]!r})") from e
    if not len(recording):
        raise BadReplayRow(f"{name}: the file has no rows")
    return recording


def recording_of_rows(name: str, symbol: str, rows: Iterable[Sequence[object]]) -> Recording:
    """Read rows of values in the order of `HEADER` (a table of another format, such as Parquet); None is empty.

    Raises:
        BadReplayRow: as `parse_recording`; names file, row and column.
    """
    recording = Recording(symbol)
    last_ms = 0
    for number, row in enumerate(rows, start=1):
        cells = ["" if value is None else str(value) for value in row]
        try:
            last_ms = _append_row(recording, cells, last_ms)
        except _BadCell as e:
            column = HEADER.split(",")[e.cell]
            raise BadReplayRow(f"{name}, row {number}, column {column}: {e} (row {','.join(cells)[:80]!r})") from e
    if not len(recording):
        raise BadReplayRow(f"{name}: the file has no rows")
    return recording


class _BadCell(ValueError):
    """A cell that cannot be read, counted from 0."""

    def __init__(self, cell: int, what: str) -> None:
        super().__init__(what)
        self.cell = cell


def _append_row(recording: Recording, cells: list[str], last_ms: int) -> int:
    if len(cells) != 6:
        raise _BadCell(0, f"6 columns are needed, there are {len(cells)}")
    ts_ms = _whole(cells[0])
    if ts_ms < last_ms:
        raise _BadCell(0, f"time goes back from {last_ms} to {ts_ms}")
    if cells[1] == "Q":
        bid, bid_size = _positive(cells, 2, "bid"), _size(cells, 3, "bid size")
        ask, ask_size = _positive(cells, 4, "ask"), _size(cells, 5, "ask size")
        if bid >= ask:
            raise _BadCell(2, f"the quote is crossed or locked: bid {bid}, ask {ask}")
    elif cells[1] == "T":
        bid, bid_size, ask, ask_size = _positive(cells, 2, "price"), _size(cells, 3, "size"), 0.0, 0.0
        if cells[4] or cells[5]:
            raise _BadCell(4 if cells[4] else 5, "a trade has only four values")
    else:
        raise _BadCell(1, f"kind must be Q or T, found {cells[1]!r}")
    recording.ts_ms.append(ts_ms)
    recording.is_quote.append(cells[1] == "Q")
    recording.bid.append(bid)
    recording.bid_size.append(bid_size)
    recording.ask.append(ask)
    recording.ask_size.append(ask_size)
    return ts_ms


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _BadCell(0, f"{text!r} is not a whole number of milliseconds") from None


def _size(cells: list[str], cell: int, what: str) -> float:
    try:
        value = float(cells[cell])
    except ValueError:
        raise _BadCell(cell, f"{what} {cells[cell]!r} is not a number") from None
    if not math.isfinite(value) or value < 0:
        raise _BadCell(cell, f"{what} {cells[cell]!r} must be a finite number, not negative")
    return value


def _positive(cells: list[str], cell: int, what: str) -> float:
    value = _size(cells, cell, what)
    if value <= 0:
        raise _BadCell(cell, f"{what} {cells[cell]!r} must be positive")
    return value


class ReplayMarket:
    """Play several recordings together, from their earliest row on."""

    def __init__(
        self, recordings: dict[int, Recording], ticks: dict[int, float], *, speed: float, loop: bool, start_ns: int
    ) -> None:
        """Take recordings by conId, the tick size of each, the speed-up and when the first row is due."""
        if speed <= 0:
            raise ValueError(f"the replay speed must be positive, got {speed}")
        self._recordings = list(recordings.items())
        self._ticks = ticks
        self._speed = speed
        self._loop = loop
        self._start_ns = start_ns
        self._first_ms = min(recording.ts_ms[0] for recording in recordings.values())
        self._positions = [0] * len(self._recordings)
        self.rows_played = 0
        self.loops_done = 0

    def begin(self, now_ns: int) -> None:
        """Let the first row be due now, if none has been played: opening the exchange took its time."""
        if not self.rows_played:
            self._start_ns = now_ns

    def next_ns(self) -> int | None:
        """Return when the next row is due, None at the end."""
        earliest = None
        for (_, recording), position in zip(self._recordings, self._positions, strict=True):
            if position < len(recording) and (earliest is None or recording.ts_ms[position] < earliest):
                earliest = recording.ts_ms[position]
        return None if earliest is None else self._due_ns(earliest)

    def advance(self, now_ns: int) -> list[MarketEvent]:
        """Return all rows due, merged by time."""
        until_ms = self._first_ms + int((now_ns - self._start_ns) * self._speed / NS_PER_MS)
        batch: list[tuple[int, int, int, MarketEvent]] = []
        for index, (con_id, recording) in enumerate(self._recordings):
            position = self._positions[index]
            times = recording.ts_ms
            while position < len(times) and times[position] <= until_ms:
                at_ns = min(now_ns, self._due_ns(times[position]))
                for event in self._events(con_id, recording, position, at_ns):
                    batch.append((times[position], index, len(batch), event))
                position += 1
                self.rows_played += 1
            self._positions[index] = position
        batch.sort(key=lambda entry: entry[:3])
        if self._loop and self._is_over():
            self._begin_again(now_ns)
        return [entry[3] for entry in batch]

    def _due_ns(self, ts_ms: int) -> int:
        return self._start_ns + math.ceil((ts_ms - self._first_ms) * NS_PER_MS / self._speed)

    def _is_over(self) -> bool:
        return all(
            position >= len(recording)
            for (_, recording), position in zip(self._recordings, self._positions, strict=True)
        )

    def _begin_again(self, now_ns: int) -> None:
        self._positions = [0] * len(self._recordings)
        self._start_ns = now_ns + int(_LOOP_PAUSE_MS * NS_PER_MS / self._speed)
        self.loops_done += 1

    def _events(self, con_id: int, recording: Recording, row: int, at_ns: int) -> list[MarketEvent]:
        price, size = recording.bid[row], recording.bid_size[row]
        if recording.is_quote[row]:
            return [Quote(con_id, at_ns, price, size, recording.ask[row], recording.ask_size[row])]
        trade = Trade(con_id, at_ns, price, size)
        if recording.has_quotes:
            return [trade]
        return [quote_of_trade(trade, self._ticks[con_id]), trade]


def quote_of_trade(trade: Trade, tick: float) -> Quote:
    """Return the quote one tick around a trade, for a symbol that has none."""
    below, above = math.ceil(trade.price / tick - 1e-9) - 1, math.floor(trade.price / tick + 1e-9) + 1
    return Quote(trade.con_id, trade.ts_ns, round(below * tick, 6), trade.size, round(above * tick, 6), trade.size)


def recordings_by_id(recordings: Mapping[str, Recording], universe: Universe) -> dict[int, Recording]:
    """Return recordings by conId instead of symbol.

    Raises:
        BadInput: a symbol is not listed.
    """
    found: dict[int, Recording] = {}
    for symbol, recording in recordings.items():
        instrument = universe.by_symbol(symbol)
        if instrument is None:
            raise BadInput(f"the replayed symbol {symbol!r} is not listed here")
        found[instrument.con_id] = recording
    return found


def open_replay(
    played: Mapping[int, Recording], universe: Universe, prices: Prices, now_ns: int, *, speed: float, loop: bool
) -> ReplayMarket | None:
    """Return the market of what is played, None if nothing is; history before it leads up to its first prices."""
    if not played:
        return None
    ticks: dict[int, float] = {}
    for con_id, recording in played.items():
        instrument = universe.by_id(con_id)
        if instrument is not None:
            ticks[con_id] = float(instrument.min_tick)
            prices.anchor(instrument, recording.first_price(), now_ns)
    return ReplayMarket(dict(played), ticks, speed=speed, loop=loop, start_ns=now_ns)


def duration_s(recording: Recording) -> float:
    """Return the recorded time from first to last row."""
    return (recording.ts_ms[-1] - recording.ts_ms[0]) * NS_PER_MS / NS_PER_S
