"""Feed the book: tail every stream that tells what the account did, and keep the last prices.

Entries of one read are applied in the order the server wrote them (entry ids of one server share a clock). Prices come
from the tick streams, read in slices of some milliseconds so that what arrived together is handled together: only the
newest quote and trade per contract of a slice is used, decoded with `struct`, no object per tick.

An entry of `orders`, `fills`, `commands` or `control` that cannot be read is dead-lettered by the leader and makes the
book refuse entries until the gateway has reconciled again (P10): its meaning could have been an order or a fill.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from services.risk.core.days import TradingDay
from services.risk.core.exposure import Book
from services.risk.core.profiles import TRADING_DAY
from services.risk.metrics import MALFORMED, MISMATCHED, OPEN_ORDERS
from services.risk.shell.snapshots import load_book
from shared.bus.ports import FIRST, Bus, Entry, entry_order
from shared.clock import NS_PER_MS, Clock
from shared.errors import BadInput, OutcomeUnknown, TransientError
from shared.logs import get_logger
from shared.messages import decode_fields
from shared.messages.codec import decode_body
from shared.messages.market import (
    FLAG_LATE,
    FLAG_SNAPSHOT,
    TICK_RECORD,
    TICKS_TYPE,
    ContractInfo,
    DataQuality,
    TickKind,
)

READ_COUNT = 2000
BLOCK_MS = 100
TICK_SLICE_S = 0.02
START_BATCHES = 500
"""Tick batches per partition read at the start, for prices that no snapshot has yet."""
SNAPSHOT_PERIOD_S = 0.25
CONTRACTS_PERIODS = 120
"""Contract definitions are read again after this many snapshot periods (30 s), at once when one is missing."""
_TICKS = TICKS_TYPE.encode()
_QUALITIES = {quality.name: int(quality) for quality in DataQuality}


class Feed:
    """Keeps `book` up to date for the leader and for a standby alike.

    Args:
        bus: the order-flow bus.
        account: the deployment's account.
        is_leading: whether this process leads now; only the leader writes dead letters.
        day: the trading day of the limits.
    """

    def __init__(
        self,
        bus: Bus,
        account: str,
        clock: Clock,
        *,
        instance: str,
        is_leading: Callable[[], bool] = lambda: False,
        day: TradingDay = TRADING_DAY,
    ) -> None:
        self._day = day
        self.book = Book(account, day=day)
        self.book.oddities.since_ns = clock.wall_ns()
        self.cursors: dict[str, str] = {}
        self.gaps: dict[str, None] = {}
        """Streams of which entries were trimmed that this book did not read; a take-over makes up for them."""
        self._bus = bus
        self._account = account
        self._clock = clock
        self._source = f"risk:{instance}"
        self._is_leading = is_leading
        self._generation = 0
        self._tick_cursors: dict[str, str] = {}
        self._contract_bodies: dict[str, bytes] = {}
        self.is_driven = False
        """Whether the reader of intents reads the streams too (`read_with`); then `run` only waits."""
        self._is_away = False
        self._unreadable: list[tuple[Entry, str]] = []
        self._reset()

    def _reset(self) -> None:
        keys = self._bus.keys
        streams = (keys.commands, keys.cancel_commands, keys.orders, keys.fills, keys.account, keys.broker_status)
        self.cursors = dict.fromkeys((*streams, keys.control), FIRST)
        self._gateway_streams = (keys.orders, keys.fills, keys.account)
        self._vital = (keys.commands, keys.orders, keys.fills)

    async def rebuild(self, incarnation: str, epoch: int) -> None:
        """Begin the book anew from its snapshot, else empty from the streams' first entry; last prices are kept."""
        book = Book(self._account, incarnation=incarnation, epoch=epoch, day=self._day)
        cursors = await load_book(self._bus, book)
        book.take_quotes(self.book)
        book.oddities.since_ns = self._clock.wall_ns()
        book.readiness.unprepared = self.book.readiness.unprepared
        self.book = book
        self._generation += 1
        self._contract_bodies = {}
        self._reset()
        self.cursors.update(cursors)
        self.gaps = {}
        await self.note_gaps()
        await self._read_snapshots(with_contracts=True)
        if not self._tick_cursors:
            await self._start_ticks()

    async def note_gaps(self) -> None:
        """Note where the streams were trimmed past what is read."""
        for stream, cursor in self.cursors.items():
            if await self._bus.gap_after(stream, cursor) is not None:
                self.gaps[stream] = None

    async def catch_up(self) -> int:
        """Read to the present end of every stream; return how many entries that were.

        Meant for a take-over: after the fence was raised nobody else adds to what is read here.
        """
        count = 0
        while (found := await self._read(block_ms=None)) is not None:
            count += found
        return count

    async def run(self) -> None:
        """Tail the streams for ever; a bus that is away only delays it."""
        while True:
            if self.is_driven:
                await self._clock.sleep(SNAPSHOT_PERIOD_S)
            else:
                await self._patiently(self._read_some)

    async def run_ticks(self) -> None:
        """Keep the last prices for ever."""
        while True:
            await self._patiently(self._read_ticks)
            await self._clock.sleep(TICK_SLICE_S)

    async def run_snapshots(self) -> None:
        """Read halt, pauses and new contract definitions every quarter of a second."""
        rounds = 0
        while True:
            rounds += 1
            is_due = rounds % CONTRACTS_PERIODS == 0 or (rounds % 4 == 0 and self.misses_contract())
            await self._patiently(self._read_all_snapshots if is_due else self._read_small_snapshots)
            OPEN_ORDERS.set(self.book.open_orders)
            MISMATCHED.set(sum(1 for one in self.book.contracts.values() if one.is_mismatched or one.unexplained))
            await self._clock.sleep(SNAPSHOT_PERIOD_S)

    async def _patiently(self, act: Callable[[], Awaitable[object]]) -> None:
        try:
            await act()
            self._is_away = False
        except (TransientError, OutcomeUnknown) as e:
            if not self._is_away:
                get_logger().warning("dependency.away", what="bus", error=str(e))
            self._is_away = True
            await self._clock.sleep(0.2)

    # -- streams

    async def _read_some(self) -> None:
        await self._read(block_ms=BLOCK_MS)

    async def _read(self, *, block_ms: int | None) -> int | None:
        """Apply what is there; return how many entries were new, None if the server had none."""
        generation = self._generation
        found = await self._bus.read(self.cursors, count=READ_COUNT, block_ms=block_ms)
        if generation != self._generation:
            return 0  # the book was begun anew meanwhile
        return await self._apply_all(found) if found else None

    async def read_with(self, stream: str, cursor: str, *, block_ms: int) -> list[Entry]:
        """Return the entries of another stream after `cursor`, with the book read up to the same instant.

        Whoever wrote such an entry may have acted on a fill or an order event: the book must know it too. Without one
        the book follows after `block_ms`; what the others write does not wake this process each time.
        """
        found = await self._bus.read({stream: cursor}, count=READ_COUNT, block_ms=block_ms, beside=self.cursors)
        entries = found.pop(stream, [])
        if found:
            await self._apply_all(found)
            if any(len(rows) >= READ_COUNT for rows in found.values()):
                await self.catch_up()
        return entries

    async def _apply_all(self, found: dict[str, list[Entry]]) -> int:
        fresh = {
            stream: [entry for entry in entries if entry_order(entry.entry_id) > entry_order(self.cursors[stream])]
            for stream, entries in found.items()
        }
        upto = _complete_up_to(fresh)
        entries = sorted(
            (entry for rows in fresh.values() for entry in rows if entry_order(entry.entry_id) <= upto),
            key=lambda entry: entry_order(entry.entry_id),
        )
        for entry in entries:
            self.cursors[entry.stream] = entry.entry_id
            self._apply(entry)
        await self._keep_unreadable()
        return len(entries)

    async def _keep_unreadable(self) -> None:
        """Dead-letter what could not be read. Taken out first: another reader of the same book may come in between."""
        while self._unreadable:
            entry, error = self._unreadable.pop(0)
            if not self._is_leading():
                continue
            try:
                await self._bus.dead_letter(entry, consumer=self._source, error=error)
            except BaseException:
                self._unreadable.insert(0, (entry, error))
                raise

    def _apply(self, entry: Entry) -> None:
        book = self.book
        try:
            envelope = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream)
            if entry.stream in self._gateway_streams and envelope.epoch:
                book.readiness.saw_epoch(envelope.epoch)
            book.apply(envelope.message, entry_order(entry.entry_id)[0] * NS_PER_MS)
        except Exception as e:  # noqa: BLE001 - the consumer loop: one bad entry must not stop the others (P10)
            self._note_unreadable(entry, e)

    def _note_unreadable(self, entry: Entry, error: Exception) -> None:
        name = entry.stream.rpartition(":")[2]
        MALFORMED.labels(name).inc()
        self.book.oddities.erred(self._clock.wall_ns())
        get_logger().error("entry.unreadable", stream=entry.stream, entry_id=entry.entry_id, error=str(error))
        if entry.stream == self._bus.keys.control:
            self.book.breakers.apply_unreadable(entry.entry_id)
        elif entry.stream in self._vital:
            self.book.readiness.unsafe = f"entry {entry.entry_id} of {name}"
        self._unreadable.append((entry, f"{type(error).__name__}: {error}"))

    # -- snapshots

    def misses_contract(self) -> bool:
        """Return whether a contract is traded or held whose definition is not known."""
        return any(one.info is None for one in self.book.contracts.values())

    async def _read_small_snapshots(self) -> None:
        await self._read_snapshots(with_contracts=False)

    async def _read_all_snapshots(self) -> None:
        await self._read_snapshots(with_contracts=True)

    async def _read_snapshots(self, *, with_contracts: bool) -> None:
        keys = self._bus.keys
        halt = await self._bus.hash_get_all(keys.halt)
        paused = await self._bus.hash_get_all(keys.paused)
        book = self.book
        book.breakers.set_stage(halt.get("stage", b"").decode(), halt.get("reason", b"").decode())
        book.breakers.set_paused({name: reason.decode(errors="replace") for name, reason in paused.items()})
        if with_contracts:
            await self.read_contracts()

    async def read_contracts(self) -> None:
        """Read contract definitions that are new or have changed."""
        bodies = await self._bus.hash_get_all(self._bus.keys.contracts)
        for con_id, body in bodies.items():
            if self._contract_bodies.get(con_id) == body:
                continue
            self._contract_bodies[con_id] = body
            try:
                info = decode_body(ContractInfo.TYPE, body)
            except BadInput as e:
                MALFORMED.labels("contracts").inc()
                get_logger().error("entry.unreadable", stream="contracts", entry_id=con_id, error=str(e))
                continue
            self.book.apply(info, self._clock.wall_ns())

    # -- prices

    async def _start_ticks(self) -> None:
        keys = self._bus.keys
        streams = [keys.ticks(partition) for partition in range(keys.tick_partitions)]
        for key in await self._bus.scan(keys.last(0)[:-1] + "*"):
            self._apply_last(await self._bus.hash_get_all(key))
        cursors = {}
        for stream in streams:
            entries = await self._bus.read_last(stream, START_BATCHES)
            cursors[stream] = entries[-1].entry_id if entries else FIRST
            self._apply_ticks(entries)
        self._tick_cursors = cursors

    def _apply_last(self, fields: dict[str, bytes]) -> None:
        text = {name: value.decode(errors="replace") for name, value in fields.items()}
        try:
            con_id, ts_ns = int(text["con_id"]), int(text["fresh_ns"])
            bid, ask, last = (float(text.get(name) or 0) for name in ("bid", "ask", "last"))
        except (KeyError, ValueError):
            return  # a snapshot is for people first; ticks will bring the price
        quality = _QUALITIES.get(text.get("quality", ""), 0)
        self.book.apply_tick(con_id, TickKind.QUOTE, quality, ts_ns, bid, ask)
        self.book.apply_tick(con_id, TickKind.TRADE, quality, ts_ns, last, 0.0)

    async def _read_ticks(self) -> None:
        if not self._tick_cursors:
            await self._start_ticks()
        found = await self._bus.read(self._tick_cursors, count=READ_COUNT, block_ms=BLOCK_MS)
        for stream, entries in found.items():
            self._tick_cursors[stream] = entries[-1].entry_id
            self._apply_ticks(entries)

    def _apply_ticks(self, entries: list[Entry]) -> None:
        newest: dict[int, tuple[Any, ...]] = {}
        for entry in entries:
            _keep_newest(newest, entry)
        apply_tick = self.book.apply_tick
        for record in newest.values():
            ts_ns = 0 if record[5] & FLAG_SNAPSHOT else record[2]
            apply_tick(record[0], record[3], record[4], ts_ns, record[7], record[9])


def _keep_newest(newest: dict[int, tuple[Any, ...]], entry: Entry) -> None:
    """Keep the last quote and the last trade of each contract, keyed by both in one number."""
    body = entry.fields.get(b"body", b"")
    if entry.fields.get(b"type") != _TICKS or len(body) % TICK_RECORD.size:
        MALFORMED.labels("ticks").inc()
        return
    for record in TICK_RECORD.iter_unpack(body):
        if not record[5] & FLAG_LATE:
            newest[record[0] * 4 + record[3]] = record


def _complete_up_to(found: dict[str, list[Entry]]) -> tuple[int, int]:
    """Return the id up to which every stream was read: one that filled its count may hold more after its last."""
    full: Iterable[list[Entry]] = (entries for entries in found.values() if len(entries) >= READ_COUNT)
    return min((entry_order(entries[-1].entry_id) for entries in full), default=(1 << 62, 0))
