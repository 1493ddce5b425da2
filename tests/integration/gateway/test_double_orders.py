"""One order becomes two at IB, by a change in an outage that TWS has not noticed: one stays, and counts once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.messages.orders import OrderState, Side
from tests.integration.gateway.test_faults import check_books
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(90)]
QUICK = {"GATEWAY_QUARANTINE_S": "1.0", "GATEWAY_PROBE_S": "1.0", "GATEWAY_SILENCE_LIMIT_S": "8.0"}


def rows(desk: Any, intent: Any) -> list[dict[str, Any]]:
    """Return the broker's orders of an intent, the first first."""
    found = [row for row in desk.broker.truth()["orders"] if intent.intent_id in row["order_ref"]]
    return sorted(found, key=lambda row: row["perm_id"])


async def double(desk: Any, legs: Any) -> tuple[Any, Any]:
    """Let a working order be changed in an outage of which TWS has not yet told; return the order and the change."""
    limit, _ = legs
    order = await desk.place(limit(Side.BUY, 10, "50"))
    await desk.until(order, OrderState.WORKING)
    desk.broker.fault("double_perm_id")
    desk.broker.fault("outage", seconds=3.0, code=1102, unnoticed_s=1.5)
    change = await desk.place(limit(Side.BUY, 10, "51"), modifies=order.intent_id)

    async def is_doubled() -> bool:
        return len(rows(desk, order)) == 2

    try:
        await eventually(is_doubled, 5.0)
    except AssertionError:
        seen = [(e.intent_id, e.state, e.code, e.text) for e in await desk.events()]
        raise AssertionError((seen, rows(desk, order))) from None
    return order, change


async def states(desk: Any, order: Any, perm_id: int) -> list[OrderState]:
    return [each.state for each in await desk.events(order) if each.perm_id == perm_id]


async def until_one_is_left(desk: Any, order: Any) -> None:
    async def is_one() -> bool:
        return [row["status"] for row in rows(desk, order)] == ["Submitted", "Cancelled"]

    try:
        await eventually(is_one, 20.0)
    except AssertionError:
        seen = [(each.state, each.perm_id, each.code, each.text) for each in await desk.events()]
        raise AssertionError((seen, rows(desk, order))) from None


async def test_the_second_is_cancelled_and_the_first_is_the_order(
    start_gateway: Callable[..., Any], desk: Any, legs: Any, cq: Callable[..., Any]
) -> None:
    gateway = start_gateway("a", 1, **QUICK)
    await desk.ready_leader()
    order, change = await double(desk, legs)
    await until_one_is_left(desk, order)
    assert "order.odd_cancelled" in gateway.output
    first, second = rows(desk, order)

    async def is_told() -> bool:
        return (await states(desk, order, second["perm_id"]))[-1:] == [OrderState.CANCELLED]

    await eventually(is_told)
    assert (await states(desk, order, first["perm_id"]))[-1] is OrderState.WORKING
    assert all(each.is_double for each in await desk.events() if each.perm_id == second["perm_id"])
    await desk.until(change, OrderState.REJECTED, timeout_s=20.0)
    (shown,) = json.loads(await cq("orders", "--json"))
    assert (shown["intent"], shown["limit"], shown["state"]) == (order.intent_id, "50", "working")
    desk.broker.fault("manual_fill", perm_id=first["perm_id"], quantity="10", price="50")
    await desk.until(order, OrderState.FILLED)
    await check_books(desk)
    assert [(fill.quantity, fill.is_double) for fill in await desk.fills()] == [(10, False)]


async def test_what_the_second_fills_before_it_is_seen_is_the_strategys_and_the_first_works_on(
    start_gateway: Callable[..., Any], desk: Any, legs: Any, cq: Callable[..., Any]
) -> None:
    start_gateway("a", 1, **QUICK)
    await desk.ready_leader()
    order, change = await double(desk, legs)
    first, second = rows(desk, order)
    desk.broker.fault("manual_fill", perm_id=second["perm_id"], quantity="4", price="51")
    await until_one_is_left(desk, order)
    await check_books(desk)
    (fill,) = await desk.fills()
    assert (fill.quantity, fill.strategy, fill.is_double, fill.perm_id) == (4, "demo", True, second["perm_id"])
    await desk.until(change, OrderState.REJECTED, timeout_s=20.0)
    (shown,) = json.loads(await cq("orders", "--json"))
    assert (shown["intent"], shown["state"], shown["filled"]) == (order.intent_id, "working", "0")
    desk.broker.fault("manual_fill", perm_id=first["perm_id"], quantity="10", price="50")

    async def is_filled() -> bool:
        return (await states(desk, order, first["perm_id"]))[-1] is OrderState.FILLED

    await eventually(is_filled)
    await check_books(desk)
    assert [(fill.quantity, fill.is_double) for fill in await desk.fills()] == [(4, True), (10, False)]
    assert json.loads(await cq("orders", "--json")) == []
