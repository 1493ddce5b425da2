"""The broker liquidates: seen by the gateway on the wire, judged by risk, which lets only reductions pass then.

IB shows executions of orders that no API client placed to its master client only, so the trading id is the master here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from shared.messages.orders import Intent, OrderState, Side
from tests.integration.gateway.conftest import TRADING_ID, Broker, market, start_broker
from tests.integration.orders.conftest import answer
from tests.support import Spawner, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(150)]
AAPL = 265598


@pytest.fixture
def broker(spawn: Spawner) -> Broker:
    return start_broker(spawn, 40.0, SIM_MASTER_CLIENT_ID=str(TRADING_ID))


async def test_a_liquidation_by_the_broker_trips_its_breaker(
    desk: Any, start_gateway: Callable[..., Any], start_risk: Callable[..., Any]
) -> None:  # fmt: skip
    start_gateway("a", 1, CQ_LEASE_TTL_S="6.0")
    await desk.ready_leader(40.0)
    start_risk(CQ_LEASE_TTL_S="6.0")
    await desk.watch(AAPL)

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
