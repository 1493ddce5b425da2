"""The audit of the real service on a real Redis: killed in the middle, again and again, it holds everything once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from services.monitoring.shell.audit import audited
from services.monitoring.shell.audit_store import read_records
from shared.bus.keys import Keys
from shared.bus.redis_client import open_bus
from shared.messages.control import Control, ControlAction
from tests.risk_desk import intent_of
from tests.support import RedisServer, Spawner, eventually, free_port

pytestmark = [pytest.mark.redis, pytest.mark.process]
ENTRIES = 1200


def _has(kept: Callable[[], int], enough: int, writing: asyncio.Task[None]) -> bool:
    return writing.done() or kept() >= enough


async def test_a_writer_that_is_killed_goes_on_without_a_gap_or_an_entry_twice(
    redis_server: RedisServer, deployment: str, spawn: Spawner, tmp_path: Path
) -> None:
    env = {
        "CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_server.url, "CQ_AUDIT_DIR": str(tmp_path),
        "MONITORING_PORT": str(free_port()),
    }  # fmt: skip
    bus = open_bus(redis_server.url, Keys(deployment, 4))

    async def write() -> None:
        for number in range(ENTRIES // 2):
            await bus.append(bus.keys.intents, intent_of(number), source="test")
            halt = Control(control_id=str(number), action=ControlAction.PAUSE_STRATEGY, scope="strategy:s", who="me")
            await bus.append(bus.keys.control, halt, source="test")

    def kept() -> int:
        try:
            return len(list(read_records(tmp_path / deployment)))
        except Exception:  # the writer has not made it yet
            return 0

    writing = asyncio.create_task(write())
    for _ in range(4):
        service, enough = spawn("services.monitoring", env=env), kept() + 1
        await eventually(partial(_has, kept, enough, writing), 20)
        service.kill()
    await writing
    spawn("services.monitoring", env=env)

    async def whole() -> bool:
        if not kept():
            return False
        held = {(record.stream, record.entry_id) for record in read_records(tmp_path / deployment)}
        there = [(stream, entry.entry_id) for stream in audited(bus.keys) for entry in await bus.read_range(stream)]
        return len(there) >= ENTRIES and held >= set(there)

    await eventually(whole, 30)
    records = list(read_records(tmp_path / deployment))
    named = [(record.stream, record.entry_id) for record in records if record.stream]
    assert len(named) == len(set(named))
    await bus.close()
