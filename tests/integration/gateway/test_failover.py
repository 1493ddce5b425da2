"""The leader is killed under order flow, again and again: no order twice, no fill lost (P2, P3, P5)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from shared.messages.account import BookMove, PositionReport, Unexplained
from shared.messages.codec import decode_body
from shared.messages.orders import OrderState, Side
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process]


async def _trade(desk: Any, legs: Any, stop: asyncio.Event, intents: list[Any]) -> None:
    """Place and cancel orders of all kinds as fast as the budget allows, until told to stop."""
    limit, market = legs
    dice = random.Random(7)
    while not stop.is_set():
        side = dice.choice([Side.BUY, Side.SELL])
        kind = dice.random()
        if kind < 0.6:
            leg = market(side, dice.randint(1, 300))
        elif side is Side.BUY:
            leg = limit(side, 10, "50")
        else:
            leg = limit(side, 10, "900")
        intent = await desk.place(leg, valid_s=8.0)
        intents.append(intent)
        if kind >= 0.6:
            victim = dice.choice(intents)
            await desk.cancel(victim)
        await asyncio.sleep(0.1)


async def _kill_leaders(desk: Any, legs: Any, start: Callable[..., Any], kills: int, **env: str) -> dict[str, Any]:
    gateways = {"a": start("a", 1, **env), "b": start("b", 2, **env)}
    leader = await desk.ready_leader()
    intents: list[Any] = []
    stop = asyncio.Event()
    trading = asyncio.create_task(_trade(desk, legs, stop, intents))
    dice = random.Random(11)
    for number in range(kills):
        await asyncio.sleep(0.3 + dice.random() * 0.7)
        gateways[leader].kill()
        dead = leader
        leader = await desk.ready_leader(20.0, not_=dead)
        gateways[dead] = start(dead, {"a": 1, "b": 2}[dead], **env)
        print(f"kill {number}: {dead} -> {leader}, intents {len(intents)}")
        await asyncio.sleep(1.0)
    stop.set()
    await trading

    async def settled() -> bool:
        last: dict[tuple[str, int], OrderState] = {}
        for event in await desk.events():
            last[event.intent_id, event.leg] = event.state
        missing = [each.intent_id for each in intents if (each.intent_id, 0) not in last]
        doubtful = [key for key, state in last.items() if state in (OrderState.CLAIMED, OrderState.UNKNOWN)]
        assert not missing and not doubtful, f"missing {missing[:3]}, in doubt {doubtful[:3]}"
        return True

    await eventually(settled, 60.0, every_s=0.5)
    truth = desk.broker.truth()

    async def same_fills() -> bool:
        seen = [fill.exec_id for fill in await desk.fills()]
        true = [each["exec_id"] for each in desk.broker.truth()["executions"]]
        assert len(seen) == len(set(seen)), "a fill was published twice"
        assert set(seen) == set(true), f"{len(set(true) - set(seen))} fills lost"
        return True

    await eventually(same_fills, 30.0, every_s=0.5)
    truth = desk.broker.truth()
    assert truth["counts"]["orders_sent_twice"] == 0, truth["orders_sent_twice"]
    await _same_orders(desk, intents)
    await _one_voice(desk)
    await _books_add_up(desk)
    assert await desk.bus.stream_length(desk.bus.keys.dead_letter) == 0
    return {"intents": len(intents), "orders": truth["counts"]["orders"], "executions": len(truth["executions"])}


async def _same_orders(desk: Any, intents: list[Any]) -> None:
    """Every order at the broker has the state on the bus that the broker gives it."""
    words = {"Filled": OrderState.FILLED, "Cancelled": OrderState.CANCELLED, "Submitted": OrderState.WORKING}
    at_broker = desk.broker.orders()
    last = {event.order_ref: event for event in await desk.events()}
    for ref, order in at_broker.items():
        assert last[ref].state is words.get(order["status"], last[ref].state), (ref, order, last[ref])
        assert str(last[ref].filled) == order["filled"].removesuffix(".0"), (ref, order, last[ref])
    for event in last.values():
        if event.state is OrderState.NOT_SENT:
            assert event.order_ref not in at_broker, event


async def _books_add_up(desk: Any) -> None:
    """After all the kills the strategy holds what the broker shows, and nobody ever cried wolf (P11)."""

    async def add_up() -> bool:
        stored = await desk.bus.hash_get_all(desk.bus.keys.positions)
        reports = [decode_body("position", body) for body in stored.values()]
        for report in reports:
            assert isinstance(report, PositionReport)
            assert sum(share.quantity for share in report.shares) == report.position, report
            assert {share.strategy for share in report.shares} <= {"demo"}, report
        return bool(reports)

    await eventually(add_up, 20.0, every_s=0.2)
    words = [each for each in await desk.messages(desk.bus.keys.account) if isinstance(each, Unexplained | BookMove)]
    assert not words


async def _one_voice(desk: Any) -> None:
    """No entry of an older epoch after the first of a newer one (P5)."""
    for stream in (desk.bus.keys.orders, desk.bus.keys.fills, desk.bus.keys.broker_status, desk.bus.keys.account):
        epochs = [int(entry.fields[b"epoch"]) for entry in await desk.bus.read_range(stream)]
        assert epochs == sorted(epochs), stream


@pytest.mark.timeout(120)
async def test_killed_leaders_lose_and_double_nothing(desk: Any, legs: Any, start_gateway: Callable[..., Any]) -> None:
    result = await _kill_leaders(desk, legs, start_gateway, kills=3)
    print(result)
    assert result["executions"] > 10


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.long
async def test_twenty_killed_leaders(desk: Any, legs: Any, start_gateway: Callable[..., Any]) -> None:
    result = await _kill_leaders(desk, legs, start_gateway, kills=20)
    print(result)
    assert result["executions"] > 100


@pytest.mark.timeout(90)
async def test_a_stopped_leader_hands_over_at_once(desk: Any, legs: Any, start_gateway: Callable[..., Any]) -> None:
    limit, _ = legs
    gateways = {"a": start_gateway("a", 1), "b": start_gateway("b", 2)}
    leader = await desk.ready_leader()
    intent = await desk.place(limit(Side.BUY, 10, "50"))
    await desk.until(intent, OrderState.WORKING)
    assert gateways[leader].terminate() == 0
    await desk.ready_leader(not_=leader)
    await desk.cancel(intent)  # the successor owns what its predecessor placed
    await desk.until(intent, OrderState.CANCELLED)
