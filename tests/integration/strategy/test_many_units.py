"""P9 for workers with more units than one turn asks whether they have something to save."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.strategy.shell.worker import LOOKED_AT_PER_TURN
from tests.integration.strategy.market import Market, rows_of, strategies_file, worker_env
from tests.support import Spawner, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(120)]
CON_IDS = [1001, 1002, 1003, 1004]
STRATEGIES = [f"counter-{number}" for number in range(1 + LOOKED_AT_PER_TURN // 2)]
UNITS = [f"{name}/C{con_id}" for name in STRATEGIES for con_id in CON_IDS]
BODY = f'file = "mine.py"\nclass = "Silent"\ncontracts = {[f"C{con_id}" for con_id in CON_IDS]}\n'


async def test_each_of_many_units_is_saved_and_moves_with_nothing_skipped_and_nothing_twice(
    market: Market, redis_url: str, deployment: str, tmp_path: Path, spawn: Spawner
) -> None:
    file = strategies_file(tmp_path, "".join(f"[strategy.{name}]\n{BODY}" for name in STRATEGIES))

    async def all_run() -> bool:
        return [row["state"] for row in (await rows_of(market)).values()] == ["running"] * len(UNITS)

    async def all_are_saved() -> bool:
        states = [json.loads((await market.bus.load_unit(unit)).state).get("user", {}) for unit in UNITS]
        assert all(state.get("seen", 0) <= market.sent for state in states), "something was handed out twice"
        return all(state.get("seen") == market.sent for state in states)

    async def first_has_all() -> bool:
        return {(await market.bus.load_unit(unit)).owner for unit in UNITS} == {"w1"}

    first = spawn("services.strategy", env=worker_env(redis_url, deployment, "w1", file), name="w1")
    await eventually(all_run, 40.0)
    for _ in range(30):
        await market.quote_all()
    await eventually(all_are_saved, 30.0)
    assert await first_has_all()

    spawn("services.strategy", env=worker_env(redis_url, deployment, "w2", file), name="w2")

    async def second_has_some() -> bool:
        await market.quote_all()
        return not await first_has_all()

    await eventually(second_has_some, 30.0, every_s=0.05)
    await market.quote_all()
    assert first.terminate() == 0
    for _ in range(30):
        await market.quote_all()
    await eventually(all_are_saved, 40.0)
    assert {(await market.bus.load_unit(unit)).owner for unit in UNITS} == {"w2"}
