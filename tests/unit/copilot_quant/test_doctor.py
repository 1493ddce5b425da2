from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from copilot_quant.desk import Desk
from copilot_quant.doctor import examine_broker, examine_bus, examine_data
from copilot_quant.findings import Finding
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import SYSTEM_CLOCK
from shared.errors import BusUnavailable
from shared.messages.codec import encode_body
from shared.messages.market import ContractInfo, DataStatus
from shared.settings import BrokerSettings, Mode
from shared.tws.connection import ServerConnection
from shared.tws.requests_account import StartApi
from shared.tws.responses_account import ErrorMessage, ManagedAccounts, NextValidId

SETTINGS = BrokerSettings(mode=Mode.SIM)
APPLE = ContractInfo(con_id=265598, name="AAPL", symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer()


@pytest.fixture
def desk(server: MemoryServer) -> Desk:
    return Desk(MemoryBus(server, Keys("sim")), "DUSIM0001")


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {one.name: one for one in findings}


async def beat(desk: Desk, service: str, **more: object) -> None:
    row = {"service": service, "instance": service, "ready": True, "failed": {}, **more}
    await desk.bus.set_text(desk.keys.heartbeat(service, service), json.dumps(row))


async def test_an_empty_deployment_lacks_every_service_and_is_halted(desk: Desk) -> None:
    found = by_name(await examine_bus(desk))
    assert found["Redis"].state == "ok"
    for service in ("gateway", "risk", "marketdata", "strategy", "monitoring"):
        assert found[service].state == "bad" and "start it" in found[service].cure
    assert found["halt"].state == "warn" and "cq resume" in found["halt"].cure


async def test_a_running_deployment_shows_who_is_not_ready_and_that_nobody_leads(desk: Desk) -> None:
    for service in ("risk", "marketdata", "strategy", "monitoring"):
        await beat(desk, service)
    await beat(desk, "gateway", role="standby", ready=False, failed={"broker": "the data session is DOWN"})
    await desk.bus.hash_set(desk.keys.halt, {"stage": "none"})
    found = by_name(await examine_bus(desk))
    assert found["gateway"].state == "warn" and found["gateway"].text == "the data session is DOWN"
    assert found["leadership"].state == "bad" and "halt" not in found and found["risk"].text == "ready"
    await beat(desk, "gateway", role="leader")
    assert "leadership" not in by_name(await examine_bus(desk))


async def test_dead_letters_are_pointed_at(desk: Desk) -> None:
    await desk.bus.append(desk.keys.dead_letter, DataStatus(con_id=1), source="t")
    assert "cq tail dead-letter" in by_name(await examine_bus(desk))["dead-letter"].cure


async def test_a_bus_that_is_away_is_an_error_for_the_command_to_show(desk: Desk, server: MemoryServer) -> None:
    server.is_away = True
    with pytest.raises(BusUnavailable):
        await examine_bus(desk)


async def test_each_contract_that_a_strategy_wants_is_examined_with_the_brokers_last_word(desk: Desk) -> None:
    bus, keys = desk.bus, desk.keys
    await bus.hash_set(keys.strategies, {"a": json.dumps({"contracts": [265598, 8]}), "b": json.dumps({"unit": "b"})})
    await bus.hash_set(keys.contracts, {"265598": encode_body(APPLE)})
    await bus.append(keys.broker_status, DataStatus(con_id=265598, code=354, text="not subscribed"), source="gateway:1")
    await bus.hash_set(keys.last(8), {"ts_ns": str(SYSTEM_CLOCK.wall_ns()), "quality": "LIVE", "symbol": "IBM"})
    found = by_name(await examine_data(desk))
    assert set(found) == {"data AAPL", "data IBM"}
    assert "354" in found["data AAPL"].text and "subscribe" in found["data AAPL"].cure
    assert found["data IBM"].state == "ok"


async def test_without_a_wanted_contract_there_is_nothing_to_say(desk: Desk) -> None:
    assert await examine_data(desk) == []


@asynccontextmanager
async def a_tws(answer: Callable[[ServerConnection], Awaitable[bool]] | None) -> AsyncIterator[int]:
    """Listen like a TWS; `answer` greets after START_API and says whether the session goes on. None: says nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = ServerConnection("20261123 12:00:00 EST")
        try:
            while data := await reader.read(4096):
                if answer is None:
                    continue
                for event in connection.receive_data(data):
                    if isinstance(event, StartApi) and not await answer(connection):
                        writer.write(connection.data_to_send())
                        return
                writer.write(connection.data_to_send())
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def greeting(accounts: str, *notices: tuple[int, str]) -> Callable[[ServerConnection], Awaitable[bool]]:
    async def answer(connection: ServerConnection) -> bool:
        connection.send(ManagedAccounts(accounts=accounts))
        connection.send(NextValidId(order_id=1))
        for code, text in notices:
            connection.send(ErrorMessage(id=-1, code=code, text=text))
        return True

    return answer


async def test_a_broker_with_our_account_is_fine() -> None:
    async with a_tws(greeting("DUSIM0001,")) as port:
        found = await examine_broker("127.0.0.1", port, SETTINGS)
    assert [one.state for one in found] == ["ok"] * 3
    assert "server version" in by_name(found)["API"].text


async def test_another_account_and_another_mode_are_said_with_what_to_change() -> None:
    async with a_tws(greeting("U7654321")) as port:
        found = by_name(await examine_broker("127.0.0.1", port, SETTINGS))
    assert "IB_SIM_ACCOUNT" in found["account"].cure and found["account"].state == "bad"
    assert "CQ_MODE" in found["mode"].cure and "7654321" not in found["account"].text


async def test_a_client_id_in_use_is_the_reason_and_not_a_silence() -> None:
    async def refuse(connection: ServerConnection) -> bool:
        connection.send(ErrorMessage(id=-1, code=326, text="client id is already in use"))
        return False

    async with a_tws(refuse) as port:
        found = by_name(await examine_broker("127.0.0.1", port, SETTINGS))
    assert found["connection"].state == "ok" and "326" in found["API"].text and "wait" in found["API"].cure


async def test_what_tws_itself_misses_is_ibs_side() -> None:
    farm = (2103, "Market data farm connection is broken:usfarm")
    async with a_tws(greeting("DUSIM0001", (1100, "Connectivity lost"), farm, (2104, "is OK:eufarm"))) as port:
        found = by_name(await examine_broker("127.0.0.1", port, SETTINGS))
    assert found["IB servers"].state == "bad" and "1100" in found["IB servers"].text
    assert found["data farm"].state == "warn" and "usfarm" in found["data farm"].text
    async with a_tws(greeting("DUSIM0001", (1100, "lost"), (1102, "restored"))) as port:
        assert "IB servers" not in by_name(await examine_broker("127.0.0.1", port, SETTINGS))


async def test_an_advisor_login_is_refused_with_a_sentence() -> None:
    async with a_tws(greeting("DF12345,DUSIM0001")) as port:
        found = by_name(await examine_broker("127.0.0.1", port, SETTINGS))
    assert found["login"].state == "bad" and "advisor" in found["login"].text


@pytest.mark.parametrize("says_hello", [False, True])
async def test_a_closed_connection_is_told_apart_by_how_far_it_came(says_hello: bool) -> None:
    async def close(connection: ServerConnection) -> bool:
        return False

    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    if says_hello:
        async with a_tws(close) as port:
            found = by_name(await examine_broker("127.0.0.1", port, SETTINGS))
        assert "after the greeting" in found["API"].text and "dialogs" in found["API"].cure
        return
    server = await asyncio.start_server(slam, "127.0.0.1", 0)
    async with server:
        found = by_name(await examine_broker("127.0.0.1", server.sockets[0].getsockname()[1], SETTINGS))
    assert "before a word" in found["API"].text and "trusted IPs" in found["API"].cure


async def test_a_tws_that_only_accepts_has_a_dialog_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copilot_quant.doctor.CONNECT_LIMIT_S", 0.2)
    async with a_tws(None) as port:
        found = by_name(await examine_broker("127.0.0.1", port, SETTINGS))
    assert "timed out" in found["API"].text and "dialog" in found["API"].cure


async def test_a_port_where_nothing_listens_says_what_to_tick() -> None:
    async with a_tws(None) as port:
        pass
    (found,) = await examine_broker("127.0.0.1", port, SETTINGS)
    assert found.state == "bad" and str(port) in found.cure and "Socket Clients" in found.cure
