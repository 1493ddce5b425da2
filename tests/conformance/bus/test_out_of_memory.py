"""Without memory, leases, halts, cancels and outcomes still pass; what can wait says so (architecture §4)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.bus.keys import Keys
from shared.bus.ports import UnitCommit
from shared.bus.redis_client import RedisBus, open_bus
from shared.errors import BusUnavailable
from shared.messages.control import Control, ControlAction
from shared.messages.orders import CancelRequest, OrderState
from tests.conformance.bus.bench import SOURCE, a_claim, an_event, an_intent, lead
from tests.conformance.bus.test_incarnation import FEE
from tests.support import RedisServer


@pytest.fixture
async def full(each_server: RedisServer, deployment: str) -> AsyncIterator[tuple[RedisBus, RedisServer]]:
    bus = open_bus(each_server.url, Keys(deployment))
    yield bus, each_server
    with each_server.client() as client:
        client.config_set("maxmemory", "0")
    await bus.close()


async def test_what_passes_and_what_waits(full: tuple[RedisBus, RedisServer]) -> None:
    bus, server = full
    token, worker = await lead(bus), await lead(bus, "strategy.a")
    await bus.take_unit(worker, "u", seen=await bus.load_unit("u"))
    with server.client() as client:
        client.config_set("maxmemory", "1")
    await bus.hash_set(bus.keys.halt, {"stage": "none"})
    await bus.append(bus.keys.control, Control(control_id="1", action=ControlAction.HALT, who="me"), source=SOURCE)
    await bus.append(bus.keys.cancels, CancelRequest(cancel_id="1", intent_id="i" * 20), source=SOURCE)
    await bus.lease_renew(token)
    assert (await bus.claim(token, a_claim(token), source=SOURCE))[0].is_new
    assert await bus.publish(token, [(bus.keys.orders, an_event(OrderState.WORKING))], source=SOURCE)
    assert await bus.publish_fills(token, [FEE], source=SOURCE) == [True]
    await bus.hash_set(bus.keys.halt, {"stage": "holding"})
    assert await bus.hash_get_all(bus.keys.halt) == {"stage": b"holding"}
    for key in (bus.keys.open_orders, bus.keys.positions, bus.keys.books, bus.keys.account_values, bus.keys.contracts):
        await bus.hash_set(key, {"x": "1"})  # what waited here would keep every outcome back that is behind it
        assert await bus.hash_get_all(key) == {"x": b"1"}
    for act in (
        bus.hash_set(bus.keys.strategies, {"u": "1"}),
        bus.append(bus.keys.intents, an_intent(), source=SOURCE),
        bus.publish_ticks(token, [(0, b"x" * 64)], source=SOURCE),
        bus.commit_unit(worker, UnitCommit("u", 1, b"", {}, b""), source=SOURCE),
    ):
        with pytest.raises(BusUnavailable, match="cannot take writes"):
            await act


async def test_a_large_hash_passes_too(full: tuple[RedisBus, RedisServer]) -> None:
    bus, server = full
    with server.client() as client:
        client.config_set("maxmemory", "1")
    many = {str(number): b"x" for number in range(9000)}
    await bus.hash_set(bus.keys.open_orders, many)
    assert await bus.hash_get_all(bus.keys.open_orders) == many
