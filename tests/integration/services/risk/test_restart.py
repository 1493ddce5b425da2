"""Stop the real service, trim every stream, start it again: positions, work and halts are still known."""

from __future__ import annotations

from typing import Any

import pytest

from shared.clock import SYSTEM_CLOCK
from shared.messages.account import PositionReport
from shared.messages.control import Control, ControlAction
from shared.messages.orders import Fill, OrderEvent, OrderState, Side
from tests.risk_desk import ACCOUNT, D, number_id
from tests.risk_market import CON_ID, Market, start
from tests.support import RedisServer, Spawner, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process]


def event(number: int, state: OrderState, quantity: int, **values: Any) -> OrderEvent:
    return OrderEvent(
        intent_id=number_id(number), state=state, strategy="s", account=ACCOUNT, con_id=CON_ID, side=Side.BUY,
        quantity=D(quantity), order_type="LMT", limit_price=D("100.00"), **values,
    )  # fmt: skip


async def test_a_restart_after_everything_was_trimmed(
    market: Market, redis_server: RedisServer, deployment: str, spawn: Spawner
) -> None:
    await market.reconciled()
    first = start(spawn, redis_server, deployment, "r1", MAX_POSITION_SIZE="100")
    for number, quantity in ((1, 30), (2, 20)):
        await market.ask(market.intent(number, quantity=quantity))
        assert (await market.answer(number, 20.0)).approved
    keys = market.keys
    await market.publish(keys.orders, event(1, OrderState.FILLED, 30))
    fill = Fill(
        exec_id="e.01.01", exec_stem="e.01", intent_id=number_id(1), strategy="s", account=ACCOUNT, con_id=CON_ID,
        side=Side.BUY, quantity=D(30), price=D(100),
    )  # fmt: skip
    await market.publish(keys.fills, fill)
    await market.publish(keys.orders, event(2, OrderState.WORKING, 20))
    report = PositionReport(account=ACCOUNT, con_id=CON_ID, currency="USD", position=D(30), average_cost=D(100))
    await market.publish(keys.account, report)
    halt = Control(control_id="c1", action=ControlAction.HALT, scope="strategy:t", who="me", reason="a drill")
    await market.bus.append(keys.control, halt, source="test")
    await market.ask(market.intent(3, quantity=51))
    assert (await market.answer(3)).code == "RISK_POSITION_MAX"

    first.terminate(30.0)
    await eventually(lambda: market.bus.get_text(keys.risk_book), 20.0)
    later = f"{SYSTEM_CLOCK.wall_ns() // 10**6 + 60_000}-0"
    for stream in (keys.commands, keys.orders, keys.fills, keys.account, keys.broker_status, keys.control):
        await market.bus.trim(stream, before=later)
        assert not await market.bus.stream_length(stream)

    start(spawn, redis_server, deployment, "r2", MAX_POSITION_SIZE="100")
    await market.price(100.0)
    await market.ask(market.intent(4, quantity=51))
    refused = await market.answer(4, 20.0)
    assert refused.code == "RISK_POSITION_MAX" and refused.failed[0].measured == "101"
    await market.ask(market.intent(5, quantity=1, strategy="t"))
    assert (await market.answer(5)).code == "RISK_HALTED"
    await market.ask(market.intent(6, "SELL", 30))
    closing = await market.answer(6)
    assert closing.approved and closing.is_reducing
    await market.ask(market.intent(7, quantity=50))
    assert (await market.answer(7)).approved
