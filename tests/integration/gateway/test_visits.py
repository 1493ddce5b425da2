"""Orders under an id that is not in use any more: their fills and ends are learnt by visits, and nothing is changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from shared.messages.orders import OrderLeg, OrderState, OrderType, Side
from tests.integration.gateway.test_adoption import halt, pool_guard, stage
from tests.integration.gateway.test_faults import check_books
from tests.support import eventually

__all__ = ["pool_guard"]

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(120)]
STUCK_S = 8.0


@pytest.mark.parametrize("behind_a_guard", [False, True])
async def test_what_becomes_of_orders_under_a_stuck_id_is_learnt_when_it_is_free(
    behind_a_guard: bool, request: pytest.FixtureRequest, start_gateway: Callable[..., Any], desk: Any, legs: Any
) -> None:
    limit, market = legs
    env = dict(request.getfixturevalue("pool_guard")) if behind_a_guard else {}
    start_gateway(
        "a", 1, **env, GATEWAY_TRADING_CLIENT_IDS="101,102", GATEWAY_ID_IN_USE_LIMIT_S="0.5",
        GATEWAY_QUARANTINE_S="1.0",
    )  # fmt: skip
    await desk.ready_leader(45.0)
    fills, ends, works = [await desk.place(limit(Side.BUY, 10, str(50 + number))) for number in range(3)]
    for intent in (fills, ends, works):
        await desk.until(intent, OrderState.WORKING)
    desk.broker.fault("stuck_client", client_id=101, seconds=STUCK_S)
    desk.broker.fault("lose_orders", count=1)
    lost = await desk.place(market(Side.BUY, 5))
    await desk.until(lost, OrderState.CLAIMED)

    async def has_lost_it() -> bool:
        return bool(desk.broker.truth()["faults"]["lose_orders"] == 0)

    await eventually(has_lost_it)
    desk.broker.fault("cut", client_id=101)

    async def trades_under_the_next() -> bool:
        return [facts["trading_client_id"] for facts in (await desk.heartbeats()).values()] == [102]

    await eventually(trades_under_the_next, 20.0)
    await desk.ready_leader(20.0)
    perm_ids = {order["order_ref"]: order["perm_id"] for order in desk.broker.truth()["orders"]}
    perm_of = {intent.intent_id: next(perm_ids[ref] for ref in perm_ids if intent.intent_id in ref)
               for intent in (fills, ends)}  # fmt: skip
    desk.broker.fault("manual_fill", perm_id=perm_of[fills.intent_id], quantity="10", price="50")
    desk.broker.fault("cancel_order", perm_id=perm_of[ends.intent_id])
    newer = await desk.place(market(Side.BUY, 1))
    assert (await desk.until(newer, OrderState.FILLED)).client_id == 102, "trading goes on meanwhile"
    assert await desk.state(fills) is not OrderState.FILLED, "nobody may ask under an id that is stuck"

    await desk.until(fills, OrderState.FILLED, timeout_s=STUCK_S + 15.0)
    await desk.until(ends, OrderState.CANCELLED)
    assert (await desk.until(lost, OrderState.NOT_SENT, timeout_s=20.0)).client_id == 101
    await desk.until(works, OrderState.WORKING)
    truth = desk.broker.truth()
    assert sorted(fill.exec_id for fill in await desk.fills()) == sorted(one["exec_id"] for one in truth["executions"])
    assert truth["counts"]["orders_sent_twice"] == 0
    assert await desk.state(works) is OrderState.WORKING


@pytest.mark.parametrize("behind_a_guard", [False, True])
async def test_it_is_learnt_during_a_halt_too_and_what_reduces_is_not_refused_for_it(
    behind_a_guard: bool, request: pytest.FixtureRequest, start_gateway: Callable[..., Any], desk: Any, legs: Any
) -> None:
    limit, market = legs
    env = dict(request.getfixturevalue("pool_guard")) if behind_a_guard else {}
    start_gateway(
        "a", 1, **env, GATEWAY_TRADING_CLIENT_IDS="101,102", GATEWAY_ID_IN_USE_LIMIT_S="0.5",
        GATEWAY_QUARANTINE_S="1.0",
    )  # fmt: skip
    await desk.ready_leader(45.0)
    await desk.until(await desk.place(market(Side.BUY, 50)), OrderState.FILLED)
    terms = OrderLeg(side=Side.SELL, quantity=Decimal(10), order_type=OrderType.STOP, stop_price=Decimal(20))
    stop = await desk.place(terms, is_reducing=True)
    entry = await desk.place(limit(Side.BUY, 10, "50"))
    for intent in (stop, entry):
        await desk.until(intent, OrderState.WORKING)
    desk.broker.fault("stuck_client", client_id=101, seconds=STUCK_S)
    desk.broker.fault("lose_orders", count=1)
    lost = await desk.place(market(Side.BUY, 5))
    await desk.until(lost, OrderState.CLAIMED)
    await eventually(lambda: desk.broker.truth()["faults"]["lose_orders"] == 0)
    desk.broker.fault("cut", client_id=101)

    async def trades_under_the_next() -> bool:
        return [facts["trading_client_id"] for facts in (await desk.heartbeats()).values()] == [102]

    await eventually(trades_under_the_next, 20.0)
    await desk.ready_leader(20.0)
    await halt(desk)

    async def holds() -> bool:
        return await stage(desk) == "holding"

    await eventually(holds)
    perm_id = next(row["perm_id"] for ref, row in desk.broker.orders().items() if stop.intent_id in ref)
    desk.broker.fault("manual_fill", perm_id=perm_id, quantity="4", price="20")

    async def is_learnt() -> bool:
        return await desk.state(lost) is OrderState.NOT_SENT and await desk.state(entry) is OrderState.CANCELLED

    sold, until = 0, time.monotonic() + STUCK_S + 20.0
    while sold < 10 or (not await is_learnt() and time.monotonic() < until):
        selling = await desk.place(market(Side.SELL, 1), is_reducing=True)
        await desk.until(selling, OrderState.FILLED, timeout_s=15.0)
        sold += 1
        await asyncio.sleep(0.4)
    assert await is_learnt()
    assert await stage(desk) in ("holding", "clean") and await desk.state(stop) is OrderState.WORKING
    await check_books(desk)
    assert 4 in [fill.quantity for fill in await desk.fills()]
