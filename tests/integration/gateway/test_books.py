"""The minute's check of the books against the real simulator: found, alarmed, never guessed away (P3, P11)."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from shared.clock import random_token
from shared.messages.account import BookMove, PositionReport, Unexplained
from shared.messages.codec import decode_body
from shared.messages.control import Control, ControlAction
from shared.messages.orders import OrderState, Side
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(120)]

AAPL = 265598


async def row(desk: Any) -> PositionReport:
    stored = await desk.bus.hash_get_all(desk.bus.keys.positions)
    found = decode_body("position", stored[str(AAPL)]) if str(AAPL) in stored else None
    return found if isinstance(found, PositionReport) else PositionReport(account="", con_id=AAPL, position=Decimal(0))


async def held(desk: Any) -> dict[str, int]:
    return {share.strategy: int(share.quantity) for share in (await row(desk)).shares}


async def words(desk: Any) -> list[Unexplained]:
    return [each for each in await desk.messages(desk.bus.keys.account) if isinstance(each, Unexplained)]


async def test_a_trade_nobody_shows_us_is_found_stands_and_is_accepted(
    start_gateway: Any, desk: Any, legs: Any
) -> None:
    gateways = {"a": start_gateway("a", 1), "b": start_gateway("b", 2)}
    leader = await desk.ready_leader()
    intent = await desk.place(legs[1](Side.BUY, 10))
    await desk.until(intent, OrderState.FILLED)

    async def is_held_by_demo() -> bool:
        return await held(desk) == {"demo": 10}

    await eventually(is_held_by_demo)
    assert not await words(desk)

    began = time.monotonic()
    desk.broker.fault("manual_order", symbol="AAPL", action="SELL", quantity=4, order_type="MKT")

    async def is_told() -> bool:
        found = await words(desk)
        return bool(found) and (found[-1].expected, found[-1].reported) == (10, 6)

    await eventually(is_told, 30.0)
    print(f"an unexplained difference was found after {time.monotonic() - began:.1f} s")

    async def is_shown() -> bool:
        return (await row(desk)).unexplained == -4

    await eventually(is_shown)
    assert await held(desk) == {"demo": 10}

    gateways[leader].kill()
    await desk.ready_leader(20.0, not_=leader)
    count = len(await words(desk))

    async def is_told_again() -> bool:
        return len(await words(desk)) > count

    await eventually(is_told_again, 30.0)
    assert (await words(desk))[-1].reported == 6, "a successor must neither forget nor adopt it"

    await desk.bus.append(
        desk.bus.keys.control,
        Control(
            ts_init_ns=time.time_ns(), control_id=random_token(12), action=ControlAction.ACCEPT_POSITION,
            scope=f"contract:{AAPL}", who="anna", reason="sold by phone",
        ),
        source="test",
    )  # fmt: skip

    async def is_over() -> bool:
        last = (await words(desk))[-1]
        return last.expected == last.reported == 6 and await held(desk) == {"demo": 10, "unassigned": -4}

    await eventually(is_over)
    moves = [each for each in await desk.messages(desk.bus.keys.account) if isinstance(each, BookMove)]
    assert [(move.strategy, move.quantity, move.who) for move in moves] == [("unassigned", -4, "anna")]


async def test_holdings_of_the_first_start_are_unassigned(start_gateway: Any, desk: Any, legs: Any) -> None:
    desk.broker.fault("manual_order", symbol="AAPL", action="BUY", quantity=25, order_type="MKT")
    start_gateway("a", 1)
    await desk.ready_leader()

    async def is_unassigned() -> bool:
        return await held(desk) == {"unassigned": 25}

    await eventually(is_unassigned, 40.0)
    await desk.until(await desk.place(legs[1](Side.BUY, 10)), OrderState.FILLED)

    async def is_shared() -> bool:
        return await held(desk) == {"demo": 10, "unassigned": 25}

    await eventually(is_shared)
    assert not await words(desk)
