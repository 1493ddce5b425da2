"""A strategy that blocks for good or takes all the memory costs only itself; one that asks has its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from copilot_quant.desk import Desk
from shared.messages.codec import encode_body
from shared.messages.market import ContractInfo
from shared.messages.orders import Fill, Side
from tests.integration.strategy.market import Market, contract_of, intents_of, rows_of, strategies_file, worker_env
from tests.support import ROOT, Spawner, clean_environment, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(120)]
CON_IDS = [1001, 1002, 1003]
COUNTER = """
[strategy.counter]
file = "mine.py"
class = "Counter"
contracts = ["C1001", "C1002"]
"""
BAD = """
[strategy.bad]
file = "mine.py"
class = "{cls}"
contracts = ["C1003"]
isolated = {isolated}
"""


async def until(market: Market, condition: Any, timeout_s: float = 30.0) -> None:
    async def step() -> Any:
        await market.quote_all()
        await market.reject_all()
        return await condition(await rows_of(market))

    await eventually(step, timeout_s, every_s=0.05)


async def all_run(rows: dict[str, dict[str, Any]]) -> bool:
    return [row["state"] for row in rows.values()] == ["running"] * 3


async def counted_once(market: Market, units: tuple[str, ...] = ("counter/C1001", "counter/C1002")) -> bool:
    """Say whether the units have seen every quote, each once (the strategy would say WRONG).

    Orders on quotes that were older than their validity when a new worker came to them are rightly not made.
    """
    await market.reject_all()
    found = await intents_of(market.bus)
    for unit in units:
        numbers = [int(reason) for reason in found[unit]]
        assert numbers == sorted(set(numbers)), (unit, found[unit][-10:])
    return all(found[unit][-1] == str(market.sent) for unit in units)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the sentinel reads /proc")
@pytest.mark.parametrize("workers", [("w1",), ("w1", "w2")])
async def test_a_handler_that_freezes_the_interpreter_stops_its_unit_and_the_others_go_on(
    market: Market, redis_url: str, deployment: str, tmp_path: Path, spawn: Spawner, workers: tuple[str, ...]
) -> None:
    file = strategies_file(tmp_path, COUNTER + BAD.format(cls="Freezes", isolated="false"))
    env = {name: worker_env(redis_url, deployment, name, file) for name in workers}
    running = {name: spawn("services.strategy", env=env[name], name=name) for name in workers}
    await eventually(lambda: ready(market), 30.0)

    async def is_stopped(rows: dict[str, dict[str, Any]]) -> bool:
        for name, process in running.items():
            if process.status is not None:  # what a supervisor does
                running[name] = spawn("services.strategy", env=env[name], name=name)
        error = str(rows["bad/C1003"]["error"])
        return "on_quote did not return" in error and "mine.py:" in error

    await until(market, is_stopped, 40.0)
    await eventually(lambda: counted_once(market), 30.0)
    ended = [process for process in spawn.processes if process.status is not None]
    assert [process.status for process in ended] == [-signal.SIGKILL]
    # Once more, by hand: it blocks again, is stopped again, and the others have still lost nothing.
    command = [sys.executable, "-m", "copilot_quant.cli", "strategies", "resume", "bad"]
    settings = clean_environment({"CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_url})
    resumed = subprocess.run(command, env=settings, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert resumed.returncode == 0, resumed.stderr


async def ready(market: Market) -> bool:
    return await all_run(await rows_of(market))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the sentinel reads /proc")
async def test_memory_without_end_stops_the_unit_that_takes_it(
    market: Market, redis_url: str, deployment: str, tmp_path: Path, spawn: Spawner
) -> None:
    file = strategies_file(tmp_path, COUNTER + BAD.format(cls="Eats", isolated="false"))
    env = worker_env(redis_url, deployment, "w1", file, STRATEGY_MEMORY_MB="400")
    worker = [spawn("services.strategy", env=env, name="w1")]
    await eventually(lambda: ready(market), 30.0)

    async def is_stopped(rows: dict[str, dict[str, Any]]) -> bool:
        if worker[-1].status is not None:
            worker.append(spawn("services.strategy", env=env, name="w1"))
        return "memory grew to" in str(rows["bad/C1003"]["error"])

    await until(market, is_stopped, 40.0)
    await eventually(lambda: counted_once(market), 30.0)


async def test_an_isolated_strategy_has_its_own_process_and_goes_where_its_worker_goes(
    market: Market, redis_url: str, deployment: str, tmp_path: Path, spawn: Spawner
) -> None:
    file = strategies_file(tmp_path, COUNTER + BAD.format(cls="Counter", isolated="true"))
    env = {name: worker_env(redis_url, deployment, name, file) for name in ("w1", "w2")}
    running = {name: spawn("services.strategy", env=env[name], name=name) for name in ("w1", "w2")}

    async def both_share() -> bool:
        listed = await market.bus.hash_get_all(market.bus.keys.strategy_workers)
        owners = {str(row["owner"]).partition("+")[0] for row in (await rows_of(market)).values()}
        return sorted(listed) == ["w1", "w2"] == sorted(owners) and await ready(market)

    await eventually(both_share, 60.0)  # one of them may have been alone for a while
    owner = str((await rows_of(market))["bad/C1003"]["owner"])
    host, _, unit = owner.partition("+")
    assert host in running and unit == "bad-C1003"

    running[host].signal(signal.SIGKILL)
    other = {"w1": "w2", "w2": "w1"}[host]

    async def moved(rows: dict[str, dict[str, Any]]) -> bool:
        row = rows["bad/C1003"]
        return (
            await all_run(rows)
            and {one["owner"] for one in rows.values()} == {other, f"{other}+bad-C1003"}
            and bool(row)
        )

    await until(market, moved, 40.0)
    every = ("counter/C1001", "counter/C1002", "bad/C1003")
    await eventually(lambda: counted_once(market, every), 20.0)
    pid = await pid_of(market, f"{other}+bad-C1003")
    os.kill(pid, signal.SIGKILL)  # its own process alone: the worker starts another
    await until(market, lambda rows: again(market, rows, pid), 40.0)
    await eventually(lambda: counted_once(market, every), 20.0)
    assert running[other].terminate() == 0


async def pid_of(market: Market, instance: str) -> int:
    rows = [row for row in await Desk(market.bus, "DUSIM0001").heartbeats() if row["instance"] == instance]
    return int(rows[0]["pid"]) if rows else 0


async def again(market: Market, rows: dict[str, dict[str, Any]], before: int) -> bool:
    pid = await pid_of(market, str(rows["bad/C1003"]["owner"]))
    return pid not in (0, before) and await all_run(rows)


def always_open(con_id: int) -> ContractInfo:
    """Return a contract in whose zone it is noon now, with regular hours all day."""
    now = datetime.now(UTC)
    zone = f"Etc/GMT{now.hour - 12:+d}"  # the sign is the other way round in these names
    local = now.astimezone(ZoneInfo(zone))
    days = ";".join(
        f"{day:%Y%m%d}:0000-{day:%Y%m%d}:2359" for day in (local + timedelta(days=number) for number in range(3))
    )
    return contract_of(con_id).model_copy(update={"time_zone": zone, "liquid_hours": days, "trading_hours": days})


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the sentinel reads /proc")
async def test_the_platform_makes_a_frozen_strategy_flat(
    market: Market, redis_url: str, deployment: str, tmp_path: Path, spawn: Spawner
) -> None:
    bus = market.bus
    await bus.hash_set(bus.keys.contracts, {"1003": encode_body(always_open(1003))})
    rules = 'session = "rth"\nflat_by = "999 min"\n'  # in the morning: it is due
    file = strategies_file(tmp_path, COUNTER + BAD.format(cls="Freezes", isolated="false") + rules)
    env = worker_env(redis_url, deployment, "w1", file)
    workers = [spawn("services.strategy", env=env, name="w1")]
    await eventually(lambda: ready(market), 30.0)

    async def is_in_care(rows: dict[str, dict[str, Any]]) -> bool:
        if workers[-1].status is not None:
            workers.append(spawn("services.strategy", env=env, name="w1"))
        row = rows["bad/C1003"]
        return row["state"] == "stopped" and row["owner"] == "w1" and "on_quote did not return" in row["error"]

    await until(market, is_in_care, 40.0)
    assert market.token is not None
    held = Fill(
        exec_id="e1.01", exec_stem="e1", strategy="bad", account="DUSIM0001", con_id=1003, side=Side.BUY,
        quantity=Decimal(5), price=Decimal(10),
    )  # fmt: skip
    await bus.publish_fills(market.token, [held], source="gateway:test")

    async def is_closed() -> bool:
        return "flat_by" in (await intents_of(bus)).get("bad/C1003", [])

    await eventually(is_closed, 15.0)
    await eventually(lambda: counted_once(market), 20.0)
