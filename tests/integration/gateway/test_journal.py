"""What happens to an account without an order, done by the real simulator and recognised by the real gateway."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from shared.messages.account import JournalKind
from shared.messages.orders import OrderState, Side
from tests.integration.gateway.journal_desk import AAPL, FOUND_S, entry, held, holding, unexplained
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(180)]


async def test_a_split_moves_shares_of_strategies_and_cancels_what_works_at_old_prices(
    start_gateway: Any, desk: Any, legs: Any, cq: Any
) -> None:
    start_gateway("a", 1)
    await desk.ready_leader()
    await desk.until(await desk.place(legs[1](Side.BUY, 10)), OrderState.FILLED)
    await holding(desk, AAPL, demo=10)
    working = await desk.place(legs[0](Side.BUY, 5, "1.00"))
    await desk.until(working, OrderState.WORKING)
    await asyncio.sleep(2.5)  # the books have agreed at the cost of before
    desk.broker.fault("split", symbol="AAPL", new=3, old=1, keep_orders=True)
    found = await entry(desk, JournalKind.SPLIT)
    assert (found.con_id, found.quantity) == (AAPL, 20) and "3:1" in found.text
    assert found.orders == ((await desk.events(working))[-1].order_ref,)
    await desk.until(working, OrderState.CANCELLED)
    await holding(desk, AAPL, demo=30)
    assert not await unexplained(desk)
    rows = json.loads(await cq("account", "--journal", "--json"))
    assert [(row["kind"], row["contract"], row["quantity"]) for row in rows] == [("split", "AAPL@NASDAQ", "20")]


async def test_a_symbol_that_changes_is_noted_and_its_new_name_found(start_gateway: Any, desk: Any, legs: Any) -> None:
    start_gateway("a", 1)
    await desk.ready_leader()
    await desk.until(await desk.place(legs[1](Side.BUY, 10)), OrderState.FILLED)
    await holding(desk, AAPL, demo=10)
    await asyncio.sleep(2.5)
    desk.broker.fault("symbol_change", symbol="AAPL", to="PEAR")
    found = await entry(desk, JournalKind.SYMBOL_CHANGE)
    assert found.con_id == AAPL and found.text == "AAPL is called PEAR now"

    async def is_renamed() -> bool:
        names = await desk.bus.hash_get_all(desk.bus.keys.contract_names)
        return names.get("PEAR@NASDAQ") == str(AAPL).encode() and "AAPL@NASDAQ" not in names

    await eventually(is_renamed)
    assert await held(desk) == {"demo": 10} and not await unexplained(desk)


async def test_an_order_by_hand_that_is_filled_in_part_is_seen_counted_and_belongs_to_nobody(
    start_gateway: Any, desk: Any, legs: Any
) -> None:
    start_gateway("a", 1)
    await desk.ready_leader()
    await desk.until(await desk.place(legs[1](Side.BUY, 10)), OrderState.FILLED)
    await holding(desk, AAPL, demo=10)
    desk.broker.fault("manual_order", symbol="AAPL", action="BUY", quantity=100, order_type="LMT", limit="1")

    async def by_hand() -> Any:
        found = [each for each in await desk.events() if each.is_external]
        return found[-1] if found else None

    shown = await eventually(by_hand, FOUND_S)
    assert (shown.quantity, shown.filled, shown.strategy) == (100, 0, "unassigned")
    desk.broker.fault("manual_fill", perm_id=shown.perm_id, quantity=30)

    async def is_counted() -> bool:
        last = await by_hand()
        return last.filled == 30 and last.remaining == 70 and not last.state.is_final

    await eventually(is_counted, FOUND_S)
    await holding(desk, AAPL, demo=10, unassigned=30)
    desk.broker.fault("manual_fill", perm_id=shown.perm_id, quantity=20)
    await holding(desk, AAPL, demo=10, unassigned=50)
    assert not await unexplained(desk)
