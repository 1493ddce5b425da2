"""The whole local system under the demo's load: tick to order, memory and start time of each service.

Tick to order runs from the gateway's receipt of the quote that caused an intent (its `cause_ts_ns`) to the simulator's
receipt of the order: gateway → Redis → strategy → Redis → risk → Redis → gateway → guard → simulator, with every check
on, all ten processes on this machine. Both ends are wall times of one machine: when the gateway read the quote's bytes
and when the simulator read the order's. Not in it: the quote's own way from the simulator through the guard. The three
bare hops run at the same time under the same supervisor, so that they wait for a processor like everybody else.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import hops, path
from bench.measuring import percentile
from copilot_quant.desk import Desk, open_desk
from copilot_quant.local.books import fetch_truth
from copilot_quant.local.processes import Process
from copilot_quant.local.system import LocalOptions, LocalSystem
from shared.settings import BrokerSettings, load_settings

STRATEGIES = Path("bench/strategies.toml")
LIMITS = Path("bench/limits.toml")
BESIDE_RATE = 20


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process in megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def started_ns(pid: int) -> int:
    """Return when the system started a process, wall nanoseconds (the kernel's clock ticks are 10 ms)."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    booted = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    return int((int(booted.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")) * 1e9)


def local_options(tick_rate: str, *beside: Process) -> LocalOptions:
    """Return the demo's system with the bench's strategies, limits and ticks a second and contract."""
    return LocalOptions(
        simulator={"SIM_TICK_RATE": tick_rate},
        strategies_file=str(STRATEGIES.resolve()),
        limits_file=str(LIMITS.resolve()),
        beside=beside,
    )


async def _times(desk: Desk, simulator_http: str) -> list[dict[str, int]]:
    bus, keys = desk.bus, desk.keys
    intents, decisions, orders = [
        await bus.read_range(stream) for stream in (keys.intents, keys.decisions, keys.orders)
    ]
    return path.times_of(intents, decisions, orders, (await fetch_truth(simulator_http))["orders"])


async def _until_orders_flow(desk: Desk) -> None:
    async with asyncio.timeout(120):
        while await desk.bus.stream_length(desk.keys.fills) < 5:
            await asyncio.sleep(0.2)


async def _run(seconds: float, tick_rate: str) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="cq-bench-"))
    reference = hops.Beside(folder, seconds, BESIDE_RATE)
    system = LocalSystem(local_options(tick_rate, reference.process), Path.cwd())
    try:
        await system.start(lambda _: None)
        os.environ.update({**system.operator_env(), "CQ_ENV_FILE": ""})
        async with open_desk(load_settings(BrokerSettings)) as desk:
            await _until_orders_flow(desk)
            pids = {info.name: info.pid for info in system.supervisor.processes() if info.pid}
            del pids[reference.process.name]
            before = {name: path.spent(pid) for name, pid in pids.items()}
            began_ns = time.time_ns()
            # The reference beside it: as many messages a second as there are orders, while everything else goes on.
            beside = await asyncio.to_thread(reference.run)
            took_s = (time.time_ns() - began_ns) / 1e9
            spent = {name: path.share(before[name], path.spent(pid), took_s) for name, pid in pids.items()}
            rows = await desk.heartbeats()
            times = [row for row in await _times(desk, system.simulator_http) if row["cause"] >= began_ns]
            memory = {name: memory_mb(pid) for name, pid in pids.items()}
            starts = {row["instance"]: (row["started_ns"] - started_ns(row["pid"])) / 1e9 for row in rows}
    finally:
        await asyncio.to_thread(system.stop)
        shutil.rmtree(folder, ignore_errors=True)
    return {"times": times, "spent": spent, "memory_mb": memory, "start_s": starts, "beside": beside}


def measure(seconds: float = 60.0, tick_rate: str = "200") -> dict[str, Any]:
    """Return tick-to-order percentiles in milliseconds, megabytes and start seconds of each process."""
    before = time.monotonic()
    found = asyncio.run(_run(seconds, tick_rate))
    steady = [(row["received"] - row["cause"]) / 1e6 for row in found["times"]]
    shares = {name: percentile(steady, share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
    return {**found, **shares, "orders": len(steady), "took_s": time.monotonic() - before}
