"""A Redis without memory under a working system: no new order, and everything that ends or protects one goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import BusUnavailable
from shared.messages.control import Control, ControlAction
from shared.messages.orders import CancelRequest, OrderState, Side
from tests.integration.gateway.conftest import ACCOUNT, market
from tests.integration.orders.conftest import traded
from tests.integration.orders.test_slow_redis import LEASE_S, Scene, scene
from tests.support import RedisServer, eventually

__all__ = ["scene"]

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(120)]


@pytest.fixture
def admin(redis_server: RedisServer) -> Iterator[Any]:
    """A connection of an administrator; the server has all the memory it wants afterwards."""
    with redis_server.client() as client:
        yield client
        client.config_set("maxmemory", "0")


async def test_fills_cancels_and_halts_go_on_under_the_same_lease_and_orders_wait_for_room(
    scene: Scene, admin: Any
) -> None:
    desk, keys = scene.desk, scene.desk.bus.keys
    filled, cancelled, halted = [await scene.resting() for _ in range(3)]
    before, losses = await scene.lease(), scene.losses()

    admin.config_set("maxmemory", "1")
    refused = await desk.intent(market(Side.BUY, 1), strategy="manual")
    with pytest.raises(BusUnavailable, match="cannot take writes"):
        await desk.bus.append(keys.intents, refused, source="test")
    perm_id = next(one["perm_id"] for ref, one in desk.broker.orders().items() if filled.intent_id in ref)
    desk.broker.fault("manual_fill", perm_id=perm_id, quantity="1", price="50")
    await desk.until(filled, OrderState.FILLED)
    cancel = CancelRequest(cancel_id="c1", intent_id=cancelled.intent_id, account=ACCOUNT, reason="test")
    await desk.bus.append(keys.cancels, cancel, source="test")
    await desk.until(cancelled, OrderState.CANCELLED)
    halt = Control(control_id="h1", action=ControlAction.HALT, who="test", reason="Redis is full")
    await desk.bus.append(keys.control, halt, source="test")
    await desk.until(halted, OrderState.CANCELLED)

    async def is_clean() -> bool:
        return (await desk.bus.hash_get_all(keys.halt)).get("stage") == b"clean"

    await eventually(is_clean, 15.0)
    await asyncio.sleep(2 * LEASE_S)
    assert (await scene.lease()).epoch == before.epoch and scene.losses() == losses

    admin.config_set("maxmemory", "0")
    resume = Control(control_id="r1", action=ControlAction.RESUME, who="test", reason="it has room")
    await desk.bus.append(keys.control, resume, source="test")
    last = await traded(desk)
    await scene.settled(filled, last)
    assert (await scene.lease()).epoch == before.epoch
    assert not any(refused.intent_id in ref for ref in desk.broker.orders())
