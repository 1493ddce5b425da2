from __future__ import annotations

import json

import pytest

from copilot_quant import access
from copilot_quant.desk import Desk
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.errors import ConfigError, ModeMismatch, TimedOut
from shared.messages.control import Control, ControlAction
from shared.settings import Mode

FIRST = {"stage": "clean", "who": "guard", "reason": "first start: nobody has resumed yet"}


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(MemoryServer(), Keys("paper"))


@pytest.fixture
def desk(bus: MemoryBus) -> Desk:
    return Desk(bus, "DUB267514")


async def beat(bus: MemoryBus, service: str, **more: object) -> None:
    row = {"service": service, "instance": f"{service}-1", "ready": True, "started_ns": 5, **more}
    await bus.set_text(bus.keys.heartbeat(service, f"{service}-1"), json.dumps(row), expire_s=60)


async def test_it_is_ready_when_a_gateway_leads_and_all_are_there(
    bus: MemoryBus, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "READY_LIMIT_S", 0.2)
    with pytest.raises(TimedOut, match="a gateway that leads"):
        await access._until_ready(desk, 0)
    await beat(bus, "gateway", role="leader", link="READY")
    await beat(bus, "risk")
    with pytest.raises(TimedOut, match="marketdata"):
        await access._until_ready(desk, 0)
    await beat(bus, "marketdata")
    with pytest.raises(TimedOut, match="account"):
        await access._until_ready(desk, 0)
    await bus.hash_set(bus.keys.account_values, {"NetLiquidation:USD": "1"})
    await access._until_ready(desk, 0)


async def test_the_last_beats_of_a_system_that_ended_are_not_this_ones(
    bus: MemoryBus, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "READY_LIMIT_S", 0.2)
    await beat(bus, "gateway", role="leader", link="READY")
    with pytest.raises(TimedOut, match="a gateway that leads"):
        await access._until_ready(desk, 6)


async def acts(bus: MemoryBus) -> int:
    return await bus.stream_length(bus.keys.control)


async def test_a_new_paper_deployment_is_resumed_once_and_audited(
    bus: MemoryBus, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def confirmed(*_: object, **__: object) -> dict[str, str]:
        return {"stage": "none"}

    monkeypatch.setattr(desk, "wait_halt_stage", confirmed)
    await bus.hash_set(bus.keys.halt, FIRST)
    await access._resume_first_start(desk, Mode.PAPER)
    assert await acts(bus) == 1
    await access._resume_first_start(desk, Mode.PAPER)
    assert await acts(bus) == 1  # somebody acted in it before: whatever halts it now is no first start


@pytest.mark.parametrize(
    "mode, halt",
    [
        (Mode.LIVE, FIRST),
        (Mode.PAPER, {**FIRST, "who": "anna", "reason": "stop"}),
        (Mode.PAPER, {"stage": "none"}),
    ],
)
async def test_no_other_halt_is_lifted(bus: MemoryBus, desk: Desk, mode: Mode, halt: dict[str, str]) -> None:
    await bus.hash_set(bus.keys.halt, halt)
    await access._resume_first_start(desk, mode)
    assert await acts(bus) == 0


async def test_a_halt_of_a_deployment_that_was_used_stays(bus: MemoryBus, desk: Desk) -> None:
    await bus.hash_set(bus.keys.halt, FIRST)
    halted = Control(control_id="a", action=ControlAction.HALT, scope="account", who="anna", reason="x")
    await bus.append(bus.keys.control, halted, source="desk:1")
    await access._resume_first_start(desk, Mode.PAPER)
    assert await acts(bus) == 1


def test_wrong_settings_start_nothing(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("empty")
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError, match="IB_PAPER_ACCOUNT"):
        access.open_access(paper_trading=True)
    monkeypatch.setenv("IB_LIVE_ACCOUNT", "U1234567")
    for is_ordering in (True, False):
        with pytest.raises(ModeMismatch, match="CQ_MODE=live"):
            access.open_access(paper_trading=False, is_ordering=is_ordering)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "line, reason",
    [
        (
            '{"event": "link.changed", "reason": "account DU…999 is not on this login"}',
            "account DU…999 is not on this login",
        ),
        ('{"event": "data_link.refused", "reason": "refused"}', "refused"),
        ('{"event": "link.changed", "reason": "not connected yet"}', ""),
        ('{"event": "halt.holding", "reason": "first start"}', ""),
        ("[1]", ""),
        ("Traceback", ""),
    ],
)
def test_what_a_gateways_log_says_of_its_link(line: str, reason: str) -> None:
    assert access._reason(line) == reason
