"""In a window of the broker: nothing new goes out, what reduces and cancels do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.messages.control import BrokerWindow, WindowPhase
from shared.messages.orders import OrderState, Side
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process]


async def test_a_window_refuses_at_once_and_lets_reductions_and_cancels_through(
    start_gateway: Any, desk: Any, legs: Any
) -> None:
    limit, market = legs
    gateway = start_gateway("a", 1)
    await desk.ready_leader()
    resting = await desk.place(limit(Side.BUY, 10, "50"))
    await desk.until(resting, OrderState.WORKING)
    await desk.until(await desk.place(market(Side.BUY, 10)), OrderState.FILLED)
    gateway.kill()

    now = datetime.now(UTC)
    window = f"reset daily {now - timedelta(minutes=2):%H:%M}-{now + timedelta(minutes=30):%H:%M} UTC"
    start_gateway("b", 2, GATEWAY_BROKER_WINDOWS=window)
    await desk.ready_leader(not_="a")

    async def is_told() -> bool:
        found = [each for each in await desk.messages(desk.bus.keys.broker_status) if isinstance(each, BrokerWindow)]
        return bool(found) and (found[-1].phase, found[-1].name) == (WindowPhase.WITHIN, "reset")

    await eventually(is_told)
    refused = await desk.until(await desk.place(market(Side.BUY, 5)), OrderState.REFUSED, timeout_s=3.0)
    assert refused.code == "GATEWAY_BROKER_WINDOW" and "reset" in refused.text
    await desk.until(await desk.place(market(Side.SELL, 10), is_reducing=True), OrderState.FILLED)
    await desk.cancel(resting)
    await desk.until(resting, OrderState.CANCELLED)
    assert desk.broker.truth()["counts"]["orders_sent_twice"] == 0
