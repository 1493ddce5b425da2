"""Turn stream entries into events of units: a tick batch is decoded once and handed out by conId.

Invariant: entries of one batch are handed out in the order of their ids over all streams, which is the server's time;
a stream that was cut at the count limit holds the others back, so that none runs ahead of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.strategy.api import Strategy
from services.strategy.core.events import Bar, Gap, Quote, Trade
from services.strategy.core.unit import Unit
from services.strategy.shell.loader import DeclaredUnit
from shared.bus.keys import Keys
from shared.bus.ports import Entry, entry_order
from shared.clock import NS_PER_MS
from shared.errors import BadInput, DecodeError
from shared.messages.account import BookMove
from shared.messages.base import Message
from shared.messages.codec import decode_fields
from shared.messages.control import Control, ControlAction
from shared.messages.market import FLAG_LATE, FLAG_SNAPSHOT, TickKind, tick_rows
from shared.messages.market import Bar as BarMessage
from shared.messages.orders import Decision, Fill, OrderEvent

QUOTE, TRADE, MARKER = int(TickKind.QUOTE), int(TickKind.TRADE), int(TickKind.MARKER)


def merged(found: Mapping[str, Sequence[Entry]], count: int, upto: Sequence[str] = ()) -> list[Entry]:
    """Return the entries of a read in the order of their ids, up to where every cut stream reaches.

    `upto` names streams that were read before the others: nothing later than the last of their entries is returned,
    for they may hold more of the time before it by now.
    """
    first = [entry_order(found[stream][-1].entry_id) for stream in upto if found.get(stream)]
    cut = [entry_order(entries[-1].entry_id) for entries in found.values() if len(entries) >= count]
    if len(found) == 1:
        return list(next(iter(found.values())))
    keyed = [(entry_order(entry.entry_id), entry) for entries in found.values() for entry in entries]
    if first:
        cut.append(max(first))
    if cut:
        horizon = min(cut)
        keyed = [pair for pair in keyed if pair[0] <= horizon]
    keyed.sort(key=lambda pair: pair[0])
    return [entry for _, entry in keyed]


@dataclass
class RunningUnit:
    """A unit on this worker: what was declared, the core, and the streams it reads."""

    declared: DeclaredUnit
    unit: Unit
    strategy: Strategy
    streams: tuple[str, ...]
    is_joined: bool = False
    wants_quotes: bool = field(init=False)
    wants_trades: bool = field(init=False)
    failures_kept: int = field(init=False)
    """How many errors there were when a failure was kept last."""

    def __post_init__(self) -> None:
        """Note which ticks the strategy's class handles at all."""
        self.failures_kept = self.unit.saved.errors
        cls = type(self.strategy)
        self.wants_quotes = cls.on_quote is not Strategy.on_quote
        self.wants_trades = cls.on_trade is not Strategy.on_trade

    @property
    def has_new_error(self) -> bool:
        """Return whether a handler raised since a failure was kept last."""
        return self.unit.saved.errors > self.failures_kept


def streams_of(keys: Keys, con_ids: Iterable[int], bars: Sequence[str]) -> tuple[str, ...]:
    """Return the streams a unit of these contracts reads."""
    partitions = sorted({keys.partition(con_id) for con_id in con_ids})
    ticks = [keys.ticks(partition) for partition in partitions]
    bar_streams = [keys.bars(partition) for partition in partitions] if bars else []
    return (*ticks, *bar_streams, keys.orders, keys.fills, keys.decisions, keys.control)


class Dispatcher:
    """Hands entries to a set of units."""

    def __init__(self, keys: Keys, units: Sequence[RunningUnit]) -> None:
        self._units = list(units)
        self._count = 0
        self._by_con: dict[int, list[RunningUnit]] = {}
        self._by_strategy: dict[bytes, list[RunningUnit]] = {}
        for running in units:
            self._by_strategy.setdefault(running.declared.strategy.name.encode(), []).append(running)
            for con_id in running.unit.contracts:
                self._by_con.setdefault(con_id, []).append(running)
        self._con_keys = {str(con_id).encode(): found for con_id, found in self._by_con.items()}
        self._routes: dict[str, Callable[[Entry, int, int], None]] = {
            keys.orders: self._order,
            keys.fills: self._fill,
            keys.decisions: self._decision,
            keys.control: self._control,
        }
        for partition in range(keys.tick_partitions):
            self._routes[keys.ticks(partition)] = self._ticks
            self._routes[keys.bars(partition)] = self._bar
        self._vital = {keys.orders, keys.fills, keys.control}

    def take_count(self) -> int:
        """Return how many ticks were handed out since the last call."""
        count, self._count = self._count, 0
        return count

    def handle(self, entry: Entry, wall_ns: int) -> str | None:
        """Hand an entry to its units; return the error of one that cannot be read.

        One unreadable in `orders`, `fills` or `control` may have been an order or a fill: every unit stops trading
        until a person or the strategy accepts the gap (P10).
        """
        now_ns = entry_order(entry.entry_id)[0] * NS_PER_MS
        try:
            self._routes[entry.stream](entry, now_ns, wall_ns)
        except BadInput as e:
            if entry.stream in self._vital:
                gap = Gap(entry.stream, entry.entry_id, entry.entry_id, blocks=True)
                for running in self._units:
                    running.unit.gap(gap, now_ns, wall_ns)
            return str(e)
        return None

    def _ticks(self, entry: Entry, now_ns: int, wall_ns: int) -> None:
        body = entry.fields.get(b"body")
        if body is None:
            raise DecodeError(f"tick entry {entry.entry_id} of {entry.stream} has no body")
        by_con = self._by_con
        cause = entry.entry_id
        count = 0
        for con_id, ts_event_ns, _, kind, quality, flags, _, a, b, c, d in tick_rows(body):
            count += 1
            if kind == MARKER:
                gap = Gap(entry.stream, entry.entry_id, entry.entry_id, blocks=False)
                for running in self._units:
                    if entry.stream in running.streams:
                        running.unit.gap(gap, now_ns, wall_ns)
                continue
            for running in by_con.get(con_id, ()):
                unit = running.unit
                contract = unit.contracts[con_id]
                if kind == QUOTE:
                    if running.wants_quotes:
                        quote = Quote(contract, a, b, c, d, ts_event_ns, quality, bool(flags & FLAG_SNAPSHOT))
                        unit.quote(quote, now_ns, wall_ns, cause)
                elif kind == TRADE and running.wants_trades and not flags & FLAG_LATE:
                    unit.trade(Trade(contract, a, b, ts_event_ns, quality), now_ns, wall_ns, cause)
        self._count += count

    def _bar(self, entry: Entry, now_ns: int, wall_ns: int) -> None:
        wanting = self._con_keys.get(entry.fields.get(b"key", b""), ())
        wanting = [running for running in wanting if running.declared.strategy.reads]
        message = _decoded(entry) if wanting else None
        if not isinstance(message, BarMessage):
            return
        for running in wanting:
            if message.interval in running.declared.strategy.reads:
                contract = running.unit.contracts[message.con_id]
                bar = Bar(
                    contract=contract,
                    interval=message.interval,
                    ts_open_ns=message.ts_open_ns,
                    ts_close_ns=message.ts_close_ns,
                    open=float(message.open),
                    high=float(message.high),
                    low=float(message.low),
                    close=float(message.close),
                    volume=float(message.volume),
                    vwap=None if message.vwap is None else float(message.vwap),
                    is_complete=message.is_complete,
                    is_revised=message.is_revised,
                    hours=message.hours,
                )
                running.unit.bar(bar, now_ns, wall_ns, entry.entry_id)

    def _of_contract(self, entry: Entry) -> list[RunningUnit]:
        """Return the units of the entry's contract; decoding is for those only. Without a key: all of them."""
        key = entry.fields.get(b"key")
        return self._units if key is None else self._con_keys.get(key, [])

    def _order(self, entry: Entry, now_ns: int, wall_ns: int) -> None:
        for running, message in self._pairs(self._of_contract(entry), entry):
            if isinstance(message, OrderEvent):
                running.unit.order_event(message, now_ns, wall_ns, entry.entry_id)

    def _fill(self, entry: Entry, now_ns: int, wall_ns: int) -> None:
        for running, message in self._pairs(self._of_contract(entry), entry):
            if isinstance(message, Fill):
                running.unit.fill(message, now_ns, wall_ns, entry.entry_id)
            elif isinstance(message, BookMove):
                running.unit.move(message)

    def _decision(self, entry: Entry, now_ns: int, wall_ns: int) -> None:
        for running, message in self._pairs(self._by_strategy.get(entry.fields.get(b"key", b""), []), entry):
            if isinstance(message, Decision):
                running.unit.decision(message, now_ns, wall_ns, entry.entry_id)

    def _control(self, entry: Entry, _now_ns: int, _wall_ns: int) -> None:
        for running, message in self._pairs(self._units, entry):
            if isinstance(message, Control) and message.scope == f"strategy:{running.declared.strategy.name}":
                if message.action is ControlAction.PAUSE_STRATEGY:
                    running.unit.pause(f"paused by {message.who}: {message.reason or 'no reason given'}")
                elif message.action is ControlAction.RESUME_STRATEGY:
                    running.unit.resume()

    @staticmethod
    def _pairs(units: Sequence[RunningUnit], entry: Entry) -> list[tuple[RunningUnit, Message]]:
        if not units:
            return []
        message = _decoded(entry)
        return [(running, message) for running in units]


def _decoded(entry: Entry) -> Message:
    return decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
