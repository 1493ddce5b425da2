from __future__ import annotations

import io
import json
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from rich.console import Console

from copilot_quant.desk import Desk
from copilot_quant.local import demo
from copilot_quant.local.books import Verdict
from copilot_quant.local.demo import DemoOptions, print_verdict
from copilot_quant.local.supervision import ProcessInfo
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.errors import CqError, ExitCode, TimedOut
from shared.messages import decode_fields
from shared.messages.control import Control, ControlAction
from tests.support import eventually

CLEAN = Verdict(orders=3, executions=3, order_refs=3, cash_broker=Decimal(5), cash_bus=Decimal(5))


class FakeSupervisor:
    """Processes that are only names."""

    def __init__(self) -> None:
        self.killed: list[str] = []
        self.stopped: list[str] = []
        self.is_running = True

    def kill(self, name: str) -> int:
        self.killed.append(name)
        return 17

    def stop_process(self, name: str) -> None:
        self.stopped.append(name)

    def processes(self) -> list[ProcessInfo]:
        return [ProcessInfo(name, "RUNNING", 1, 1) for name in ("strategy-1", "risk")]

    def log_tail(self, name: str, lines: int = 20) -> list[str]:
        return ['{"level": "error", "event": "it.broke"}'] if name == "risk" else []


class FakeSystem:
    def __init__(self, http: str) -> None:
        self.supervisor = FakeSupervisor()
        self.simulator_http = http
        self.status_page = f"{http}/"


@pytest.fixture
async def session() -> AsyncIterator[Any]:
    """A demo's session: a bus in memory, and a simulator that only takes faults."""
    asked: list[str] = []

    async def fault(request: web.Request) -> web.Response:
        asked.append(request.match_info["name"])
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/faults/{name}", fault)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    desk = Desk(MemoryBus(MemoryServer(), Keys("sim")), "DUSIM0001")
    async with aiohttp.ClientSession() as http:
        system = FakeSystem(f"http://127.0.0.1:{runner.addresses[0][1]}")
        made = demo._Session(cast(Any, system), desk, http)
        made.asked = asked  # type: ignore[attr-defined]
        yield made
    await runner.cleanup()


async def beat(session: Any, instance: str, role: str) -> None:
    row = {"service": "gateway", "instance": instance, "role": role, "ready": True, "failed": {}, "link": "READY"}
    await session.desk.bus.set_text(session.desk.keys.heartbeat("gateway", instance), json.dumps(row))


async def controls(session: Any) -> list[ControlAction]:
    entries = await session.desk.bus.read_range(session.desk.keys.control)
    return [cast(Control, decode_fields(entry.fields).message).action for entry in entries]


def printed(verdict: Verdict) -> str:
    out = io.StringIO()
    print_verdict(verdict, Console(file=out, width=120))
    return out.getvalue()


def test_a_clean_run_adds_up() -> None:
    assert "the books add up" in printed(CLEAN) and "orders 3 (of 3 orderRefs), sent twice 0" in printed(CLEAN)


def test_a_run_without_a_fill_or_with_a_difference_does_not() -> None:
    assert "no order was filled" in printed(Verdict())
    text = printed(Verdict(orders=3, executions=3, differences=("AAPL: broker 5, bus 4",)))
    assert "AAPL: broker 5, bus 4" in text and "add up" not in text


def texts(session: Any) -> list[str]:
    """Return the notes without the time of day that each begins with."""
    assert all(re.match(r"\d\d:\d\d:\d\d  ", note) for note in session.notes)
    return [note[10:] for note in session.notes]


async def test_a_halt_that_no_gateway_can_confirm_says_that_it_counts(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(*_: Any, **__: Any) -> None:
        raise TimedOut("no gateway confirmed")

    monkeypatch.setattr(session.desk, "wait_halt_stage", wait)
    await demo._halt(session)
    assert "no order is sent from now on" in texts(session)[-1]


async def test_f_kills_the_leader_and_nobody_else(session: Any) -> None:
    await demo._kill_leader(session)
    assert texts(session) == ["no gateway leads right now"] and not session.system.supervisor.killed
    await beat(session, "gateway-1", "standby")
    await beat(session, "gateway-2", "leader")
    await demo._kill_leader(session)
    assert session.system.supervisor.killed == ["gateway-2"] and "gateway-2 (pid 17)" in session.notes[-1]


async def test_n_asks_the_simulator_for_its_nightly_reset(session: Any) -> None:
    await demo._nightly_reset(session)
    assert session.asked == ["nightly_reset"] and "has begun" in session.notes[-1]


async def test_h_and_r_halt_and_resume_with_what_the_gateway_confirmed(session: Any) -> None:
    await session.desk.bus.hash_set(session.desk.keys.halt, {"stage": "clean"})
    await demo._halt(session)
    assert texts(session)[-1].startswith("halted: nothing that adds exposure goes out")
    await session.desk.bus.hash_set(session.desk.keys.halt, {"stage": "none"})
    await demo._resume(session)
    assert texts(session)[-1] == "trading again"
    assert await controls(session) == [ControlAction.HALT, ControlAction.RESUME]


async def test_q_quits_and_a_key_that_fails_is_only_noted(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def keys() -> AsyncIterator[str]:
        for key in ("h", "?", "q"):
            yield key

    async def fail(session: Any) -> None:
        raise TimedOut("nobody leads")

    monkeypatch.setattr(demo, "read_keys", keys)
    monkeypatch.setattr(demo, "_halt", fail)
    await demo._watch_keys(session)
    assert session.stop.is_set() and texts(session) == ["that did not work: nobody leads"]


async def test_only_the_newest_notes_are_kept(session: Any) -> None:
    for number in range(9):
        session.note(str(number))
    assert texts(session) == ["4", "5", "6", "7", "8"]


@pytest.mark.parametrize("verdict, status", [(CLEAN, ExitCode.OK), (Verdict(), ExitCode.FAILED)])
async def test_the_end_stops_the_strategies_first_and_then_judges(
    session: Any, monkeypatch: pytest.MonkeyPatch, verdict: Verdict, status: ExitCode
) -> None:
    async def judge(desk: Desk, http: str) -> Verdict:
        return verdict

    monkeypatch.setattr(demo, "judge", judge)
    monkeypatch.setattr(demo, "SETTLE_LIMIT_S", 0.1)
    out = io.StringIO()
    assert await demo._settle_and_judge(session, Console(file=out, width=200)) is status
    assert session.system.supervisor.stopped == ["strategy-1"]
    assert ("it.broke" in out.getvalue()) is (status is ExitCode.FAILED)


async def test_a_demo_without_its_supervisor_ends_with_the_reason(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def judge(desk: Desk, http: str) -> Verdict:
        return CLEAN

    monkeypatch.setattr(demo, "judge", judge)
    session.system.supervisor.is_running = False
    with pytest.raises(CqError, match="process supervisor ended"):
        await demo._run_until_done(DemoOptions("", seconds=30), session, Console(file=io.StringIO()))


async def test_a_fill_is_lost_only_when_it_stays_missing(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [frozenset({"a", "b"}), frozenset({"b", "c"})]

    async def judge(desk: Desk, http: str) -> Verdict:
        return Verdict(missing=missing.pop(0) if missing else frozenset())

    monkeypatch.setattr(demo, "judge", judge)
    monkeypatch.setattr(demo, "JUDGE_PERIOD_S", 0.2)
    import asyncio

    task = asyncio.create_task(demo._judge_now_and_then(session))
    try:
        await eventually(lambda: session.verdict is not None and session.verdict.fills_lost == 1)
    finally:
        task.cancel()
