"""A halt cancels our orders under earlier trading ids too, and leaves what protects and what is not ours."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from ib_insync import IB, Contract, LimitOrder

from shared.messages.control import Control, ControlAction
from shared.messages.orders import OrderLeg, OrderState, OrderType, Side
from tests.integration.gateway.conftest import AAPL, ACCOUNT
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(180)]
OTHER_PROGRAM = 55


def by_hand(desk: Any) -> None:
    """Place an order in the simulated TWS' own window."""
    order = {"symbol": "AAPL", "quantity": "3", "order_type": "LMT", "limit": "40"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{desk.broker.control_port}/commands/manual_order",
        data=json.dumps(order).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=5).read()


@pytest.fixture
async def other_program(desk: Any) -> AsyncIterator[Callable[[int], Awaitable[IB]]]:
    """Connect straight to the broker's port, past any guard."""
    opened: list[IB] = []

    async def connect(client_id: int) -> IB:
        opened.append(ib := IB())
        await ib.connectAsync("127.0.0.1", desk.broker.port, clientId=client_id, timeout=10)
        return ib

    yield connect
    for ib in opened:
        ib.disconnect()


@pytest.fixture
def pool_guard(start_guard: Callable[..., dict[str, str]]) -> dict[str, str]:
    """A guard that knows both ids of the pool."""
    return start_guard(GUARD_TRADING_CLIENT_IDS="101,102")


def working(desk: Any) -> dict[int, list[int]]:
    """Return the permIds that work at the broker, by client id."""
    found: dict[int, list[int]] = {}
    for row in desk.broker.truth()["orders"]:
        if row["status"] in ("Submitted", "PreSubmitted"):
            found.setdefault(row["client_id"], []).append(row["perm_id"])
    return found


async def fill_the_book(desk: Any, legs: Any, other: IB) -> tuple[list[Any], Any]:
    """Let entries and a stop of ours work, an order by hand and one of another program."""
    limit, _ = legs
    entries = [await desk.place(limit(Side.BUY, 10, str(50 + number))) for number in range(5)]
    stop = OrderLeg(side=Side.SELL, quantity=Decimal(10), order_type=OrderType.STOP, stop_price=Decimal(20))
    protection = await desk.place(stop, is_reducing=True)
    for intent in (*entries, protection):
        await desk.until(intent, OrderState.WORKING)
    by_hand(desk)
    other.placeOrder(Contract(conId=AAPL, exchange="SMART"), LimitOrder("BUY", 2, 41.0, account=ACCOUNT))

    async def placed() -> bool:
        return len(working(desk).get(OTHER_PROGRAM, [])) == 1

    await eventually(placed)
    return entries, protection


async def halt(desk: Any, scope: str = "account", *, everything: bool = False) -> None:
    act = Control(
        control_id="h1", action=ControlAction.HALT, who="test", reason="drill", scope=scope, everything=everything
    )
    await desk.bus.append(desk.bus.keys.control, act, source="test")


async def stage(desk: Any) -> str:
    return (await desk.bus.hash_get_all(desk.bus.keys.halt)).get("stage", b"").decode()


@pytest.mark.parametrize("behind_a_guard", [False, True])
async def test_orders_under_an_earlier_id_are_cancelled(
    behind_a_guard: bool, request: pytest.FixtureRequest, start_gateway: Callable[..., Any], desk: Any, legs: Any,
    other_program: Any,
) -> None:  # fmt: skip
    env = dict(request.getfixturevalue("pool_guard")) if behind_a_guard else {}
    first = start_gateway("a", 1, **env, GATEWAY_TRADING_CLIENT_IDS="101,102")
    await desk.ready_leader(45.0)
    entries, protection = await fill_the_book(desk, legs, await other_program(OTHER_PROGRAM))
    first.kill()
    start_gateway("b", 2, **env, GATEWAY_TRADING_CLIENT_IDS="102,101")
    await desk.ready_leader(45.0, not_="a")
    newer = await desk.place(legs[0](Side.BUY, 10, "60"))
    await desk.until(newer, OrderState.WORKING)
    before = working(desk)
    assert len(before[101]) == 6 and len(before[102]) == 1
    await halt(desk)
    for intent in (*entries, newer):
        await desk.until(intent, OrderState.CANCELLED)

    async def clean() -> bool:
        return await stage(desk) == "clean"

    await eventually(clean)
    assert await desk.state(protection) is OrderState.WORKING
    after = working(desk)
    assert len(after[101]) == 1 and 102 not in after, "the stop alone is left of ours"
    kept = [key for key in before if key not in (101, 102)]
    assert len(kept) == 2 and all(after[key] == before[key] for key in kept), "by hand and of another program"


async def test_everything_takes_what_protects_and_what_is_not_ours_and_nothing_that_comes_later(
    pool_guard: dict[str, str], start_gateway: Callable[..., Any], desk: Any, legs: Any, other_program: Any
) -> None:
    start_gateway("a", 1, **pool_guard)
    await desk.ready_leader(45.0)
    other = await other_program(OTHER_PROGRAM)
    await fill_the_book(desk, legs, other)
    assert sum(len(ids) for ids in working(desk).values()) == 8
    await halt(desk, everything=True)

    async def clean() -> bool:
        return await stage(desk) == "clean"

    await eventually(clean, 20.0)
    assert working(desk) == {}
    by_hand(desk)
    await asyncio.sleep(3.0)
    assert len(working(desk)) == 1 and await stage(desk) == "clean", "a person may close by hand while it is halted"


@pytest.mark.parametrize("scope", ["strategy:demo", f"contract:{AAPL}"])
async def test_a_halt_of_a_part_cancels_its_orders_under_an_earlier_id_too(
    scope: str, pool_guard: dict[str, str], start_gateway: Callable[..., Any], desk: Any, legs: Any, other_program: Any
) -> None:
    env = dict(pool_guard)
    first = start_gateway("a", 1, **env, GATEWAY_TRADING_CLIENT_IDS="101,102")
    await desk.ready_leader(45.0)
    entries, protection = await fill_the_book(desk, legs, await other_program(OTHER_PROGRAM))
    spared = await desk.place(legs[0](Side.BUY, 10, "49"), strategy="spared")
    await desk.until(spared, OrderState.WORKING)
    first.kill()
    start_gateway("b", 2, **env, GATEWAY_TRADING_CLIENT_IDS="102,101")
    await desk.ready_leader(45.0, not_="a")
    assert len(working(desk)[101]) == 7
    await halt(desk, scope)
    for intent in entries:
        await desk.until(intent, OrderState.CANCELLED)
    if scope.startswith("contract"):
        await desk.until(spared, OrderState.CANCELLED)
    await asyncio.sleep(1.0)
    assert await desk.state(protection) is OrderState.WORKING
    left = 1 if scope.startswith("contract") else 2
    assert len(working(desk)[101]) == left and len(working(desk)[OTHER_PROGRAM]) == 1


async def test_an_id_that_is_held_is_waited_for_and_not_called_clean(
    start_gateway: Callable[..., Any], desk: Any, legs: Any, other_program: Any
) -> None:
    first = start_gateway("a", 1, GATEWAY_TRADING_CLIENT_IDS="101,102")
    await desk.ready_leader(45.0)
    (entry, *_), _ = await fill_the_book(desk, legs, await other_program(OTHER_PROGRAM))
    first.kill()
    holder: IB | None = None

    async def held() -> bool:
        nonlocal holder
        try:
            holder = await other_program(101)
        except (ConnectionError, OSError, TimeoutError):
            return False
        return True

    await eventually(held, 10.0)
    second = start_gateway("b", 2, GATEWAY_TRADING_CLIENT_IDS="102,101")
    await desk.ready_leader(45.0, not_="a")
    await halt(desk)
    await asyncio.to_thread(second.wait_for_output, "adoption.failed", 20.0)
    assert await stage(desk) == "holding" and await desk.state(entry) is OrderState.WORKING
    assert holder is not None
    holder.disconnect()
    await desk.until(entry, OrderState.CANCELLED, timeout_s=20.0)

    async def clean() -> bool:
        return await stage(desk) == "clean"

    await eventually(clean, 15.0)
