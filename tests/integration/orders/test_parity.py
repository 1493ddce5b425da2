"""A recorded live run gives the same intents when replayed, and the same decisions in a backtest of its market."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from copilot_quant.backtest.data import MarketData
from copilot_quant.backtest.results import BacktestResult
from copilot_quant.backtest.runner import Backtest, limits_of
from copilot_quant.backtest.strategies import declared_of
from copilot_quant.replay import replay
from services.marketdata.shell.replayer import RecordedSession
from shared.clock import iso_utc
from shared.messages.orders import Intent
from tests.integration.gateway.conftest import ACCOUNT
from tests.support import ROOT, SpawnedProcess, Spawner, clean_environment, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.long, pytest.mark.timeout(300)]
LOOKS = """
from services.strategy.api import Bar, Strategy


class Looks(Strategy):
    @classmethod
    def history_needs(cls, params):
        return {"1 secs": 10}

    def on_bar(self, bar: Bar) -> None:
        bars = self.history_bars(bar.contract, "1s")
        side = 1 if bars[-1].close > bars[0].close else -1
        self.target_position(bar.contract, side * 5, reason=f"{len(bars)} bars, {bars[0].close} to {bars[-1].close}")
"""
TABLES = """
[strategy.reverts]
file = "mean_reversion.py"
class = "MeanReversion"
contracts = ["AAPL", "MSFT"]
params = { quantity = 5, period = 20, enter = 0.8, pause_s = 1.0 }

[strategy.crosses]
file = "ma_crossover.py"
class = "MaCrossover"
contracts = ["AAPL"]
bars = ["1s"]
params = { quantity = 5, fast = 2, slow = 4 }

[strategy.looks]
file = "looks.py"
class = "Looks"
contracts = ["MSFT"]
bars = ["1s"]
"""


@pytest.fixture
def strategies(tmp_path: Path) -> Path:
    for name in ("mean_reversion.py", "ma_crossover.py"):
        (tmp_path / name).write_text((ROOT / "strategies" / name).read_text())
    (tmp_path / "looks.py").write_text(LOOKS)
    path = tmp_path / "strategies.toml"
    path.write_text(TABLES)
    return path


def backtested(folder: Path, strategies: Path, unit_id: str) -> BacktestResult:
    """Run one unit on the recorded market from where it began live: here our own exchange answers its orders."""
    (declared,) = [unit for unit in declared_of(strategies, []) if unit.unit_id == unit_id]
    began_ns = RecordedSession(folder).units[unit_id].at_ns
    data = MarketData.load(folder, declared.contracts, first=iso_utc(began_ns))
    return Backtest([declared], data, limits_of(None)).run()


def essence_of(intent: Intent) -> list[Any]:
    """Return what was decided, and the bars it was decided by, which the reason names."""
    legs = [(leg.side, leg.quantity, leg.order_type, leg.limit_price, leg.stop_price, leg.tif) for leg in intent.legs]
    return [intent.action, intent.contract, legs, intent.reason]


async def intents(desk: Any) -> dict[str, list[Intent]]:
    found: dict[str, dict[str, Intent]] = {}
    for each in await desk.messages(desk.bus.keys.intents):
        if isinstance(each, Intent):
            found.setdefault(each.unit, {})[each.intent_id] = each
    return {unit: list(made.values()) for unit, made in found.items()}


async def record(
    desk: Any, spawn: Spawner, redis_url: str, deployment: str, start_gateway: Callable[..., Any], strategies: Path
) -> Path:
    """Run everything until each unit has ordered a few times; return the recording."""
    folder = strategies.parent / "recording"
    common = {
        "CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_url, "CQ_HTTP_PORT": "0",
        "IB_SIM_ACCOUNT": ACCOUNT, "CQ_LEASE_TTL_S": "1.5", "STRATEGIES_FILE": str(strategies),
        "MARKETDATA_CACHE_DIR": str(strategies.parent / "history"), "MARKETDATA_RECORD_DIR": str(folder),
    }  # fmt: skip
    start_gateway("a", 1)
    await desk.ready_leader()
    services: dict[str, SpawnedProcess] = {
        name: spawn(f"services.{name}", env={**common, "CQ_INSTANCE": name}, name=name)
        for name in ("risk", "marketdata", "strategy")
    }

    async def ordered() -> bool:
        counts = {unit: len(made) for unit, made in (await intents(desk)).items()}
        assert len(counts) == 4 and min(counts.values()) >= 4, counts
        return True

    await eventually(ordered, 75.0)
    await asyncio.to_thread(services["strategy"].terminate, 20.0)
    await asyncio.sleep(3.0)
    await asyncio.to_thread(services["marketdata"].terminate, 20.0)
    return folder


async def test_a_recorded_run_replayed_gives_the_same_intents(
    desk: Any, spawn: Spawner, redis_url: str, deployment: str, start_gateway: Callable[..., Any], strategies: Path
) -> None:
    folder = await record(desk, spawn, redis_url, deployment, start_gateway, strategies)
    live = await intents(desk)
    begun = time.monotonic()
    first = await asyncio.to_thread(replay, folder, strategies)
    took_s = time.monotonic() - begun
    assert {result.unit: result.difference for result in first} == dict.fromkeys(live, "")
    assert {result.unit: [one.intent_id for one in result.intents] for result in first} == {
        unit: [one.intent_id for one in made] for unit, made in live.items()
    }
    assert took_s < 20
    for unit in ("crosses/AAPL", "looks/MSFT"):  # what they decide follows from bars alone, not from when fills come
        tested = await asyncio.to_thread(backtested, folder, strategies, unit)
        assert not tested.errors, tested.errors
        wanted = [essence_of(one) for one in live[unit]]
        assert [essence_of(one) for one in tested.intents][: len(wanted)] == wanted
        assert tested.trades
    second = await asyncio.to_thread(replay, folder, strategies)
    for one, other in zip(first, second, strict=True):
        assert [each.model_dump() for each in one.intents] == [each.model_dump() for each in other.intents]

    def cq(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-c",
            "from copilot_quant.cli import main; main()",
            "replay",
            str(folder),
            *arguments,
        ]
        return subprocess.run(
            command, env=clean_environment(), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )

    same = await asyncio.to_thread(cq, "--strategies", str(strategies), "--check", "--json")
    assert same.returncode == 0, same.stderr
    assert {row["unit"]: row["intents"] for row in json.loads(same.stdout)} == {u: len(m) for u, m in live.items()}
    strategies.write_text(TABLES.replace("fast = 2", "fast = 3"))
    edited = await asyncio.to_thread(cq, "--strategies", str(strategies), "--check", "--json")
    assert edited.returncode == 1
    differences = {row["unit"]: row["difference"] for row in json.loads(edited.stdout)}
    assert [unit for unit, text in differences.items() if text] == ["crosses/AAPL"]
