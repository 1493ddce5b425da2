"""Recorded from a bus and read back: what the bus had, in its order, and what the deployment was."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest

from services.marketdata.shell.recorder import SESSION_FILE, Recorder
from services.marketdata.shell.recording import Recording
from services.marketdata.shell.replayer import RecordedSession
from shared.bus.keys import Keys, Role
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import LeaseToken, UnitCommit
from shared.clock import SYSTEM_CLOCK
from shared.errors import BadInput
from shared.messages.codec import encode_body
from shared.messages.market import ContractInfo, pack_ticks, quote_tick
from shared.messages.orders import Intent, OrderLeg, OrderType, Side
from shared.messages.requests import BarsAnswer
from tests.support import eventually

IBM = ContractInfo(con_id=8314, name="IBM", symbol="IBM", sec_type="STK", exchange="SMART", currency="USD")


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(MemoryServer(), Keys("rec"))


async def lead(bus: MemoryBus, role: str) -> LeaseToken:
    token = await bus.lease_acquire(role, "x", await bus.lease_view(role), at_least_epoch=1)
    assert token is not None
    await bus.raise_fence(token)
    return token


async def one_commit(bus: MemoryBus, token: LeaseToken, number: int) -> Intent:
    leg = OrderLeg(side=Side.BUY, quantity=Decimal(1), order_type=OrderType.MARKET)
    intent = Intent(
        intent_id=f"{number:020d}", legs=(leg,), con_id=IBM.con_id, strategy="s", unit="s/IBM", account="DU1",
        valid_until_ns=1,
    )  # fmt: skip
    cursors = {bus.keys.orders: f"{number}-0"}
    state = json.dumps({"began": {bus.keys.orders: "0-0"}, "began_ns": 77}).encode()
    await bus.commit_unit(token, UnitCommit("s/IBM", number, state, cursors, b"{}", intents=(intent,)), source="t")
    return intent


async def until_recorded(bus: MemoryBus, folder: Path, stream: str) -> None:
    last = await bus.last_id(stream)
    name = stream.split(":", 2)[2]
    await eventually(lambda: Recorder(folder).progress().cursors.get(name) == last)


async def test_a_session_is_read_back_as_it_was(bus: MemoryBus, tmp_path: Path) -> None:
    keys = bus.keys
    await bus.hash_set(keys.identity, {"id": "abc", "account": "DU1"})
    await bus.hash_set(keys.contract_names, {"IBM": str(IBM.con_id)})
    await bus.hash_set(keys.contracts, {str(IBM.con_id): encode_body(IBM)})
    await bus.hash_set(keys.strategies, {"s/IBM": "{}"})
    worker, gateway = await lead(bus, Role.strategy("w")), await lead(bus, Role.GATEWAY)
    await bus.take_unit(worker, "s/IBM", seen=await bus.load_unit("s/IBM"))
    recording = Recording(bus, Recorder(tmp_path), SYSTEM_CLOCK)
    task = asyncio.create_task(recording.run(gateway, lambda: True))
    batch = pack_ticks([quote_tick(IBM.con_id, 1, 1, 1, 1.0, 1.0, 2.0, 1.0)])
    intents = []
    for number in (1, 2):
        await bus.publish_ticks(gateway, [(keys.partition(IBM.con_id), batch)], source="g")
        intents.append(await one_commit(bus, worker, number))
    recording.note_history(BarsAnswer(query_id="q", con_id=IBM.con_id, bar_size="1 day", total=0))
    await until_recorded(bus, tmp_path, keys.intents)
    task.cancel()
    await asyncio.wait([task])
    # a successor goes on where it stopped
    heir = asyncio.create_task(Recording(bus, Recorder(tmp_path), SYSTEM_CLOCK).run(gateway, lambda: True))
    await bus.publish_ticks(gateway, [(keys.partition(IBM.con_id), batch)], source="g")
    await until_recorded(bus, tmp_path, keys.ticks(keys.partition(IBM.con_id)))
    heir.cancel()
    await asyncio.wait([heir])

    session = RecordedSession(tmp_path)
    assert session.keys == keys and session.identity["id"] == "abc"
    assert session.contract("IBM") == IBM == session.contract("#8314") and session.contract("AAPL") is None
    began = session.units["s/IBM"]
    assert (began.cursors, began.at_ns, began.until) == ({keys.orders: "0-0"}, 77, {keys.orders: "2-0"})
    assert session.intents() == {"s/IBM": intents}
    assert [one.bar_size for one in session.history()] == ["1 day"]
    entries = list(session.entries())
    stored = await bus.read_range(keys.ticks(keys.partition(IBM.con_id)))
    assert entries == stored and len(stored) == 3
    half = int(stored[1].entry_id.split("-")[0]) * 1_000_000
    assert [one for one in session.entries(to_ns=half) if one.entry_id >= stored[1].entry_id] == []


def test_a_folder_without_a_recording_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no recording"):
        RecordedSession(tmp_path)
    (tmp_path / SESSION_FILE).write_bytes(b"\xc1")
    with pytest.raises(BadInput, match="unreadable"):
        RecordedSession(tmp_path)
