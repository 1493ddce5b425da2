"""The leadership is handed over on purpose: in order, at once, and not back (P2, P5)."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import Any

import pytest

from shared.bus.keys import Role
from shared.clock import random_token
from shared.messages.control import Control, ControlAction
from shared.messages.orders import OrderState, Side
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process]

LEASE_S = 5.0


async def ask(desk: Any) -> None:
    control = Control(
        ts_init_ns=time.time_ns(), control_id=random_token(12), action=ControlAction.HANDOVER, who="anna", reason="test"
    )
    await desk.bus.append(desk.bus.keys.control, control, source="test")


def said(gateway: Any, event: str) -> list[dict[str, Any]]:
    """Return what a gateway's log says of an event."""
    lines = [json.loads(line) for line in gateway.output.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == event]


async def standby_is_up(desk: Any) -> None:
    async def up() -> bool:
        beats = (await desk.heartbeats()).values()
        return any(each["role"] == "standby" and each["data_link"] == "READY" and each["caught_up"] for each in beats)

    await eventually(up)


@pytest.mark.parametrize("how", ["control", "SIGTERM"])
async def test_a_standby_takes_over_without_waiting_for_the_lease(
    start_gateway: Any, desk: Any, legs: Any, how: str
) -> None:
    limit, market = legs
    env = {"CQ_LEASE_TTL_S": str(LEASE_S)}
    gateways = {"a": start_gateway("a", 1, **env)}
    leader = await desk.ready_leader()
    gateways["b"] = start_gateway("b", 2, **env)
    await standby_is_up(desk)
    intents: list[Any] = []
    stop = asyncio.Event()

    async def trade() -> None:
        while not stop.is_set():
            intents.append(await desk.place(market(Side.BUY, 1) if len(intents) % 2 else limit(Side.BUY, 1, "50")))
            await asyncio.sleep(0.05)

    trading = asyncio.create_task(trade())
    await asyncio.sleep(0.5)
    began = time.monotonic()
    if how == "control":
        await ask(desk)
    else:
        gateways[leader].signal(signal.SIGTERM)

    async def another_leads() -> bool:
        return (await desk.bus.lease_view(Role.GATEWAY)).owner == "b"

    await eventually(another_leads)
    won_s = time.monotonic() - began
    await desk.ready_leader(not_=leader)
    ready_s = time.monotonic() - began
    print(f"{how}: another leads after {won_s:.2f} s, ready after {ready_s:.2f} s; a lease is {LEASE_S:g} s")
    assert won_s < LEASE_S / 2
    await asyncio.sleep(0.5)
    stop.set()
    await trading

    async def all_known() -> bool:
        states = [await desk.state(intent) for intent in intents]
        return all(state in (OrderState.FILLED, OrderState.WORKING) for state in states)

    await eventually(all_known, 20.0, every_s=0.2)
    events = await desk.events()
    assert not [event for event in events if event.state is OrderState.UNKNOWN], "nothing may be left in doubt"
    truth = desk.broker.truth()
    assert truth["counts"]["orders_sent_twice"] == 0 and len(truth["orders"]) == len(intents)
    assert (await desk.bus.lease_view(Role.GATEWAY)).owner == "b", "it was taken back"
    if how == "SIGTERM":
        assert gateways[leader].wait() == 0


async def test_without_a_standby_nothing_is_handed_over(start_gateway: Any, desk: Any, legs: Any) -> None:
    gateway = start_gateway("a", 1)
    await desk.ready_leader()
    before = await desk.bus.lease_view(Role.GATEWAY)
    await ask(desk)

    await eventually(lambda: said(gateway, "handover.refused"))
    assert (await desk.bus.lease_view(Role.GATEWAY)).epoch == before.epoch
    await desk.until(await desk.place(legs[1](Side.BUY, 1)), OrderState.FILLED)


async def test_a_word_to_a_predecessor_is_not_done_again(start_gateway: Any, desk: Any) -> None:
    await ask(desk)
    start_gateway("a", 1)
    start_gateway("b", 2)
    leader = await desk.ready_leader()
    await standby_is_up(desk)
    epoch = (await desk.bus.lease_view(Role.GATEWAY)).epoch
    await asyncio.sleep(1.0)
    assert (await desk.bus.lease_view(Role.GATEWAY)).epoch == epoch, leader


@pytest.mark.parametrize("how", ["control", "SIGTERM"])
async def test_an_order_lost_with_an_earlier_session_holds_no_hand_over_up(
    start_gateway: Any, desk: Any, legs: Any, how: str
) -> None:
    """The broker cut the session an order had just gone into: no waiting of the leader's shows that order again."""
    limit, market = legs
    env = {"CQ_LEASE_TTL_S": str(LEASE_S), "GATEWAY_QUARANTINE_S": "2", "GATEWAY_ANSWER_LIMIT_S": "1.5"}
    gateways = {"a": start_gateway("a", 1, **env)}
    leader = await desk.ready_leader()
    gateways["b"] = start_gateway("b", 2, **env)
    await standby_is_up(desk)
    works = await desk.place(limit(Side.BUY, 1, "50"))
    await desk.until(works, OrderState.WORKING)
    desk.broker.fault("missing_end", name="completedOrdersEnd", count=1)  # the answer to the whole day takes its time
    desk.broker.fault("lose_orders", count=1)
    lost = await desk.place(market(Side.BUY, 1))
    await desk.until(lost, OrderState.CLAIMED)
    desk.broker.fault("cut", client_id=101)

    def is_back() -> bool:
        return [event["state"] for event in said(gateways[leader], "link.changed")][-2:] == ["RECONCILING", "READY"]

    await eventually(lambda: len(said(gateways[leader], "link.connected")) == 2 and is_back())
    if how == "control":
        await ask(desk)
    else:
        gateways[leader].signal(signal.SIGTERM)
    await eventually(lambda: said(gateways[leader], "handover.drained"))
    (drained,) = said(gateways[leader], "handover.drained")
    assert drained["took_ms"] < 500, "it waited for an order that nobody shows"
    assert await desk.ready_leader(not_=leader) == "b"
    await desk.until(lost, OrderState.NOT_SENT, timeout_s=20.0)
    await desk.until(await desk.place(market(Side.SELL, 1)), OrderState.FILLED)
    truth = desk.broker.truth()
    assert truth["counts"]["orders_sent_twice"] == 0 and len(truth["orders"]) == 2
    assert await desk.state(works) is OrderState.WORKING


async def test_an_echo_that_comes_late_holds_no_hand_over_up_and_leaves_nothing_in_doubt(
    start_gateway: Any, desk: Any, legs: Any
) -> None:
    """As behind the broker's answer to a busy day: the order is there, and its leader has not heard of it."""
    limit, _ = legs
    env = {"CQ_LEASE_TTL_S": str(LEASE_S)}
    gateways = {"a": start_gateway("a", 1, **env)}
    leader = await desk.ready_leader()
    gateways["b"] = start_gateway("b", 2, **env)
    await standby_is_up(desk)
    for name in ("openOrder", "orderStatus"):
        desk.broker.fault("late_message", name=name, count=2, delay_ms=4000)
    late = await desk.place(limit(Side.BUY, 1, "50"))
    await eventually(lambda: len(desk.broker.truth()["orders"]) == 1)
    await ask(desk)
    await eventually(lambda: said(gateways[leader], "handover.drained"))
    (drained,) = said(gateways[leader], "handover.drained")
    assert drained["took_ms"] < 500
    assert len(drained["unechoed"]) == 1
    assert await desk.ready_leader(not_=leader) == "b"
    await desk.until(late, OrderState.WORKING)
    assert [event.state for event in await desk.events(late)] == [OrderState.CLAIMED, OrderState.WORKING]
    assert desk.broker.truth()["counts"]["orders_sent_twice"] == 0
