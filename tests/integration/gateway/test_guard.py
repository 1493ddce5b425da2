"""Orders through the real guard: the trading claim is taken, halt holds there too, a successor cuts its predecessor."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from shared.messages.control import Control, ControlAction
from shared.messages.orders import OrderState, Side
from shared.messages.requests import WhatIfAnswer, WhatIfQuery
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(90)]


@pytest.fixture
def guard(start_guard: Callable[..., dict[str, str]]) -> dict[str, str]:
    """A guard in front of the simulator; what a gateway's environment needs to use it."""
    return start_guard()


def holds(guard: dict[str, str]) -> bool:
    with urllib.request.urlopen(guard["GATEWAY_GUARD_HTTP"] + "/halt", timeout=5) as reply:
        return bool(json.load(reply)["holding"])


async def test_a_successor_trades_through_the_guard(
    guard: dict[str, str], start_gateway: Callable[..., Any], desk: Any, legs: Any
) -> None:
    limit, market = legs
    gateways = {"a": start_gateway("a", 1, **guard), "b": start_gateway("b", 2, **guard)}
    leader = await desk.ready_leader(20.0)
    filled = await desk.place(market(Side.BUY, 5))
    await desk.until(filled, OrderState.FILLED)
    resting = await desk.place(limit(Side.BUY, 10, "50"))
    await desk.until(resting, OrderState.WORKING)
    gateways[leader].kill()
    await desk.ready_leader(20.0, not_=leader)
    await desk.cancel(resting)
    await desk.until(resting, OrderState.CANCELLED)
    assert desk.broker.truth()["counts"]["orders_sent_twice"] == 0


async def test_halt_and_resume_reach_the_guard(
    guard: dict[str, str], start_gateway: Callable[..., Any], desk: Any, legs: Any
) -> None:
    start_gateway("a", 1, **guard)
    await desk.ready_leader(20.0)
    for action, stage, is_holding in ((ControlAction.HALT, b"clean", True), (ControlAction.RESUME, b"none", False)):
        act = Control(control_id=str(action), action=action, who="test", reason="drill")
        await desk.bus.append(desk.bus.keys.control, act, source="test")

        async def reached(stage: bytes = stage) -> bool:
            return (await desk.bus.hash_get_all(desk.bus.keys.halt)).get("stage") == stage

        await eventually(reached)
        assert holds(guard) is is_holding
    intent = await desk.place(legs[1](Side.BUY, 5))
    await desk.until(intent, OrderState.FILLED)


async def test_a_position_can_be_closed_while_the_guard_holds(
    guard: dict[str, str], start_gateway: Callable[..., Any], desk: Any, legs: Any
) -> None:
    _, market = legs
    start_gateway("a", 1, **guard)
    await desk.ready_leader(20.0)
    bought = await desk.place(market(Side.BUY, 5))
    await desk.until(bought, OrderState.FILLED)
    with urllib.request.urlopen(guard["GATEWAY_GUARD_HTTP"] + "/halt", data=b"{}", timeout=5) as reply:
        assert reply.status == 200
    more = await desk.place(market(Side.BUY, 5))
    await desk.until(more, OrderState.REJECTED)
    closed = await desk.place(market(Side.SELL, 5))
    await desk.until(closed, OrderState.FILLED)


async def test_a_what_if_passes_the_guards_halt_and_places_nothing(
    guard: dict[str, str], start_gateway: Callable[..., Any], desk: Any, legs: Any
) -> None:
    limit, market = legs
    start_gateway("a", 1, **guard)
    await desk.ready_leader(20.0)
    await desk.until(await desk.place(market(Side.BUY, 5)), OrderState.FILLED)
    before = desk.broker.truth()["orders"]
    with urllib.request.urlopen(guard["GATEWAY_GUARD_HTTP"] + "/halt", data=b"{}", timeout=5) as reply:
        assert reply.status == 200 and holds(guard)
    answers: list[WhatIfAnswer] = []
    for number, leg in enumerate([limit(Side.BUY, 100, "50"), market(Side.SELL, 5)]):
        query = WhatIfQuery(
            query_id=str(number), client="me", deadline_ns=time.time_ns() + 10**10, con_id=265598, order=leg
        )
        await desk.bus.append(desk.bus.keys.queries, query, source="test")

        async def answered(number: int = number) -> Any:
            found = await desk.messages(desk.bus.keys.answers("me"))
            return next((each for each in found if each.query_id == str(number)), None)

        answers.append(await eventually(answered))
    assert not any(answer.error for answer in answers)
    first = answers[0]
    assert first.init_margin_after is not None and first.init_margin_before is not None
    assert first.init_margin_after > first.init_margin_before
    assert all(answer.commission is not None and answer.equity_with_loan_after for answer in answers)
    assert desk.broker.truth()["orders"] == before and not [e for e in await desk.events() if e.is_external]
