"""A small process beside each worker that ends it when one unit's handler blocks for good or takes all the memory.

Inside the worker nothing may run any more then, not even a thread: a call into C can hold the interpreter. So the
sentinel looks from outside, every 50 ms.
1. Before the worker's lease can run out it writes the unit's name into `strategy-quarantine`, and takes it back if the
   handler returns after all.
2. When it does not return, it writes why and where (the worker's faulthandler says so without the interpreter) and
   kills the worker. Whoever takes the worker's units over, or the worker itself after its restart, leaves that one unit
   stopped and runs the others.

It is forked before anything else was started, lives as long as its worker, and takes no signals meant for it.
Known limit: without /proc (macOS) processor time and memory of the worker are not seen; waiting is.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import IO

from services.strategy.core.patience import Patience, Sample, Verdict
from services.strategy.settings import StrategySettings
from services.strategy.shell.mark import Mark, pages_of
from shared.bus.redis_client import open_bus
from shared.clock import NS_PER_S, SYSTEM_CLOCK
from shared.errors import ConfigError, CqError
from shared.logs import configure_logs, get_logger
from shared.settings import load_settings

LOOK_S = 0.05
SUSPECT_SHARE = 0.5
"""Of the lease time: others then still take the worker for alive."""
TELL_LIMIT_S = 2.0
SHOW_S = 0.1
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def with_sentinel() -> Mark:
    """Fork the sentinel of this process and return the mark to keep; call it before threads and loops exist."""
    mark = Mark()
    traces = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
    worker = os.getpid()
    if os.fork() == 0:
        status = 0
        try:
            _watch(mark, worker, traces)
        except BaseException as e:  # noqa: BLE001 - a fork must never go on as a second worker
            sys.stderr.write(f"sentinel: {type(e).__name__}: {e}\n")
            status = 70
        os._exit(status)
    faulthandler.register(signal.SIGUSR2, file=traces, all_threads=False)
    _KEPT.append(traces)
    return mark


_KEPT: list[IO[str]] = []


def _watch(mark: Mark, worker: int, traces: IO[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    try:
        settings = load_settings(StrategySettings)
    except ConfigError:
        return  # the worker says so itself
    configure_logs("strategy", settings.instance, mode=settings.mode, level="info", log_format=settings.log_format)
    gc.freeze()
    patience = Patience(settings.handler_limit_s, settings.memory_mb)
    suspect_ns = int(SUSPECT_SHARE * settings.lease_ttl_s * NS_PER_S)
    suspect = ""
    while os.getppid() == worker:
        sample = sample_of(mark, worker)
        verdict = patience.look(sample)
        if patience.is_uneasy(sample):
            mark.measure()
        if verdict is None and not suspect and patience.lasted_ns > suspect_ns:
            suspect = sample.unit
            _tell(settings, suspect, "a handler has not returned yet")
        elif verdict is None and suspect and not patience.lasted_ns:
            _tell(settings, suspect, None)
            suspect = ""
        if verdict is not None:
            if suspect not in ("", verdict.unit):
                _tell(settings, suspect, None)
            _end(mark, worker, traces, verdict, settings)
            return
        SYSTEM_CLOCK.block(LOOK_S)


def sample_of(mark: Mark, worker: int) -> Sample:
    """Look at a worker once."""
    seen = mark.read()
    state, cpu_ns = _process(worker)
    return Sample(
        now_ns=SYSTEM_CLOCK.monotonic_ns(),
        calls=seen.calls,
        unit=seen.unit,
        is_running=seen.is_running,
        is_stuck=seen.is_stuck,
        is_debugged=seen.is_debugged,
        is_held=state in ("T", "t"),
        is_waiting=None if state is None else state not in ("R", "T", "t"),
        cpu_ns=cpu_ns,
        memory_mb=pages_of(worker) * os.sysconf("SC_PAGE_SIZE") / 1e6,
        greediest=seen.greediest,
    )


def _process(pid: int) -> tuple[str | None, int | None]:
    """Return a process's state letter and processor time, None where the system does not show them."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None, None
    ticks = int(words[11]) + int(words[12])
    return words[0], ticks * NS_PER_S // os.sysconf("SC_CLK_TCK")


def _end(mark: Mark, worker: int, traces: IO[str], verdict: Verdict, settings: StrategySettings) -> None:
    """Say which unit it was, where everybody looks, and kill the worker."""
    event = mark.read().event if mark.read().unit == verdict.unit else "a handler"
    os.kill(worker, signal.SIGUSR2)  # its faulthandler writes where it is
    SYSTEM_CLOCK.block(SHOW_S)
    traces.seek(0)
    where = user_line(traces.read())
    why = verdict.why if verdict.is_memory else f"{event} {verdict.why}"
    sentence = f"{why}, at {where}" if where else why
    get_logger().error("strategy.stuck", unit=verdict.unit, handler=event, where=where, why=why)
    _tell(settings, verdict.unit, sentence)
    os.kill(worker, signal.SIGKILL)


def _tell(settings: StrategySettings, unit: str, sentence: str | None) -> None:
    """Put a unit into quarantine, or take it out."""
    try:
        asyncio.run(_quarantine(settings, unit, sentence))
    except (CqError, TimeoutError) as e:
        get_logger().error("quarantine.unwritten", unit=unit, error=str(e))


def user_line(trace: str) -> str:
    """Return the innermost line of a faulthandler's trace that is the user's, empty if none is."""
    for file, line in _FRAME.findall(trace):
        if "/services/strategy/" not in file and not file.startswith("<"):
            return f"{file}:{line}"
    return ""


async def _quarantine(settings: StrategySettings, unit: str, sentence: str | None) -> None:
    bus = open_bus(settings.redis_url.get_secret_value(), settings.keys, client_name="strategy-sentinel")
    try:
        async with asyncio.timeout(TELL_LIMIT_S):
            if sentence is None:
                await bus.hash_delete(bus.keys.strategy_quarantine, [unit])
            else:
                await bus.hash_set(bus.keys.strategy_quarantine, {unit: sentence})
    finally:
        await bus.close()
