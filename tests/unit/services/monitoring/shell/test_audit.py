from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from services.monitoring.shell.audit import AuditWriter, audited
from services.monitoring.shell.audit_store import AuditStore, read_records
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import SYSTEM_CLOCK
from shared.messages.control import Control, ControlAction
from tests.risk_desk import intent_of
from tests.support import eventually


async def run_until(writer: AuditWriter, store: AuditStore, number: int) -> None:
    task = asyncio.create_task(writer.run())
    try:
        await eventually(lambda: store.head.number >= number)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(MemoryServer(), Keys("sim"))


async def test_what_every_stream_brings_is_kept_once_over_restarts(bus: MemoryBus, tmp_path: Path) -> None:
    for number in range(3):
        await bus.append(bus.keys.intents, intent_of(number), source="test")
        await bus.append(
            bus.keys.control, Control(control_id=str(number), action=ControlAction.HALT, who="me"), source="t"
        )
    for count in (6, 8):
        store = AuditStore(tmp_path)
        await run_until(AuditWriter(bus, store, SYSTEM_CLOCK), store, count)
        store.close()
        await bus.append(bus.keys.intents, intent_of(count), source="test")
        await bus.append(
            bus.keys.control, Control(control_id=f"c{count}", action=ControlAction.HALT, who="me"), source="t"
        )
    records = list(read_records(tmp_path))
    assert len(records) == 8
    assert sorted({record.stream for record in records}) == [bus.keys.control, bus.keys.intents]
    assert len({(record.stream, record.entry_id) for record in records}) == 8


async def test_it_is_a_registered_reader_and_a_gap_becomes_a_record(bus: MemoryBus, tmp_path: Path) -> None:
    store = AuditStore(tmp_path)
    first = await bus.append(bus.keys.intents, intent_of(1), source="test")
    await run_until(AuditWriter(bus, store, SYSTEM_CLOCK), store, 1)
    assert all([await bus.hash_get_all(bus.keys.readers(stream)) for stream in audited(bus.keys)])
    await bus.append(bus.keys.intents, intent_of(2), source="test")
    third = await bus.append(bus.keys.intents, intent_of(3), source="test")
    await bus.trim(bus.keys.intents, before=third)
    await bus.set_text(bus.keys.trimmed(bus.keys.intents), third)
    await run_until(AuditWriter(bus, store, SYSTEM_CLOCK), store, 3)
    store.close()
    gap = next(record for record in read_records(tmp_path) if record.fields[b"type"] == b"gap")
    assert gap.fields[b"key"].decode() == bus.keys.intents and gap.fields[b"id"].decode().startswith(first)


async def test_a_disk_that_fails_is_said_and_nothing_is_lost(
    bus: MemoryBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = AuditStore(tmp_path)
    await bus.append(bus.keys.intents, intent_of(1), source="test")
    monkeypatch.setattr("services.monitoring.shell.audit.RETRY_S", 0.01)
    append, failures = store.append, iter(range(2))

    def failing(*given: object) -> None:
        if next(failures, None) is not None:
            raise OSError("no space left on device")
        append(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "append", failing)
    writer = AuditWriter(bus, store, SYSTEM_CLOCK)
    task = asyncio.create_task(writer.run())
    await eventually(lambda: "no space left" in writer.trouble)
    await eventually(lambda: store.head.number == 1 and not writer.trouble)
    task.cancel()
    store.close()
    assert len(list(read_records(tmp_path))) == 1
