"""A leader whose session stays down gives way to a standby whose session is up, and not again at once."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.gateway.core.tws_codes import CodeTable
from services.gateway.metrics import LINK_STATE
from services.gateway.settings import GatewaySettings
from services.gateway.shell.leadership import RESIGN_EVERY_S, Gateway
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import ManualClock
from shared.errors import Fenced
from shared.messages.control import LinkState


def settings(**more: Any) -> GatewaySettings:
    values: dict[str, Any] = {
        "CQ_MODE": "sim", "CQ_INSTANCE": "a", "IB_SIM_ACCOUNT": "DUSIM0001", "IB_SIM_CLIENT_ID": 1,
        "GATEWAY_LINK_GRACE_S": 4.0, **more,
    }  # fmt: skip
    return GatewaySettings(**values)


async def resigns(gateway: Gateway, clock: ManualClock, seconds: float) -> bool:
    """Let the leader's watch over its link run for a while; tell whether it resigned."""
    watching = asyncio.get_running_loop().create_task(gateway._resign_without_link())
    for _ in range(int(seconds)):
        for _ in range(20):
            await asyncio.sleep(0)
        clock.advance(1.0)
    for _ in range(20):
        await asyncio.sleep(0)
    if not watching.done():
        watching.cancel()
        return False
    with pytest.raises(Fenced, match="a standby is up"):
        await watching
    return True


async def test_a_leader_without_a_link_resigns_only_for_a_standby_that_has_one_and_not_twice_in_a_row() -> None:
    bus, clock = MemoryBus(MemoryServer(), Keys("sim")), ManualClock(monotonic_ns=10**12)
    gateway = Gateway(settings(), cast(Any, bus), CodeTable({}), clock=clock)
    trading = SimpleNamespace(not_ready_s=3.0, state=LinkState.DOWN)
    gateway.trading = cast(Any, trading)

    async def standby(link: str) -> None:
        facts = {"instance": "b", "role": "standby", "data_link": link}
        await bus.hash_set(bus.keys.gateways, {"b": "1"})
        await bus.set_text(bus.keys.heartbeat("gateway", "b"), json.dumps(facts))

    await standby("READY")
    assert not await resigns(gateway, clock, 3), "it has not been down for longer than the grace"
    trading.not_ready_s = 5.0
    await standby("DOWN")
    assert not await resigns(gateway, clock, 3), "the standby's session is down too"
    await standby("READY")
    assert await resigns(gateway, clock, 3)
    assert not await resigns(gateway, clock, RESIGN_EVERY_S - 5), "two would throw the lease to and fro"
    assert await resigns(gateway, clock, 10)


@pytest.mark.parametrize("kind, holds", [({}, False), ({"GATEWAY_STANDBY": "hot"}, True)])
async def test_only_a_hot_standby_holds_subscriptions_and_says_nothing_of_them(
    kind: dict[str, str], *, holds: bool
) -> None:
    clock = ManualClock(monotonic_ns=10**12)
    bus = MemoryBus(MemoryServer(), Keys("sim"))
    await bus.lease_acquire("gateway", "b", await bus.lease_view("gateway"), at_least_epoch=1)
    gateway = Gateway(settings(**kind), cast(Any, bus), CodeTable({}), clock=clock)
    standing_by = asyncio.get_running_loop().create_task(gateway._stand_by())
    for _ in range(20):
        await asyncio.sleep(0)
    feed = gateway.watch.desk.feed
    assert (feed is not None and feed.feed.is_silent) is holds
    assert gateway.facts()["data_lines"] == 0
    gateway._step_down()
    assert gateway.watch.desk.feed is feed, "its prices go on to be known"
    shown = {state: LINK_STATE.labels(str(state))._value.get() for state in LinkState}
    assert [state for state, value in shown.items() if value] == [LinkState.STANDBY]
    standing_by.cancel()
    await asyncio.wait([standing_by])


async def test_a_gateway_leads_only_once_it_has_read_what_is_on_the_bus() -> None:
    """Of two standbys the one that has read leads: the other would read first, with nobody leading meanwhile."""
    clock = ManualClock(monotonic_ns=10**12)
    bus = MemoryBus(MemoryServer(), Keys("sim"))
    gateway = Gateway(settings(), cast(Any, bus), CodeTable({}), clock=clock)
    may_read = asyncio.Event()
    read = gateway._follower.read_to_end

    async def slow() -> None:
        await may_read.wait()
        await read()

    gateway._follower.read_to_end = slow  # type: ignore[method-assign]
    standing_by = asyncio.get_running_loop().create_task(gateway._stand_by())

    async def turn() -> None:
        for _ in range(20):
            for _ in range(20):
                await asyncio.sleep(0)
            clock.advance(0.1)

    await turn()
    assert not (await bus.lease_view("gateway")).owner
    may_read.set()
    await turn()
    token = await asyncio.wait_for(standing_by, 1.0)
    assert (await bus.lease_view("gateway")).owner == "a"
    gateway._step_down()
    assert not gateway._has_read, "after a leadership it reads anew"
    await gateway.elector.resign("over")
    assert token.epoch
