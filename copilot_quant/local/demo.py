"""The demo: the whole system at the simulator, shown live, judged by the broker's own books.

Keys in the terminal view: `f` kills the leading gateway, `n` plays the broker's nightly reset, `h` halts, `r` resumes,
`q` quits. After each, the screen says what the broker's books show.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.live import Live
from rich.text import Text

from copilot_quant.desk import Desk, open_desk
from copilot_quant.local.books import Verdict, judge
from copilot_quant.local.keyboard import read_keys
from copilot_quant.local.refusals import check_refusals
from copilot_quant.local.system import LocalOptions, LocalSystem
from copilot_quant.local.view import Frame, render
from shared.clock import NS_PER_S, SYSTEM_CLOCK, iso_utc
from shared.errors import ConfigError, CqError, ExitCode, TimedOut, TransientError
from shared.messages.control import ControlAction
from shared.settings import BrokerSettings, Mode, load_settings

USUAL_START_S = 60.0
FIRST_SIGN_LIMIT_S = 180.0
SETTLE_LIMIT_S = 25.0
FRAME_PERIOD_S = 0.25
JUDGE_PERIOD_S = 2.0
WHO = "demo"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a person asked of `cq demo`; `seconds` 0 runs until they quit, `replay` files play a real day at `speed`."""

    strategies_file: str
    seconds: float = 0.0
    replay: tuple[Path, ...] = ()
    speed: float = 1.0
    seed: int = 7
    keep_files: bool = False
    is_interactive: bool = False


@dataclass
class _Session:
    """What the loops of one demo share."""

    system: LocalSystem
    desk: Desk
    http: aiohttp.ClientSession
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    verdict: Verdict | None = None
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes = [*self.notes[-4:], f"{iso_utc(SYSTEM_CLOCK.wall_ns())[11:19]}  {text}"]


async def run_demo(options: DemoOptions, console: Console) -> int:
    """Run the demo and return the exit status."""
    head = Text.assemble(("SIMULATED", "bold yellow"), "  Copilot Quant demo: no account, no real money")
    console.rule(head)
    simulator = {"SIM_SEED": str(options.seed), "SIM_SPEED": str(options.speed)}
    if options.replay:
        simulator["SIM_REPLAY"] = ",".join(str(path.resolve()) for path in options.replay)
    local = LocalOptions(
        mode=Mode.SIM, simulator=simulator, strategies_file=options.strategies_file, keep_files=options.keep_files
    )
    system = LocalSystem(local, Path.cwd())
    status = ExitCode.FAILED
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    if task is not None:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        started_ns = SYSTEM_CLOCK.monotonic_ns()
        await system.start(lambda line: console.print(line, highlight=False))
        os.environ.update({**system.operator_env(), "CQ_ENV_FILE": ""})
        settings = load_settings(BrokerSettings)
        async with open_desk(settings, client_name="cq-demo") as desk, aiohttp.ClientSession() as http:
            session = _Session(system, desk, http)
            await _wait_for_first_sign(session, console, started_ns)
            status = await _run_until_done(options, session, console)
    except asyncio.CancelledError:
        status = ExitCode.OK if options.seconds <= 0 else ExitCode.FAILED
    except ConfigError as e:
        status = ExitCode.CONFIG
        for mistake in e.mistakes:
            console.print(Text.assemble(("the demo stopped: ", "red"), mistake), soft_wrap=True)
    except CqError as e:
        console.print(Text.assemble(("the demo stopped: ", "red"), str(e)), soft_wrap=True)
        _print_logs(system, console)
    finally:
        loop.add_signal_handler(signal.SIGTERM, lambda: None)  # it stops already
        console.print("stopping every process …")
        await asyncio.to_thread(system.stop)
        kept = f"logs and data are in {system.run_dir}" if options.keep_files else "nothing is left behind"
        console.print(f"stopped; {kept}", highlight=False)
    return int(status)


async def _wait_for_first_sign(session: _Session, console: Console, started_ns: int) -> None:
    """Wait until a gateway leads and its link is READY, saying what is missing meanwhile."""
    now_ns = SYSTEM_CLOCK.monotonic_ns()
    usual_ns, deadline_ns = (now_ns + int(limit * NS_PER_S) for limit in (USUAL_START_S, FIRST_SIGN_LIMIT_S))
    with console.status("waiting for a leading gateway") as waiting:
        while True:
            rows = await session.desk.heartbeats()
            leaders = [row for row in rows if row["service"] == "gateway" and row.get("role") == "leader"]
            if leaders and leaders[0].get("link") == "READY":
                break
            await asyncio.to_thread(check_refusals, session.system.supervisor)
            ready = sum(bool(row["ready"]) for row in rows)
            slow = (
                ", it takes longer than usual: is this machine busy?" if SYSTEM_CLOCK.monotonic_ns() > usual_ns else ""
            )
            waiting.update(f"waiting for a leading gateway ({ready} processes are ready{slow})")
            if SYSTEM_CLOCK.monotonic_ns() > deadline_ns:
                raise CqError(f"no gateway became READY within {FIRST_SIGN_LIMIT_S:g} s")
            await SYSTEM_CLOCK.sleep(0.2)
    took_s = (SYSTEM_CLOCK.monotonic_ns() - started_ns) / NS_PER_S
    console.print(f"{leaders[0]['instance']} leads, link READY, after {took_s:.1f} s", highlight=False)
    console.print(
        f"status page: {session.system.status_page}   in another terminal: .venv/bin/cq status", highlight=False
    )


async def _run_until_done(options: DemoOptions, session: _Session, console: Console) -> ExitCode:
    try:
        await _run_helpers(options, session, console)
    except ExceptionGroup as e:
        ours = [error for error in e.exceptions if isinstance(error, CqError)]
        if len(ours) < len(e.exceptions):
            raise
        raise ours[0] from e
    return await _settle_and_judge(session, console)


async def _run_helpers(options: DemoOptions, session: _Session, console: Console) -> None:
    """Judge, show and listen to keys until the time is over or the person quits."""
    async with asyncio.TaskGroup() as group:
        helpers = [group.create_task(_judge_now_and_then(session)), group.create_task(_watch_supervisor(session))]
        if options.is_interactive:
            helpers.append(group.create_task(_watch_keys(session)))
            helpers.append(group.create_task(_show(session, console)))
        else:
            helpers.append(group.create_task(_report(session, console)))
        try:
            if options.seconds > 0:
                async with asyncio.timeout(options.seconds):
                    await session.stop.wait()
            else:
                await session.stop.wait()
        except TimeoutError:
            pass  # the time asked for is over
        finally:
            for helper in helpers:
                helper.cancel()


async def _watch_supervisor(session: _Session) -> None:
    while session.system.supervisor.is_running:
        await SYSTEM_CLOCK.sleep(JUDGE_PERIOD_S)
    raise CqError("the process supervisor ended, and every process with it")


async def _judge_now_and_then(session: _Session) -> None:
    missing_before: frozenset[str] = frozenset()
    while True:
        try:
            verdict = await judge(session.desk, session.system.simulator_http)
            lost = verdict.missing & missing_before  # what was missing only once was still on its way
            missing_before = verdict.missing
            session.verdict = replace(verdict, fills_lost=len(lost))
        except TransientError:
            pass  # a part is being killed or restarted: the view shows which
        await SYSTEM_CLOCK.sleep(JUDGE_PERIOD_S)


async def _fetch_state(session: _Session) -> dict[str, object]:
    timeout = aiohttp.ClientTimeout(total=1.0)
    async with session.http.get(f"{session.system.status_page}api/state", timeout=timeout) as reply:
        content: dict[str, object] = await reply.json()
        return content


async def _frame(session: _Session) -> Frame:
    state: dict[str, object] = {}
    try:
        state = await _fetch_state(session)
    except (aiohttp.ClientError, TimeoutError):
        pass  # monitoring is starting or was restarted; the frame says so
    processes = await asyncio.to_thread(session.system.supervisor.processes)
    return Frame(state, processes, session.verdict, session.system.status_page, tuple(session.notes))


async def _show(session: _Session, console: Console) -> None:
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(render(await _frame(session), console.width), refresh=True)
            await SYSTEM_CLOCK.sleep(FRAME_PERIOD_S)


async def _report(session: _Session, console: Console) -> None:
    while True:
        await SYSTEM_CLOCK.sleep(5.0)
        verdict = session.verdict
        if verdict is not None:
            console.print(
                f"broker's books: orders {verdict.orders}, sent twice {verdict.sent_twice}, "
                f"executions {verdict.executions}, fills lost {verdict.fills_lost}",
                highlight=False,
            )


async def _watch_keys(session: _Session) -> None:
    acts: dict[str, Callable[[_Session], Awaitable[None]]] = {
        "f": _kill_leader,
        "n": _nightly_reset,
        "h": _halt,
        "r": _resume,
    }
    async for key in read_keys():
        if key in ("q", "\x03"):
            session.stop.set()
            return
        act = acts.get(key)
        if act is not None:
            try:
                await act(session)
            except CqError as e:
                session.note(f"that did not work: {e}")


async def _kill_leader(session: _Session) -> None:
    rows = await session.desk.heartbeats()
    leader = next(
        (row["instance"] for row in rows if row["service"] == "gateway" and row.get("role") == "leader"), None
    )
    if leader is None:
        session.note("no gateway leads right now")
        return
    pid = await asyncio.to_thread(session.system.supervisor.kill, leader)
    session.note(f"killed {leader} (pid {pid}) with SIGKILL: the standby takes over")


async def _nightly_reset(session: _Session) -> None:
    async with session.http.post(f"{session.system.simulator_http}/faults/nightly_reset", json={}) as reply:
        answer = "has begun" if reply.status < 300 else f"was refused ({reply.status}): {await reply.text()}"
    session.note(f"the broker's nightly reset {answer}")


async def _halt(session: _Session) -> None:
    await session.desk.control(ControlAction.HALT, who=WHO, reason="key h")
    try:
        await session.desk.wait_halt_stage(frozenset({"holding", "clean"}), limit_s=5.0)
    except TimedOut:
        session.note("halt asked for: no order is sent from now on; the guard holds once a gateway has its broker back")
        return
    session.note("halted: nothing that adds exposure goes out; what worked and adds some is being cancelled")


async def _resume(session: _Session) -> None:
    await session.desk.control(ControlAction.RESUME, who=WHO, reason="key r")
    await session.desk.wait_halt_stage(frozenset({"none"}), limit_s=5.0)
    session.note("trading again")


async def _settle_and_judge(session: _Session, console: Console) -> ExitCode:
    """Stop the strategies, wait until the books agree, print the summary, return the exit status."""
    console.print("stopping the strategies and comparing the books with the broker's …")
    workers = [info.name for info in session.system.supervisor.processes() if info.name.startswith("strategy-")]
    for name in workers:
        await asyncio.to_thread(session.system.supervisor.stop_process, name)
    for order in await session.desk.open_orders():
        if order.intent_id:
            await session.desk.cancel(order.intent_id, reason="end of the demo")
    deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(SETTLE_LIMIT_S * NS_PER_S)
    while True:
        verdict = await judge(session.desk, session.system.simulator_http)
        if (verdict.is_clean and verdict.executions) or SYSTEM_CLOCK.monotonic_ns() > deadline_ns:
            break
        await SYSTEM_CLOCK.sleep(0.5)
    print_verdict(verdict, console)
    if verdict.is_clean and verdict.executions:
        return ExitCode.OK
    _print_logs(session.system, console)
    await _print_dead_letters(session.desk, console)
    return ExitCode.FAILED


def print_verdict(verdict: Verdict, console: Console) -> None:
    """Print the summary of a run."""
    console.rule(Text("what the broker's own books show", "bold"))
    console.print(
        f"orders {verdict.orders} (of {verdict.order_refs} orderRefs), sent twice {verdict.sent_twice}\n"
        f"executions {verdict.executions}, fills lost {verdict.fills_lost}, fills twice {verdict.fills_twice}\n"
        f"dead-letter entries {verdict.dead_letters}\n"
        f"cash: broker {verdict.cash_broker}, bus {verdict.cash_bus}",
        highlight=False,
    )
    for difference in verdict.differences:
        console.print(Text.assemble(("differs: ", "red"), difference))
    if not verdict.executions:
        console.print("no order was filled", style="red")
    elif verdict.is_clean:
        console.print("the books add up", style="bold green")


def _print_logs(system: LocalSystem, console: Console) -> None:
    for info in system.supervisor.processes():
        lines = [line for line in system.supervisor.log_tail(info.name, 400) if '"level": "error"' in line][-3:]
        if info.state != "RUNNING":
            lines = lines or system.supervisor.log_tail(info.name, 3)
        lines = list(dict.fromkeys(lines))  # what is said at each start is said once here
        for line in lines:
            console.print(Text.assemble((info.name, "dim"), " ", line), soft_wrap=True)


async def _print_dead_letters(desk: Desk, console: Console) -> None:
    for entry in await desk.bus.read_last(desk.keys.dead_letter, 5):
        shown = {name.decode(): value[:200] for name, value in entry.fields.items() if name != b"body"}
        console.print(f"dead-letter {entry.entry_id}: {shown}", highlight=False, markup=False, soft_wrap=True)
