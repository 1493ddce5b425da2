"""`cq strategies pause|resume|move|reload` with two real workers: nothing skipped, nothing sent twice."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.strategy.market import Market, intents_of, rows_of, strategies_file, worker_env
from tests.support import ROOT, Spawner, clean_environment, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(120)]
CON_IDS = [1001, 1002, 1003, 1004]
TABLES = f"""
[strategy.counter]
file = "mine.py"
class = "Counter"
contracts = {[f"C{con_id}" for con_id in CON_IDS]}
"""


@pytest.fixture
async def cq(redis_url: str, deployment: str, market: Market) -> Callable[..., Any]:
    """Run a command while quotes flow; return its result."""

    def run(arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        env = clean_environment({"CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_url})
        command = [sys.executable, "-c", "from copilot_quant.cli import main; main()", "strategies", *arguments]
        return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    async def call(*arguments: str, quotes: bool = True) -> subprocess.CompletedProcess[str]:
        task = asyncio.create_task(asyncio.to_thread(run, arguments))
        while not task.done():
            if quotes:
                await market.quote_all()
                await market.reject_all()
            await asyncio.sleep(0.05)
        return task.result()

    return call


async def all_sent_once(market: Market) -> bool:
    await market.reject_all()
    found = await intents_of(market.bus)
    expected = [str(number) for number in range(1, market.sent + 1)]
    assert {unit: reasons[-5:] for unit, reasons in found.items() if reasons != expected} == {}
    return len(found) == len(CON_IDS)


async def test_a_unit_moves_on_demand_and_changed_code_takes_over_where_the_old_stopped(
    market: Market, redis_url: str, deployment: str, spawn: Spawner, tmp_path: Path, cq: Callable[..., Any]
) -> None:
    path = strategies_file(tmp_path, TABLES)
    for name in ("w1", "w2"):
        spawn("services.strategy", env=worker_env(redis_url, deployment, name, path), name=name)

    async def spread() -> bool:
        found = await rows_of(market)
        states = [row["state"] for row in found.values()]
        return states == ["running"] * len(CON_IDS) and {row["owner"] for row in found.values()} == {"w1", "w2"}

    await eventually(spread, 30.0)
    owner = (await rows_of(market))["counter/C1001"]["owner"]
    other = {"w1": "w2", "w2": "w1"}[owner]
    moved = await cq("move", "counter/C1001", other)
    assert moved.returncode == 0, moved.stderr
    assert (await rows_of(market))["counter/C1001"]["owner"] == other
    await eventually(lambda: all_sent_once(market), 20.0)

    mistaken = await cq("move", "counter/C1001", "w9", quotes=False)
    assert mistaken.returncode == 65 and "w1, w2" in mistaken.stderr

    code = (tmp_path / "mine.py").read_text()
    (tmp_path / "mine.py").write_text(code.replace("reason=str(number)", "reason=str(number) + ' anew'"))
    assert (await cq("reload", quotes=False)).returncode == 0

    async def anew() -> bool:
        await market.quote_all()
        await market.reject_all()
        found = await intents_of(market.bus)
        return all(reasons[-1].endswith(" anew") for reasons in found.values())

    await eventually(anew, 20.0, every_s=0.1)

    async def complete() -> bool:
        await market.reject_all()
        for unit, reasons in (await intents_of(market.bus)).items():
            numbers = [reason.removesuffix(" anew") for reason in reasons]
            assert numbers == [str(number) for number in range(1, market.sent + 1)], (unit, reasons[-8:])
        return True

    await eventually(complete, 20.0)


async def test_a_paused_strategy_orders_nothing_until_it_is_resumed(
    market: Market, redis_url: str, deployment: str, spawn: Spawner, tmp_path: Path, cq: Callable[..., Any]
) -> None:
    path = strategies_file(tmp_path, TABLES)
    spawn("services.strategy", env=worker_env(redis_url, deployment, "w1", path), name="w1")

    async def running() -> bool:
        return [row["state"] for row in (await rows_of(market)).values()] == ["running"] * len(CON_IDS)

    await eventually(running, 30.0)
    await market.quote_all()
    await eventually(lambda: all_sent_once(market), 20.0)
    paused = await cq("pause", "counter", "--reason", "lunch", quotes=False)
    assert paused.returncode == 0, paused.stderr
    assert all("lunch" in row["paused"] for row in (await rows_of(market)).values())
    before = await intents_of(market.bus)
    for _ in range(20):
        await market.quote_all()
        await asyncio.sleep(0.02)
    await asyncio.sleep(1.0)
    assert await intents_of(market.bus) == before
    resumed = await cq("resume", "counter", quotes=False)
    assert resumed.returncode == 0, resumed.stderr
    await market.quote_all()

    async def orders_again() -> bool:
        found = await intents_of(market.bus)
        return all(len(reasons) > len(before[unit]) for unit, reasons in found.items())

    await eventually(orders_again, 20.0)
    unknown = await cq("pause", "nobody", quotes=False)
    assert unknown.returncode == 65 and "counter" in unknown.stderr


async def test_a_state_that_no_longer_fits_stops_its_unit_until_a_person_chooses(
    market: Market, redis_url: str, deployment: str, spawn: Spawner, tmp_path: Path, cq: Callable[..., Any]
) -> None:
    silent = """
[strategy.silent]
file = "silent.py"
class = "Silent"
contracts = ["C1004"]
"""
    path = strategies_file(tmp_path, TABLES.replace(", 'C1004'", "") + silent)
    code = (tmp_path / "mine.py").read_text()
    file = tmp_path / "silent.py"
    file.write_text(code)
    spawn("services.strategy", env=worker_env(redis_url, deployment, "w1", path), name="w1")

    async def all_run() -> bool:
        found = await rows_of(market)
        return len(found) == len(CON_IDS) and {row["state"] for row in found.values()} == {"running"}

    async def saved() -> int:
        await market.quote_all()
        await market.reject_all()
        record = await market.bus.load_unit("silent/C1004")
        return int(json.loads(record.state)["user"].get("seen", 0)) if record.state else 0

    await eventually(all_run, 60.0)
    await eventually(saved, 40.0)
    before, edited = code.split("class Silent(Strategy):")
    file.write_text(f"{before}class Silent(Strategy):{edited.replace('seen: int = 0', 'seen: list[int] = []', 1)}")
    line = file.read_text().splitlines().index("        seen: list[int] = []") + 1
    assert (await cq("reload")).returncode == 0

    async def is_stopped() -> str:
        await market.quote_all()
        row = (await rows_of(market))["silent/C1004"]
        return str(row["error"]) if row["state"] == "stopped" else ""

    error = str(await eventually(is_stopped, 40.0))
    assert f"silent.py:{line}" in error and "'seen'" in error and "cq strategies reset silent/C1004" in error
    shown = await cq("--json")
    assert [row["error"] for row in json.loads(shown.stdout) if row["unit"] == "silent/C1004"] == [error]
    running = [row for row in (await rows_of(market)).values() if row["state"] == "running"]
    assert len(running) == len(CON_IDS) - 1, "the rest goes on"

    refused = await cq("reset", "counter/C1001")
    assert refused.returncode == 65 and "runs with the state it has" in refused.stderr
    done = await cq("reset", "silent/C1004")
    assert done.returncode == 0, done.stderr
    record = await market.bus.load_unit("silent/C1004")
    assert isinstance(json.loads(record.state)["user"].get("seen"), list)

    async def others_sent_once() -> bool:
        await market.reject_all()
        found = await intents_of(market.bus)
        expected = [str(number) for number in range(1, market.sent + 1)]
        return [found[f"counter/C{con_id}"] == expected for con_id in CON_IDS[:3]] == [True] * 3

    await eventually(others_sent_once, 40.0)
