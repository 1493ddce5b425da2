"""Options that end: recognised by the real gateway, done by the real simulator."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.messages.account import JournalKind
from tests.integration.gateway.journal_desk import AAPL, FOUND_S, holding, journal, listed, unexplained
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(180)]


@pytest.mark.parametrize(
    ("command", "action", "kind"),
    [
        pytest.param("exercise", "BUY", JournalKind.EXERCISE, marks=pytest.mark.long),
        ("assign", "SELL", JournalKind.ASSIGNMENT),
    ],
)
async def test_an_option_that_ends_in_shares(
    command: str, action: str, kind: JournalKind, start_gateway: Any, desk: Any
) -> None:
    con_id, symbol = listed("C")
    desk.broker.fault("manual_order", symbol=symbol, action=action, quantity=2, order_type="MKT")
    start_gateway("a", 1)
    await desk.ready_leader()
    sign = 1 if action == "BUY" else -1
    await holding(desk, con_id, unassigned=2 * sign)
    await asyncio.sleep(20)  # the cash has settled, so that what follows is judged against it
    desk.broker.fault(command, contract=symbol, quantity=2)
    await holding(desk, AAPL, unassigned=200 * sign)
    entries = [each for each in await journal(desk) if each.kind is kind and each.con_id]
    assert {each.con_id: each.quantity for each in entries} == {con_id: -2 * sign, AAPL: 200 * sign}

    async def is_paid() -> bool:
        return any(each.kind is kind and each.amount * sign < 0 for each in await journal(desk))

    await eventually(is_paid, FOUND_S)
    assert not await unexplained(desk)


@pytest.mark.parametrize(("right", "is_delivered"), [("C", True), ("P", False)])
async def test_an_option_that_expires_before_its_day_is_explained_only_by_its_shares(
    right: str, is_delivered: bool, start_gateway: Any, desk: Any
) -> None:
    con_id, symbol = listed(right)  # the call of the lowest strike is in the money, the put is not
    desk.broker.fault("manual_order", symbol=symbol, action="BUY", quantity=1, order_type="MKT")
    start_gateway("a", 1)
    await desk.ready_leader()
    await holding(desk, con_id, unassigned=1)
    await asyncio.sleep(2.5)
    desk.broker.fault("expire", contract=symbol)
    if is_delivered:
        await holding(desk, AAPL, unassigned=100)
        kinds = {each.con_id: each.kind for each in await journal(desk) if each.con_id}
        assert kinds == {con_id: JournalKind.EXERCISE, AAPL: JournalKind.EXERCISE}
        return

    async def is_told() -> bool:
        return [(each.con_id, each.reported) for each in await unexplained(desk)] == [(con_id, 0)]

    await eventually(is_told, FOUND_S)
    assert not await journal(desk), "it may have been transferred: its last day is to come"
