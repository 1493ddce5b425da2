"""Ticks and bars on a second server: fenced there too, order flow untouched."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.bus.keys import Keys
from shared.bus.redis_client import RedisBus, open_bus
from shared.errors import Fenced
from shared.messages.orders import OrderState
from tests.conformance.bus.bench import SOURCE, an_event, lead
from tests.support import RedisServer


@pytest.fixture
async def bus(redis_server: RedisServer, valkey_server: RedisServer, deployment: str) -> AsyncIterator[RedisBus]:
    if redis_server.url == valkey_server.url:
        pytest.skip("needs two servers")
    opened = open_bus(redis_server.url, Keys(deployment), ticks_url=valkey_server.url)
    yield opened
    await opened.close()


async def test_ticks_live_elsewhere_and_are_fenced_there(bus: RedisBus, redis_server: RedisServer) -> None:
    token = await lead(bus)
    await bus.publish_ticks(token, [(0, b"x" * 64)], source=SOURCE)
    await bus.publish(token, [(bus.keys.orders, an_event(OrderState.WORKING))], source=SOURCE)
    found = await bus.read({bus.keys.ticks(0): "0-0", bus.keys.orders: "0-0"}, block_ms=10)
    assert sorted(found) == sorted([bus.keys.ticks(0), bus.keys.orders])
    with redis_server.client() as client:
        assert not client.exists(bus.keys.ticks(0)) and client.exists(bus.keys.orders)
    await lead(bus, owner="b")
    with pytest.raises(Fenced):
        await bus.publish_ticks(token, [(0, b"x" * 64)], source=SOURCE)


async def test_bars_go_to_the_tick_server_under_the_same_fence(bus: RedisBus) -> None:
    token = await lead(bus, "marketdata")
    bar = (bus.keys.bars(1), an_event(OrderState.WORKING))
    await bus.publish(token, [bar, (bus.keys.subscriptions, an_event(OrderState.WORKING))], source=SOURCE)
    assert await bus.stream_length(bus.keys.bars(1)) == await bus.stream_length(bus.keys.subscriptions) == 1
    await lead(bus, "marketdata", "b")
    with pytest.raises(Fenced):
        await bus.publish(token, [bar], source=SOURCE)
    assert await bus.stream_length(bus.keys.bars(1)) == 1
