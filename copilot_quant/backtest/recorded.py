"""Read a recording of marketdata as the market of a backtest: ticks, the bars of then, and what was looked back on.

Times: an event is known when its entry was written to the stream, as live units see it; the time it carries is kept.
Not used of a recording are its orders and fills: here the exchange answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from copilot_quant.backtest.ticks import Ticks
from copilot_quant.backtest.world import GivenBar
from services.marketdata.shell.replayer import RecordedSession
from services.strategy.core.history import ClosedBar, closed_bar_of
from shared.bus.ports import Entry, entry_order
from shared.clock import NS_PER_MS
from shared.errors import BadInput
from shared.messages.codec import decode_fields
from shared.messages.market import FLAG_LATE, FLAG_SNAPSHOT, TICK_RECORD, Bar, ContractInfo, TickKind

_QUOTE, _TRADE = int(TickKind.QUOTE), int(TickKind.TRADE)
_Column = tuple[int, int, bool, float, float, float, float]


@dataclass(slots=True)
class Recorded:
    """What a recording has of some contracts; `bars` in the order they came, their index counts the names."""

    infos: dict[str, ContractInfo]
    ticks: dict[str, Ticks]
    bars: list[GivenBar]
    closed: dict[tuple[str, str], list[ClosedBar]]

    def history(self, name: str, size: str) -> list[ClosedBar]:
        """Return the bars that were looked back on.

        Raises:
            BadInput: none were recorded.
        """
        try:
            return self.closed[name, size]
        except KeyError:
            raise BadInput(f"the strategy looks back on {size!r} bars of {name}: none were recorded") from None


def read_recorded(folder: Path, names: Sequence[str]) -> Recorded:
    """Read a recording.

    Raises:
        BadInput: it cannot be read, or a contract was not known when it was made.
    """
    session = RecordedSession(folder)
    found = {name: session.contract(name) for name in names}
    missing = [name for name, info in found.items() if info is None]
    if missing:
        raise BadInput(f"{', '.join(missing)} was not known when {folder} was recorded")
    infos = {name: info for name, info in found.items() if info is not None}
    index_of = {info.con_id: index for index, info in enumerate(infos.values())}
    columns: list[list[_Column]] = [[] for _ in infos]
    bars: list[GivenBar] = []
    bar_streams = {session.keys.bars(each) for each in range(session.keys.tick_partitions)}
    tick_streams = {session.keys.ticks(each) for each in range(session.keys.tick_partitions)}
    for entry in session.entries():
        if entry.stream in tick_streams:
            _take_ticks(entry, index_of, columns)
        elif entry.stream in bar_streams:
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
            if isinstance(message, Bar) and message.con_id in index_of:
                bars.append(GivenBar(_at_ns(entry), index_of[message.con_id], message))
    ticks = {name: _ticks(rows) for name, rows in zip(infos, columns, strict=True)}
    closed: dict[tuple[str, str], list[ClosedBar]] = {}
    by_id = {info.con_id: name for name, info in infos.items()}
    for answer in session.history():
        if answer.con_id in by_id:
            closed[by_id[answer.con_id], answer.bar_size] = [closed_bar_of(bar) for bar in answer.bars]
    return Recorded(infos, ticks, bars, closed)


def _at_ns(entry: Entry) -> int:
    return entry_order(entry.entry_id)[0] * NS_PER_MS


def _take_ticks(entry: Entry, index_of: dict[int, int], columns: list[list[_Column]]) -> None:
    body, at_ns = entry.fields.get(b"body", b""), _at_ns(entry)
    if len(body) % TICK_RECORD.size:
        raise BadInput(f"tick entry {entry.entry_id} of {entry.stream} is no whole number of records")
    for con_id, ts_ns, _, kind, _, flags, _, a, b, c, d in TICK_RECORD.iter_unpack(body):
        index = index_of.get(con_id)
        is_quote = kind == _QUOTE
        is_told = is_quote or (kind == _TRADE and not flags & (FLAG_LATE | FLAG_SNAPSHOT))
        if index is not None and is_told:
            columns[index].append((at_ns, ts_ns, is_quote, a, b, c, d))


def _ticks(rows: list[_Column]) -> Ticks:
    at_ns, ts_ns, is_quote, *values = ([row[number] for row in rows] for number in range(7))
    floats = [np.array(each, dtype=np.float64) for each in values]
    return Ticks(np.array(at_ns, dtype=np.int64), np.array(ts_ns, dtype=np.int64), np.array(is_quote, bool), *floats)
