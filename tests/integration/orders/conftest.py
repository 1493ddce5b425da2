"""The order path of a strategy, whole: worker, risk, gateway, marketdata and the simulator as processes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from shared.bus.keys import Keys
from shared.bus.redis_client import open_bus
from tests.integration.gateway.conftest import ACCOUNT, Broker, Desk, broker, start_gateway
from tests.support import RedisServer, SpawnedProcess, Spawner

__all__ = ["broker", "start_gateway"]


@pytest.fixture
async def desk(redis_server: RedisServer, deployment: str, broker: Broker) -> AsyncIterator[Desk]:
    """The bus and the broker's books; risk is a process of its own."""
    bus = open_bus(redis_server.url, Keys(deployment), client_name="test")
    await bus.hash_set(bus.keys.halt, {"stage": "none"})
    yield Desk(bus, broker)
    with contextlib.suppress(Exception):
        await bus.close()


@pytest.fixture
async def run_strategy(
    spawn: Spawner, redis_server: RedisServer, deployment: str, desk: Desk, tmp_path: Path,
    start_gateway: Callable[..., Any],
) -> Callable[..., Any]:  # fmt: skip
    """Start everything with one strategy file: `await run_strategy(code, "ClassName")`."""

    async def run(code: str, class_name: str, contracts: str = '"AAPL"') -> SpawnedProcess:
        (tmp_path / "mine.py").write_text(code)
        table = f'[strategy.mine]\nfile = "mine.py"\nclass = "{class_name}"\ncontracts = [{contracts}]\n'
        (tmp_path / "strategies.toml").write_text(table)
        common = {
            "CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_server.url, "CQ_HTTP_PORT": "0",
            "IB_SIM_ACCOUNT": ACCOUNT, "CQ_LEASE_TTL_S": "1.5",
        }  # fmt: skip
        start_gateway("a", 1)
        await desk.ready_leader()
        own = {
            "services.risk": {},
            "services.marketdata": {"MARKETDATA_CACHE_DIR": str(tmp_path / "history")},
            "services.strategy": {"STRATEGIES_FILE": str(tmp_path / "strategies.toml")},
        }
        processes = [
            spawn(service, env={**common, **env, "CQ_INSTANCE": service[9:]}, name=service[9:])
            for service, env in own.items()
        ]
        return processes[-1]

    return run
