"""Read everything on the bus into the page's state, once a second judge it, and say what changed.

Streams are followed from their newest `FIRST_ENTRIES` entries: the page shows the recent past, totals are of what is
retained. Hashes, heartbeats, leases and lags are looked at once a second. A bus that is away stops nothing here: the
page goes on with what it knew and says that it is old.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from services.monitoring.core.alerts import AlertBook, Condition, Limits, Pulse, conditions
from services.monitoring.core.views import StatusView, price_row
from services.monitoring.metrics import ALERTS, DEAD_LETTER, PROCESS_UP, STANDING
from shared.bus.ports import FIRST, Bus
from shared.bus.tail import TailReader
from shared.clock import NS_PER_S, Clock
from shared.errors import BadInput, OutcomeUnknown, TransientError
from shared.logs import get_logger
from shared.messages import decode_fields
from shared.messages.account import PositionReport
from shared.messages.base import Message
from shared.messages.codec import decode_body
from shared.messages.control import Alert
from shared.messages.market import ContractInfo
from shared.messages.orders import OrderEvent

FIRST_ENTRIES = 2_000
READ_SLICE_S = 0.1
"""Pause after a read: a page needs no entry sooner, and whoever wrote it does not wait for us to be served."""
LOOK_EVERY_S = 1.0
_MAX_BEAT_BYTES = 65_536


class Notifier(Protocol):
    """Takes alerts to people."""

    def offer(self, alert: Alert) -> None:
        """Queue an alert; never blocks."""
        ...


class Collector:
    """Keeps `view` up to date and publishes alerts."""

    def __init__(
        self, bus: Bus, view: StatusView, limits: Limits, *, source: str, clock: Clock, notifier: Notifier | None = None
    ) -> None:
        self._bus = bus
        self.view = view
        self._limits = limits
        self._source = source
        self._clock = clock
        self._notifier = notifier
        self._book = AlertBook()
        self._pulse = Pulse()
        self._contracts: dict[str, bytes] = {}
        self.last_look_ns = 0
        self.bus_error = "nothing was read yet"
        self.on_change: Callable[[], None] = lambda: None

    # ----------------------------------------------------------------------------------------- streams

    def _streams(self) -> list[str]:
        keys = self._bus.keys
        return [
            keys.intents,
            keys.decisions,
            keys.orders,
            keys.fills,
            keys.account,
            keys.broker_status,
            keys.control,
            keys.alerts,
            *(keys.bars(partition) for partition in range(keys.tick_partitions)),
        ]

    async def follow(self) -> None:
        """Read the streams for ever."""
        reader: TailReader | None = None
        while True:
            try:
                reader = reader or await self._start()
                batch = await reader.read(count=500, block_ms=200)
                for entries in batch.entries.values():
                    for entry in entries:
                        self._take(entry.fields)
                await self._clock.sleep(READ_SLICE_S)
            except (TransientError, OutcomeUnknown) as e:
                self.bus_error = str(e)
                await self._clock.sleep(0.5)

    async def _start(self) -> TailReader:
        cursors: dict[str, str] = {}
        for stream in self._streams():
            entries = await self._bus.read_last(stream, FIRST_ENTRIES)
            for entry in entries:
                message = self._take(entry.fields)
                if isinstance(message, Alert):
                    self._book.restore([message])
            cursors[stream] = entries[-1].entry_id if entries else FIRST
        return TailReader(self._bus, cursors)

    def _take(self, fields: Mapping[bytes, bytes]) -> Message | None:
        try:
            message = decode_fields(fields).message
        except BadInput:
            return None  # its own reader dead-letters it; a page needs no second copy
        self.view.apply(message)
        return message

    # ------------------------------------------------------------------------------------------ looking

    async def look_for_ever(self) -> None:
        """Look at hashes, heartbeats and lags once a second, and judge."""
        while True:
            try:
                await self.look()
            except (TransientError, OutcomeUnknown) as e:
                self.bus_error = str(e)
                get_logger().warning("bus.away", error=str(e))
            self.on_change()
            await self._clock.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Look once.

        Raises:
            BusUnavailable: Redis is away.
        """
        keys, view = self._bus.keys, self.view
        view.heartbeats = await self._heartbeats()
        await self._read_contracts()
        halt = await self._bus.hash_get_all(keys.halt)
        if halt:
            view.halt = {**view.halt, **{name: value.decode(errors="replace") for name, value in halt.items()}}
        else:
            view.halt = {"stage": "missing", "who": "", "reason": "its state is missing, which means halted"}
        view.positions = {row.con_id: row for row in await self._decoded(keys.positions, PositionReport)}
        view.open_orders = {row.envelope_id(): row for row in await self._decoded(keys.open_orders, OrderEvent)}
        values = await self._bus.hash_get_all(keys.account_values)
        view.account_values = {name: value.decode(errors="replace") for name, value in values.items()}
        identity = await self._bus.hash_get_all(keys.identity)
        view.account = identity.get("account", b"").decode() or view.account
        view.strategies = _rows(await self._bus.hash_get_all(keys.strategies))
        view.learn_names()
        view.prices = await self._prices()
        view.lags = await self._lags()
        view.dead_letter_count = await self._bus.stream_length(keys.dead_letter)
        view.dead_letters = [_plain(entry.fields) for entry in await self._bus.read_last(keys.dead_letter, 5)]
        self.last_look_ns = self._clock.monotonic_ns()
        self.bus_error = ""
        await self._judge()

    async def _heartbeats(self) -> list[dict[str, Any]]:
        beats = []
        for key in await self._bus.scan(self._bus.keys.heartbeat_pattern()):
            raw = await self._bus.get_text(key)
            try:
                content = json.loads(raw) if raw and len(raw) < _MAX_BEAT_BYTES else None
            except ValueError:
                continue
            if isinstance(content, dict) and "service" in content:
                beats.append(content)
        by_service: dict[str, int] = {}
        for beat in beats:
            by_service[str(beat["service"])] = by_service.get(str(beat["service"]), 0) + 1
        PROCESS_UP.clear()
        for service, count in by_service.items():
            PROCESS_UP.labels(service).set(count)
        return beats

    async def _read_contracts(self) -> None:
        rows = await self._bus.hash_get_all(self._bus.keys.contracts)
        for name, body in rows.items():
            if self._contracts.get(name) != body:
                self._contracts[name] = body
                try:
                    self.view.apply(decode_body(ContractInfo.TYPE, body))
                except BadInput:
                    continue  # the gateway that wrote it says so

    async def _decoded(self, key: str, kind: type[Any]) -> list[Any]:
        found = []
        for body in (await self._bus.hash_get_all(key)).values():
            try:
                found.append(decode_body(kind.TYPE, body))
            except BadInput:
                continue  # shown as missing rather than guessed at
        return found

    async def _prices(self) -> list[dict[str, Any]]:
        rows = []
        for key in await self._bus.scan(self._bus.keys.last(0)[:-1] + "*"):
            con_id = key.rpartition(":")[2]
            fields = await self._bus.hash_get_all(key)
            if con_id.isdigit() and fields:
                rows.append(price_row(int(con_id), fields))
        return sorted(rows, key=lambda row: str(row["contract"]))

    async def _lags(self) -> list[dict[str, Any]]:
        keys = self._bus.keys
        lags: list[dict[str, Any]] = []
        single = (
            ("intents", keys.intents, "risk"),
            ("cancels", keys.cancels, "risk"),
            ("commands", keys.commands, "gateway"),
            ("cancel-commands", keys.cancel_commands, "gateway"),
        )
        for name, stream, reader in single:
            cursor = await self._bus.get_cursor(name)
            lags.append({"stream": name, "reader": reader, "lag": await self._bus.count_after(stream, cursor)})
        for stream in (*self._streams(), *(keys.ticks(part) for part in range(keys.tick_partitions))):
            short = stream.removeprefix(f"cq:{keys.deployment}:")
            for reader, value in (await self._bus.hash_get_all(keys.readers(stream))).items():
                cursor = value.decode(errors="replace").split(" ")[0]
                lags.append({"stream": short, "reader": reader, "lag": await self._bus.count_after(stream, cursor)})
        lags.extend(
            {"stream": "ticks", "reader": "marketdata", "lag": f"{beat.get('lag_ms', 0)} ms"}
            for beat in self.view.heartbeats
            if beat.get("service") == "marketdata" and beat.get("role") == "leader"
        )
        return lags

    # -------------------------------------------------------------------------------------------- alerts

    async def _judge(self) -> None:
        now_ns = self._clock.wall_ns()
        found: list[Condition] = conditions(self.view, self._pulse, self._limits, now_ns)
        for alert in self._book.update(found, now_ns):
            self.view.apply(alert)
            if not alert.is_cleared:
                ALERTS.labels(alert.severity).inc()
            event = "alert.cleared" if alert.is_cleared else "alert.raised"
            get_logger().warning(event, alert_id=alert.alert_id, severity=alert.severity, text=alert.text)
            await self._bus.append(self._bus.keys.alerts, alert, source=self._source)
            if self._notifier is not None:
                self._notifier.offer(alert)
        STANDING.set(len(self._book.standing))
        DEAD_LETTER.set(self.view.dead_letter_count)

    def not_ready(self) -> str | None:
        """Return why the page is not up to date, None when it is."""
        if self.bus_error:
            return self.bus_error
        age_s = (self._clock.monotonic_ns() - self.last_look_ns) / NS_PER_S
        return f"the bus was last read {age_s:.0f} s ago" if age_s > 5 * LOOK_EVERY_S else None


def _plain(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return an entry's fields as short readable text."""
    return {
        name.decode(errors="replace"): value[:200].decode(errors="replace")
        for name, value in fields.items()
        if name not in (b"body",)
    }


def _rows(rows: Mapping[str, bytes]) -> list[dict[str, Any]]:
    found = []
    for name, raw in sorted(rows.items()):
        try:
            content = json.loads(raw)
        except ValueError:
            content = {"error": "its row is no JSON"}
        found.append({"unit": name, **(content if isinstance(content, dict) else {})})
    return found
