"""`cq run`: one strategy, or a desk of them, in a whole system of its own, told line by line as it happens.

The system is the same as everywhere: Redis, guard, one gateway, risk, market data, one worker, monitoring; at the
simulator it has an exchange of its own. There a saved edit is taken at once: the worker reads the files again, and the
units that changed begin anew from their saved state.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from copilot_quant.desk import Desk, open_desk
from copilot_quant.local.chosen import strategies_file_of
from copilot_quant.local.lines import Lines
from copilot_quant.local.options import options_of
from copilot_quant.local.processes import services_of
from copilot_quant.local.refusals import check_refusals
from copilot_quant.local.scaffold import LIMITS
from copilot_quant.local.system import LocalSystem
from copilot_quant.local.unit_rows import rows_of
from shared.bus.ports import entry_order
from shared.clock import NS_PER_MS, NS_PER_S, SYSTEM_CLOCK, random_token
from shared.errors import BadInput, BusUnavailable, CqError, ExitCode, TransientError
from shared.messages import decode_fields
from shared.settings import BrokerSettings, Mode, load_settings

READY_LIMIT_S = 60.0
ROWS_EVERY_S = 0.5
WORKER_END_S = 8.0
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TrialOptions:
    """What a person asked of `cq run`; `seconds` 0 runs until Ctrl-C."""

    chosen: Path
    mode: Mode = Mode.SIM
    seconds: float = 0.0
    symbols: tuple[str, ...] = ()
    keep_files: bool = False
    is_debugged: bool = False
    """The worker runs in this terminal: `breakpoint()` in a strategy has somebody to talk to."""


async def run_trial(options: TrialOptions, directory: Path, say: Say) -> int:
    """Run until the time is over or somebody stops it, and return the exit status.

    Raises:
        CqError: a part did not come up, or ended; nothing is left behind then either.
    """
    settings = load_settings(BrokerSettings)
    limits = directory / LIMITS
    local = options_of(
        settings, directory, limits_file=str(limits) if limits.is_file() else "", gateways=1,
        workers=0 if options.is_debugged else 1,
    )  # fmt: skip
    made = directory / ".cq" / "run"
    made.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = strategies_file_of(options.chosen, options.symbols, made)
    began_ms = SYSTEM_CLOCK.wall_ns() // NS_PER_MS
    system = LocalSystem(replace(local, strategies_file=str(file), keep_files=options.keep_files), directory)
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    lines: Lines | None = None
    worker: subprocess.Popen[bytes] | None = None
    try:
        await system.start(say)
        if options.is_debugged:
            worker = _worker_here(system)
        os.environ.update({**system.operator_env(), "CQ_ENV_FILE": ""})
        async with open_desk(load_settings(BrokerSettings), client_name="cq-run") as desk:
            await _wait_for_leader(desk, system)
            lines = Lines({info.con_id: info.name for info in await desk.known_contracts()})
            who = f"{settings.mode.upper()} {settings.account}"
            say(f"{who}: a gateway leads; page {system.status_page}; times in UTC; stop: Ctrl-C")
            await _tell_halt(desk, say)
            await _watch(options, system, desk, lines, say, made, f"{began_ms}-0")
    except asyncio.CancelledError:
        pass  # Ctrl-C: an ordinary end
    finally:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)  # it stops already
        say("stopping every process …")
        if worker is not None:
            await asyncio.to_thread(_end, worker)
        await asyncio.to_thread(system.stop)
        _remove(made)
        say("stopped; nothing is left behind" if local.data_dir is None else f"stopped; {local.data_dir} is kept")
    if lines is not None:
        say(lines.summary)
    return int(ExitCode.OK)


def _worker_here(system: LocalSystem) -> subprocess.Popen[bytes]:
    """Start the worker outside of the supervisor, with this terminal as its input; it logs where the others do."""
    process = next(one for one in services_of(replace(system.plan, workers=1)) if one.name == "strategy-1")
    log = (system.run_dir / "logs" / "strategy-1.log").open("ab")
    with log:
        return subprocess.Popen(process.command, env={**os.environ, **process.env}, stderr=log)


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(WORKER_END_S)
    except subprocess.TimeoutExpired:
        worker.kill()  # it stands at a prompt
        worker.wait()


def _remove(made: Path) -> None:
    """Remove the file that was made, and its folders if that leaves them empty."""
    for file in made.glob("*.toml"):
        file.unlink()
    for folder in (made, made.parent):
        try:
            folder.rmdir()
        except OSError:
            return  # another run, or a deployment's data, is in there


async def _wait_for_leader(desk: Desk, system: LocalSystem) -> None:
    deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(READY_LIMIT_S * NS_PER_S)
    while True:
        rows = await desk.heartbeats()
        if any(
            row["service"] == "gateway" and row.get("link") == "READY" and row.get("role") == "leader" for row in rows
        ):
            return
        await asyncio.to_thread(check_refusals, system.supervisor)
        if SYSTEM_CLOCK.monotonic_ns() > deadline_ns:
            raise CqError(f"no gateway became READY within {READY_LIMIT_S:g} s")
        await SYSTEM_CLOCK.sleep(0.2)


async def _tell_halt(desk: Desk, say: Say) -> None:
    """Say that it is halted, as each new deployment on paper or live is: a strategy would only be refused."""
    halt = await desk.halt_status()
    if halt.get("stage") != "none":
        why = halt.get("reason") or "its state is missing"
        say(f"trading is halted ({why}): look at `cq status` in another terminal, then `cq resume`")


async def _watch(
    options: TrialOptions, system: LocalSystem, desk: Desk, lines: Lines, say: Say, made: Path, after: str
) -> None:  # fmt: skip
    """Tell what happens until the time is over; an error of one loop ends the run.

    What the streams of a deployment on paper kept from earlier runs, up to the id `after`, is not told again.
    """
    loops = [_tell_entries(desk, lines, say, after), _tell_units(desk, lines, say), _keep_alive(system)]
    if options.mode is Mode.SIM:
        loops.append(_reload_on_edit(options, desk, say, made))
    try:
        async with asyncio.timeout(options.seconds or None), asyncio.TaskGroup() as group:
            for loop in loops:
                group.create_task(loop)
    except TimeoutError:
        pass  # the time asked for is over
    except ExceptionGroup as e:
        ours = [error for error in e.exceptions if isinstance(error, CqError)]
        if len(ours) < len(e.exceptions):
            raise
        raise ours[0] from e


async def _tell_entries(desk: Desk, lines: Lines, say: Say, after: str) -> None:
    keys = desk.keys
    streams = (keys.intents, keys.cancels, keys.decisions, keys.orders, keys.fills)
    cursors = {stream: after for stream in streams}
    while True:
        try:
            found = await desk.bus.read(cursors, count=200, block_ms=200)
        except TransientError:
            await SYSTEM_CLOCK.sleep(0.2)
            continue
        entries = sorted(
            (one for entries in found.values() for one in entries), key=lambda one: entry_order(one.entry_id)
        )
        for entry in entries:
            cursors[entry.stream] = entry.entry_id
            try:
                message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
            except BadInput as e:
                say(f"unreadable entry: {e}")
                continue
            line = lines.of(message, entry_order(entry.entry_id)[0] * NS_PER_MS)
            if line is not None:
                say(line)


async def _tell_units(desk: Desk, lines: Lines, say: Say) -> None:
    while True:
        try:
            for row in await rows_of(desk):
                line = lines.unit(row)
                if line is not None:
                    say(line)
        except TransientError:
            pass  # Redis is being restarted
        await SYSTEM_CLOCK.sleep(ROWS_EVERY_S)


async def _keep_alive(system: LocalSystem) -> None:
    while system.supervisor.is_running:
        await SYSTEM_CLOCK.sleep(1.0)
    raise BusUnavailable("the process supervisor ended, and every process with it")


async def _reload_on_edit(options: TrialOptions, desk: Desk, say: Say, made: Path) -> None:
    """Ask the worker to read its files again whenever one of them was saved."""
    try:
        async for changed in edits(options.chosen.resolve().parent):
            try:
                strategies_file_of(options.chosen, options.symbols, made)
            except CqError as e:
                say(f"not reloaded: {e}")
                continue
            await desk.bus.hash_set(desk.keys.strategy_directives, {"reload": random_token(12)})
            say(f"reloading: {', '.join(changed)} was saved")
    except ImportError:
        say("edits need `cq strategies reload`: pip install 'copilot-quant[reload]' reloads them by itself")


async def edits(folder: Path) -> AsyncIterator[Sequence[str]]:
    """Yield the names of strategy files that were saved, those of one moment together.

    Raises:
        ImportError: the library that watches files is not installed.
    """
    from watchfiles import awatch

    async for changes in awatch(folder, recursive=False):
        names = sorted({Path(path).name for _, path in changes if path.endswith((".py", ".toml"))})
        if names:
            yield names
