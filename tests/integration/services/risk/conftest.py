"""The market that each test of the real risk service trades in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.bus.keys import Keys
from shared.bus.redis_client import open_bus
from tests.risk_market import Market
from tests.support import RedisServer


@pytest.fixture
async def market(redis_server: RedisServer, deployment: str) -> AsyncIterator[Market]:
    bus = open_bus(redis_server.url, Keys(deployment), client_name="test")
    world = Market(bus)
    await world.open()
    yield world
    await bus.close()
