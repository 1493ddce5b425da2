"""Read everything that trading leaves on the bus into the audit: intents, decisions, orders, fills, control, all of it.

The streams are read from where the audit ends, registered as a reader, so that retention waits for it up to its limit;
what was trimmed before it could be read becomes a `gap` record. A disk that fails stops nothing else: `/readyz` says
so, the streams keep their entries, and writing goes on where it stopped once it can.
"""

from __future__ import annotations

import asyncio

from services.monitoring.core.audit import GAP, INCARNATION
from services.monitoring.metrics import AUDIT_RECORDS
from services.monitoring.shell.audit_store import AuditStore
from shared.bus.keys import Keys
from shared.bus.ports import FIRST, Bus, Entry, entry_order
from shared.bus.retention import register_reader
from shared.bus.tail import Batch, TailReader
from shared.clock import NS_PER_MS, NS_PER_S, Clock, iso_utc
from shared.errors import OutcomeUnknown, TransientError
from shared.logs import get_logger

READER = "audit"
REGISTER_EVERY_NS = 30 * NS_PER_S
AT_ONCE = 500
PAUSE_S = 0.25
RETRY_S = 1.0


def audited(keys: Keys) -> list[str]:
    """Return the streams that the audit keeps, in the order in which an order goes through them."""
    return [
        keys.intents, keys.decisions, keys.commands, keys.cancels, keys.cancel_commands, keys.orders, keys.fills,
        keys.control, keys.broker_status, keys.alerts, keys.dead_letter,
    ]  # fmt: skip


class AuditWriter:
    """Follows the streams into the store.

    Args:
        store: open for writing; closed by whoever opened it.
    """

    def __init__(self, bus: Bus, store: AuditStore, clock: Clock) -> None:
        self._bus = bus
        self._store = store
        self._clock = clock
        self._registered_ns = 0
        self.trouble = ""

    async def run(self) -> None:
        """Write for ever."""
        reader = self._reader()
        while True:
            try:
                if await self.step(reader) < AT_ONCE:
                    # An order in the making must not find this reader woken by each of its steps.
                    await self._clock.sleep(PAUSE_S)
            except OSError as e:
                if not self.trouble:
                    get_logger().error("audit.unwritable", error=str(e))
                self.trouble = f"the audit cannot be written: {e}"
                reader = self._reader()  # what was read is read again
                await self._clock.sleep(RETRY_S)
            except (TransientError, OutcomeUnknown) as e:
                get_logger().warning("dependency.away", what="bus", error=str(e))
                await self._clock.sleep(RETRY_S)

    async def step(self, reader: TailReader) -> int:
        """Read once, keep what came, and return how many records that made.

        Raises:
            OSError: they could not be written; the reader is ahead of the store.
            BusUnavailable: Redis is away; nothing was read.
        """
        batch = await reader.read(count=AT_ONCE, block_ms=200)
        entries = self._notes(batch) + sorted(
            (entry for found in batch.entries.values() for entry in found), key=lambda one: entry_order(one.entry_id)
        )
        if entries:
            await asyncio.to_thread(self._store.append, entries, dict(reader.cursors))
            AUDIT_RECORDS.inc(len(entries))
            self.trouble = ""
        await self._register(reader)
        return len(entries)

    def _reader(self) -> TailReader:
        known = self._store.cursors
        return TailReader(self._bus, {stream: known.get(stream, FIRST) for stream in audited(self._bus.keys)})

    def _notes(self, batch: Batch) -> list[Entry]:
        now_ns = self._clock.wall_ns()
        about: list[dict[str, str]] = [
            {"type": GAP, "key": gap.stream, "id": f"{gap.after_id} to {gap.next_id}"} for gap in batch.gaps
        ]
        if batch.is_new_incarnation:
            about.append({"type": INCARNATION})
        return [
            Entry(
                "",
                f"{now_ns // NS_PER_MS}-0",
                {k.encode(): v.encode() for k, v in {**one, "ts": iso_utc(now_ns)}.items()},
            )
            for one in about
        ]

    async def _register(self, reader: TailReader) -> None:
        now_ns = self._clock.wall_ns()
        if now_ns - self._registered_ns >= REGISTER_EVERY_NS:
            self._registered_ns = now_ns
            for stream, cursor in reader.cursors.items():
                await register_reader(self._bus, stream, READER, cursor, now_ns)
