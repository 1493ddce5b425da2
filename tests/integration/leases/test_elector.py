"""Elections on a real server: one leader, a silent one replaced, a resigned one at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from shared.bus.keys import Keys
from shared.bus.redis_client import RedisBus, open_bus
from shared.leases.core import LeaseTiming
from shared.leases.elector import Elector
from tests.support import RedisServer, eventually

TIMING = LeaseTiming.of_ttl(1.5)
"""Long enough for a machine that is busy with other tests."""


@pytest.fixture
async def buses(redis_server: RedisServer, deployment: str) -> AsyncIterator[list[RedisBus]]:
    opened = [open_bus(redis_server.url, Keys(deployment), client_name=name) for name in "ab"]
    yield opened
    for bus in opened:
        await bus.close()


async def test_the_second_waits_until_the_first_resigns(buses: list[RedisBus]) -> None:
    first, second = (Elector(bus, "risk", name, TIMING) for bus, name in zip(buses, "ab", strict=True))
    token = await first.win()
    waiting = asyncio.create_task(second.win())
    await asyncio.sleep(2 * TIMING.ttl_s)
    assert not waiting.done() and first.has_lease()
    await first.resign("test")
    assert not first.has_lease() and first.token is None
    successor = await asyncio.wait_for(waiting, 15)
    assert successor.epoch > token.epoch
    await second.resign("test")


async def test_a_hung_event_loop_loses_the_lease(buses: list[RedisBus]) -> None:
    first, second = (Elector(bus, "risk", name, TIMING) for bus, name in zip(buses, "ab", strict=True))
    await first.win()
    time.sleep(2.5 * TIMING.ttl_s)
    assert not first.has_lease()
    await asyncio.wait_for(second.win(), 15)
    assert await first.lost()
    await second.resign("test")


async def test_a_restarted_server_ends_leadership(buses: list[RedisBus], redis_server: RedisServer) -> None:
    elector = Elector(buses[0], "risk", "a", TIMING)
    await elector.win()
    lost = asyncio.create_task(elector.lost())
    redis_server.restart()
    assert await asyncio.wait_for(lost, 15)
    again = await asyncio.wait_for(elector.win(), 15)
    assert again.epoch
    await eventually(elector.has_lease)
    await elector.resign("test")
