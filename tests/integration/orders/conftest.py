"""The order path of a strategy, whole: worker, risk, gateway, marketdata and the simulator as processes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from shared.bus.keys import Keys
from shared.bus.redis_client import open_bus
from shared.messages.orders import Decision, Intent, OrderState, Side
from tests.integration.gateway.conftest import ACCOUNT, Broker, Desk, broker, market, start_gateway
from tests.support import RedisServer, SpawnedProcess, Spawner, eventually

__all__ = ["broker", "start_gateway"]


@pytest.fixture
async def desk(redis_server: RedisServer, deployment: str, broker: Broker) -> AsyncIterator[Desk]:
    """The bus and the broker's books; risk is a process of its own."""
    bus = open_bus(redis_server.url, Keys(deployment), client_name="test")
    await bus.hash_set(bus.keys.halt, {"stage": "none"})
    yield Desk(bus, broker)
    with contextlib.suppress(Exception):
        await bus.close()


async def answer(desk: Any, intent: Intent) -> Decision:
    await desk.bus.append(desk.bus.keys.intents, intent, source="test")

    async def found() -> Decision | None:
        for one in await desk.messages(desk.bus.keys.decisions):
            if isinstance(one, Decision) and one.intent_id == intent.intent_id:
                return one
        return None

    decision: Decision = await eventually(found, 10.0)
    return decision


def logged(process: SpawnedProcess, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


async def traded(desk: Any) -> Intent:
    """Order a share until risk approves it, and wait until it is bought."""

    async def approved() -> Intent | None:
        intent: Intent = await desk.intent(market(Side.BUY, 1), strategy="manual")
        return intent if (await answer(desk, intent)).approved else None

    intent: Intent = await eventually(approved, 20.0, every_s=0.3)
    await desk.until(intent, OrderState.FILLED)
    return intent


@pytest.fixture
def start_risk(
    spawn: Spawner, redis_server: RedisServer, deployment: str, tmp_path: Path
) -> Callable[..., dict[str, str]]:  # fmt: skip
    """Start risk and market data beside a gateway that runs; returns the settings that all services share."""

    def start(**risk: str) -> dict[str, str]:
        common = {
            "CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_server.url, "CQ_HTTP_PORT": "0",
            "IB_SIM_ACCOUNT": ACCOUNT, "CQ_LEASE_TTL_S": risk.pop("CQ_LEASE_TTL_S", "1.5"),
        }  # fmt: skip
        spawn("services.risk", env={**common, "CQ_INSTANCE": "risk", **risk}, name="risk")
        cache = {"CQ_INSTANCE": "marketdata", "MARKETDATA_CACHE_DIR": str(tmp_path / "history")}
        spawn("services.marketdata", env={**common, **cache}, name="marketdata")
        return common

    return start


@pytest.fixture
async def run_strategy(
    spawn: Spawner, desk: Desk, tmp_path: Path, start_gateway: Callable[..., Any],
    start_risk: Callable[..., dict[str, str]],
) -> Callable[..., Any]:  # fmt: skip
    """Start everything with one strategy file: `await run_strategy(code, "ClassName")`."""

    async def run(code: str, class_name: str, contracts: str = '"AAPL"') -> SpawnedProcess:
        (tmp_path / "mine.py").write_text(code)
        table = f'[strategy.mine]\nfile = "mine.py"\nclass = "{class_name}"\ncontracts = [{contracts}]\n'
        (tmp_path / "strategies.toml").write_text(table)
        start_gateway("a", 1)
        await desk.ready_leader()
        own = {"CQ_INSTANCE": "strategy", "STRATEGIES_FILE": str(tmp_path / "strategies.toml")}
        return spawn("services.strategy", env={**start_risk(), **own}, name="strategy")

    return run
