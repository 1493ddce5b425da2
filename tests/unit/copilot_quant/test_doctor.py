from __future__ import annotations

import json

import pytest

from copilot_quant.desk import Desk
from copilot_quant.doctor import examine_bus, examine_data, examine_flow
from copilot_quant.findings import Finding
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import SYSTEM_CLOCK
from shared.errors import BusUnavailable
from shared.messages.codec import encode_body
from shared.messages.control import BrokerStatus, LinkState
from shared.messages.market import ContractInfo, DataStatus
from shared.messages.orders import Decision

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


@pytest.mark.parametrize("role, state", [("leader", "bad"), ("standby", "warn")])
async def test_a_gateway_without_data_says_whose_client_id_it_wanted(desk: Desk, role: str, state: str) -> None:
    refused = {"data_link": "DOWN", "data_link_reason": "client id 1 is refused", "data_link_code": 326, "client_id": 1}
    await beat(desk, "gateway", role=role, **refused)
    found = by_name(await examine_bus(desk))["data session of gateway"]
    assert found.state == state and "in use" in found.text and "IB_" in found.cure


async def test_refusals_and_the_links_last_word_are_read_from_the_bus(desk: Desk) -> None:
    now = SYSTEM_CLOCK.wall_ns()
    down = BrokerStatus(
        ts_init_ns=now, instance="gateway-1", state=LinkState.DEGRADED, reason="lost", code=1100, is_leader=True
    )
    await desk.bus.append(desk.keys.broker_status, down, source="test")
    refused = Decision(ts_init_ns=now, intent_id="x", approved=False, code="RISK_HALTED", text="halted")
    await desk.bus.append(desk.keys.decisions, refused, source="test")
    found = by_name(await examine_flow(desk))
    assert "1100" in found["link of gateway-1"].text and "cq resume" in found["rejected by risk"].cure
