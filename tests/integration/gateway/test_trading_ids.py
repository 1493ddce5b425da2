"""After another trading id had to be taken the first is used again, and what lives under the other can be cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.messages.orders import OrderState, Side
from tests.integration.gateway.test_adoption import pool_guard
from tests.integration.gateway.test_faults import check_books
from tests.support import eventually

__all__ = ["pool_guard"]

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(120)]
IDS = {
    "GATEWAY_TRADING_CLIENT_IDS": "101,102", "GATEWAY_ID_IN_USE_LIMIT_S": "0.5", "GATEWAY_QUARANTINE_S": "1.0",
}  # fmt: skip
STUCK_S = 4.0


async def until_under(desk: Any, client_id: int) -> None:
    """Wait until the leader trades under an id."""

    async def is_under() -> bool:
        beats = (await desk.heartbeats()).values()
        return [each["trading_client_id"] for each in beats if each["link"] == "READY"] == [client_id]

    await eventually(is_under, 20.0)


async def fall_back(desk: Any) -> None:
    """Let the first id get stuck as its session is lost."""
    desk.broker.fault("stuck_client", client_id=101, seconds=STUCK_S)
    desk.broker.fault("cut", client_id=101)
    await until_under(desk, 102)


async def test_the_next_session_is_under_the_first_id_again_once_nothing_works_under_the_other(
    start_gateway: Callable[..., Any], desk: Any, legs: Any
) -> None:
    limit, market = legs
    process = start_gateway("a", 1, **IDS)
    await desk.ready_leader()
    await fall_back(desk)
    epoch = (await desk.bus.lease_view("gateway")).epoch
    desk.broker.fault("cut", client_id=102)
    await eventually(lambda: process.output.count('"link.connected"') >= 3, 20.0)
    await until_under(desk, 102)
    assert process.output.count("trading_id.stuck") == 1, "it is stuck still, and not waited out again"
    resting = await desk.place(limit(Side.BUY, 10, "50"))
    assert (await desk.until(resting, OrderState.WORKING)).client_id == 102
    desk.broker.fault("clear")
    desk.broker.fault("cut", client_id=102)
    await eventually(lambda: process.output.count('"link.connected"') >= 4, 20.0)
    await until_under(desk, 102)
    await desk.cancel(resting)
    await desk.until(resting, OrderState.CANCELLED)
    desk.broker.fault("cut", client_id=102)
    await until_under(desk, 101)
    order = await desk.place(market(Side.BUY, 1))
    assert (await desk.until(order, OrderState.FILLED)).client_id == 101
    await check_books(desk)
    assert (await desk.bus.lease_view("gateway")).epoch == epoch


@pytest.mark.parametrize("behind_a_guard", [False, True])
async def test_a_successor_begins_with_the_first_id_and_cancels_what_is_under_the_other(
    behind_a_guard: bool, request: pytest.FixtureRequest, start_gateway: Callable[..., Any], desk: Any, legs: Any
) -> None:
    limit, market = legs
    env = {**IDS, **(request.getfixturevalue("pool_guard") if behind_a_guard else {})}
    first = start_gateway("a", 1, **env)
    await desk.ready_leader(45.0)
    await fall_back(desk)
    gone, fills, works = [await desk.place(limit(Side.BUY, 10, str(50 + number))) for number in range(3)]
    for intent in (gone, fills, works):
        assert (await desk.until(intent, OrderState.WORKING)).client_id == 102
    desk.broker.fault("clear")
    first.kill()
    start_gateway("b", 2, **env)
    await desk.ready_leader(45.0, not_="a")
    await until_under(desk, 101)
    order = await desk.place(market(Side.BUY, 1))
    assert (await desk.until(order, OrderState.FILLED)).client_id == 101
    await desk.cancel(gone)
    perm_id = next(row["perm_id"] for ref, row in desk.broker.orders().items() if fills.intent_id in ref)
    desk.broker.fault("manual_fill", perm_id=perm_id, quantity="10", price="51")
    await desk.until(gone, OrderState.CANCELLED, timeout_s=10.0)
    await desk.until(fills, OrderState.FILLED, timeout_s=15.0)
    assert await desk.state(works) is OrderState.WORKING
    await check_books(desk)
