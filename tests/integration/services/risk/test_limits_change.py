"""`cq limits` against a real risk service: what is in force is shown, compared and changed, and survives a kill."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from shared.messages.control import Control, ControlAction
from tests.risk_market import Market, environment, start
from tests.support import ROOT, RedisServer, Spawner, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process]


async def cq(env: dict[str, str], folder: Path, *words: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from copilot_quant.cli import main; main()", "limits", *words),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **env, "PYTHONPATH": str(ROOT)},
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_limits_are_changed_while_it_runs_and_stay_changed(
    market: Market, redis_server: RedisServer, deployment: str, spawn: Spawner, tmp_path: Path
) -> None:
    await market.reconciled()
    file, ceiling, draft = tmp_path / "limits.toml", tmp_path / "ceiling.toml", tmp_path / "draft.toml"
    file.write_text("rules = 2\n[limits]\norder_quantity_max = 100\n")
    ceiling.write_text("[limits]\norder_quantity_max = 200\n")
    files = {"RISK_LIMITS_FILE": str(file), "RISK_CEILING_FILE": str(ceiling)}
    env = environment(redis_server, deployment, **files)
    first = start(spawn, redis_server, deployment, "r1", **files)
    await market.ask(market.intent(1, quantity=60))
    assert (await market.answer(1, 20.0)).approved
    await eventually(lambda: market.bus.hash_get_all(market.keys.limits))

    status, shown = await cq(env, tmp_path, "show", "--json")
    assert status == 0 and json.loads(shown)["limits"]["order_quantity_max"] == "100"

    draft.write_text("rules = 2\n[limits]\norder_quantity_max = 50\n")
    assert "order_quantity_max: 100 -> 50" in (await cq(env, tmp_path, "diff", str(draft)))[1]
    status, said = await cq(env, tmp_path, "apply", str(draft), "--reason", "calmer", "--yes")
    assert status == 0 and "applied" in said
    await market.ask(market.intent(2, quantity=60))
    assert (await market.answer(2)).code == "RISK_ORDER_QUANTITY_MAX"

    draft.write_text("rules = 2\n[limits]\norder_quantity_max = 201\n")
    status, said = await cq(env, tmp_path, "apply", str(draft), "--reason", "more", "--yes")
    assert status != 0 and "ceiling" in said
    acts = [one for one in await market.messages(market.keys.control) if isinstance(one, Control)]
    assert [(one.action, one.reason, one.changes) for one in acts] == [
        (ControlAction.LIMITS, "calmer", ("order_quantity_max: 100 -> 50",))
    ]

    first.kill()
    start(spawn, redis_server, deployment, "r2", **files)
    await market.ask(market.intent(3, quantity=60))
    assert (await market.answer(3, 20.0)).code == "RISK_ORDER_QUANTITY_MAX", "the change holds after a kill"
