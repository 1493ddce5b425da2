"""The broker liquidates: seen by the gateway on the wire, judged by risk, which lets only reductions pass then.

IB shows executions of orders that no API client placed to its master client only, so the trading id is the master here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.messages.orders import Decision, Intent, OrderState, Side
from tests.integration.gateway.conftest import ACCOUNT, TRADING_ID, Broker, market
from tests.support import RedisServer, Spawner, eventually, free_port

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(150)]
AAPL = 265598


@pytest.fixture
def broker(spawn: Spawner) -> Broker:
    port, control = free_port(), free_port()
    process = spawn(
        "services.simulator",
        env={
            "SIM_PORT": str(port), "SIM_HTTP_PORT": str(control), "CQ_MODE": "sim", "SIM_TICK_RATE": "20",
            "CQ_HTTP_PORT": "0", "SIM_MASTER_CLIENT_ID": str(TRADING_ID),
        },
        name="simulator",
    )  # fmt: skip
    process.wait_for_output("service.started", 40.0)
    return Broker(process, port, control)


async def answer(desk: Any, intent: Intent) -> Decision:
    await desk.bus.append(desk.bus.keys.intents, intent, source="test")

    async def found() -> Decision | None:
        for one in await desk.messages(desk.bus.keys.decisions):
            if isinstance(one, Decision) and one.intent_id == intent.intent_id:
                return one
        return None

    decision: Decision = await eventually(found, 10.0)
    return decision


async def test_a_liquidation_by_the_broker_trips_its_breaker(
    spawn: Spawner, redis_server: RedisServer, deployment: str, desk: Any, start_gateway: Callable[..., Any],
    tmp_path: Path,
) -> None:  # fmt: skip
    start_gateway("a", 1, CQ_LEASE_TTL_S="6.0")
    await desk.ready_leader(40.0)
    common = {
        "CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_server.url, "CQ_HTTP_PORT": "0",
        "IB_SIM_ACCOUNT": ACCOUNT, "CQ_LEASE_TTL_S": "6.0",
    }  # fmt: skip
    spawn("services.risk", env={**common, "CQ_INSTANCE": "risk"}, name="risk")
    spawn(
        "services.marketdata",
        env={**common, "CQ_INSTANCE": "md", "MARKETDATA_CACHE_DIR": str(tmp_path / "history")},
        name="marketdata",
    )
    await desk.subscribe(AAPL)

    async def bought() -> Intent | None:
        """Until risk leads and knows prices and the account it refuses: then it is asked anew."""
        intent: Intent = await desk.intent(market(Side.BUY, 10))
        decision = await answer(desk, intent)
        return intent if decision.approved else None

    intent: Intent = await eventually(bought, 60.0)
    await desk.until(intent, OrderState.FILLED, timeout_s=20.0)
    await asyncio.to_thread(desk.broker.fault, "liquidate", symbol="AAPL")

    async def told() -> bool:
        return any(one.is_liquidation and one.strategy == "unassigned" for one in await desk.fills())

    await eventually(told, 30.0)
    await asyncio.sleep(1.0)  # the breakers are looked at four times a second
    refused = await answer(desk, await desk.intent(market(Side.BUY, 1)))
    assert not refused.approved
    (found,) = [one for one in refused.failed if one.code == "RISK_LIQUIDATION"]
    assert "the broker liquidated" in found.text
