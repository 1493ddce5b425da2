from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path

import pytest

from copilot_quant.desk import Desk
from copilot_quant.local.run_file import RunningSystem
from copilot_quant.local.system import note_first_start
from copilot_quant.preflight_facts import (
    api_is_open,
    broker_address,
    check_preflight,
    first_start_ns,
    is_tiny,
    leaks,
    system_facts,
)
from services.risk.core.limits import RULES_VERSION, Stage
from services.risk.core.limits_file import parse_limits
from services.risk.core.profiles import staged
from services.risk.settings import RiskSettings
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import SYSTEM_CLOCK
from shared.errors import ConfigError
from shared.messages.base import Message
from shared.messages.codec import encode_body
from shared.messages.control import BrokerStatus, Control, ControlAction, LinkState, PacingViolation
from shared.messages.market import DataStatus
from shared.messages.orders import Side
from shared.preflight import DAY_NS, ITEMS, Entry, Result, result_file, write_result
from shared.settings import BrokerSettings, load_settings
from tests.unit.copilot_quant.cli.conftest import a_position, an_order


@pytest.fixture
def desk() -> Desk:
    return Desk(MemoryBus(MemoryServer(), Keys("sim")), "DUSIM0001")


def test_env_for_all_eyes_and_passwords_in_code_are_leaks(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("IB_PAPER_ACCOUNT=DU1\n")
    (tmp_path / ".env").chmod(0o644)
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "mine.py").write_text('IB_PASSWORD = "hunter22"\n')
    (tmp_path / "strategies" / "good.py").write_text('password = os.getenv("IBKR_PASSWORD")\n')
    found = leaks(tmp_path)
    assert len(found) == 2 and ".env" in found[0] and "mine.py" in found[1]
    (tmp_path / ".env").chmod(0o600)
    (tmp_path / "strategies" / "mine.py").unlink()
    assert leaks(tmp_path) == []


def test_a_versioned_env_is_a_leak(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("x=1\n")
    (tmp_path / ".env").chmod(0o600)
    for words in (["init", "-q"], ["add", ".env"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    assert "version control" in leaks(tmp_path)[0]


def test_the_first_start_is_written_down_once(tmp_path: Path) -> None:
    assert first_start_ns(tmp_path) == 0
    note_first_start(tmp_path)
    first = first_start_ns(tmp_path)
    assert abs(SYSTEM_CLOCK.wall_ns() - first) < 60 * 10**9
    note_first_start(tmp_path)
    assert first_start_ns(tmp_path) == first


class Api:
    """Something that greets like TWS, on loopback or everywhere."""

    def __init__(self, address: str) -> None:
        self._server = socket.create_server((address, 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                if connection.recv(64):
                    connection.sendall(b"\0\0\0\x01x")

    def close(self) -> None:
        self._server.close()


def test_an_api_on_loopback_only_is_closed_and_one_everywhere_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copilot_quant.preflight_facts._outer_address", lambda: "127.0.0.2")
    closed = Api("127.0.0.1")
    assert api_is_open("127.0.0.1", closed.port) is False
    everywhere = Api("")
    assert api_is_open("127.0.0.1", everywhere.port) is True
    closed.close()
    everywhere.close()


def test_an_api_that_is_not_there_or_elsewhere_cannot_be_judged() -> None:
    gone = Api("127.0.0.1")
    gone.close()
    assert api_is_open("192.0.2.1", 7497) is None


async def test_positions_without_a_stop_of_the_right_side_are_named(desk: Desk) -> None:
    held = {"1": a_position(100, con_id=1, contract="A"), "2": a_position(-5, con_id=2, contract="B")}
    await desk.bus.hash_set(desk.keys.positions, {key: encode_body(one) for key, one in held.items()})
    orders = {"x": an_order(con_id=1, side=Side.SELL), "y": an_order(con_id=2, side=Side.SELL, order_ref="y")}
    await desk.bus.hash_set(desk.keys.open_orders, {key: encode_body(one) for key, one in orders.items()})
    found = await system_facts(desk, load_settings(RiskSettings, CQ_MODE="sim"))
    assert (found.positions, found.unprotected) == (2, ("B",))


async def test_halts_by_people_count_and_those_of_machines_do_not(desk: Desk) -> None:
    for who, action in (("gateway", ControlAction.HALT), ("copilot_quant", ControlAction.RESUME)):
        await desk.control(action, who=who, reason="first start")
    found = await system_facts(desk, load_settings(RiskSettings, CQ_MODE="sim"))
    assert (found.halted_ns, found.resumed_ns) == (0, 0)
    halt: Control = await desk.control(ControlAction.HALT, who="anna", reason="drill")
    resume = await desk.control(ControlAction.RESUME, who="anna", reason="drill")
    found = await system_facts(desk, load_settings(RiskSettings, CQ_MODE="sim"))
    assert (found.halted_ns, found.resumed_ns) == (halt.ts_init_ns, resume.ts_init_ns)


def test_beside_a_system_the_broker_itself_is_looked_at_not_the_guard() -> None:
    settings = load_settings(BrokerSettings, CQ_MODE="paper", IB_PAPER_ACCOUNT="DU1", IB_PAPER_PORT="4100")
    running = RunningSystem(1, "/run", "paper", "", "", "", {}, broker="192.0.2.7:7497")
    assert broker_address(settings, running) == ("192.0.2.7", 7497)
    assert broker_address(settings, None) == ("127.0.0.1", 4100)


async def test_pacing_complaints_of_the_broker_are_seen_for_a_day(desk: Desk) -> None:
    now_ns = SYSTEM_CLOCK.wall_ns()

    async def say(message: Message) -> None:
        await desk.bus.append(desk.keys.broker_status, message, source="test")

    async def seen() -> tuple[int, ...]:
        return (await system_facts(desk, load_settings(RiskSettings, CQ_MODE="sim"))).pacing_errors

    await say(PacingViolation(ts_init_ns=now_ns - DAY_NS, instance="a", code=162, text="of yesterday"))
    await say(DataStatus(ts_init_ns=now_ns, con_id=1, code=354))
    await say(BrokerStatus(ts_init_ns=now_ns, instance="a", state=LinkState.DOWN, code=1100))
    assert await seen() == ()
    await say(PacingViolation(ts_init_ns=now_ns, instance="a", code=162, text="pacing violation"))
    await say(DataStatus(ts_init_ns=now_ns, con_id=1, code=420))
    await say(BrokerStatus(ts_init_ns=now_ns, instance="a", state=LinkState.DOWN, code=100))
    assert await seen() == (100, 162, 420)


async def test_limits_in_force_are_put_in_words(desk: Desk) -> None:
    await desk.bus.hash_set(desk.keys.limits, {"text": f'rules = {RULES_VERSION}\nprofile = "tiny-live"\n'})
    found = await system_facts(desk, load_settings(RiskSettings, CQ_MODE="sim"))
    assert "tiny-live" in found.limits and "2000" in found.limits and found.is_tiny


def test_tiny_is_what_the_stage_limited_would_not_change() -> None:
    def limits(text: str):
        return staged(parse_limits(text, source="test", environment={}), Stage.ARMED)

    tiny = f'rules = {RULES_VERSION}\nprofile = "tiny-live"\n'
    assert is_tiny(limits(tiny))
    assert not is_tiny(limits('profile = "tiny-live"\n')), "newer rules only warn under a file that does not know them"
    assert not is_tiny(limits('profile = "small-paper"\n'))
    wide = f"{tiny}[contracts.AAPL]\nposition_quantity_max = 500\n"
    assert not is_tiny(limits(wide))


def live(monkeypatch: pytest.MonkeyPatch, stage: str) -> BrokerSettings:
    for name, value in {"CQ_MODE": "live", "IB_LIVE_ACCOUNT": "U1234567", "LIVE_STAGE": stage}.items():
        monkeypatch.setenv(name, value)
    return load_settings(BrokerSettings)


def test_live_opens_nothing_before_the_checklist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = live(monkeypatch, "limited")
    with pytest.raises(ConfigError, match="cq preflight"):
        check_preflight(settings, tmp_path)
    now = SYSTEM_CLOCK.wall_ns()
    good = Result("live", "U1234567", now, tuple(Entry(one.key, "ok", "checked", now, "") for one in ITEMS))
    write_result(result_file(tmp_path, "live"), good)
    check_preflight(settings, tmp_path)


def test_observing_needs_no_checklist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_preflight(live(monkeypatch, "observe"), tmp_path)
