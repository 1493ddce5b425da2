"""What goes wrong at brokers, played by the simulator: nothing is lost, nothing is sent twice, all is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import BusUnavailable
from shared.messages.control import BrokerStatus, LinkState
from shared.messages.market import DataStatus
from shared.messages.orders import OrderState, Side
from tests.support import RedisServer, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(90)]
AAPL = 265598
QUICK = {"GATEWAY_PROBE_S": "0.4", "GATEWAY_SILENCE_LIMIT_S": "2.0", "GATEWAY_QUARANTINE_S": "1.0"}


@pytest.fixture
async def gateway(start_gateway: Callable[..., Any], desk: Any) -> Any:
    process = start_gateway("a", 1, **QUICK)
    await desk.ready_leader()
    return process


async def link_states(desk: Any) -> list[LinkState]:
    found = await desk.messages(desk.bus.keys.broker_status)
    return [each.state for each in found if isinstance(each, BrokerStatus)]


async def until_link(desk: Any, *states: LinkState, after: int = 0) -> None:
    """Wait until these states were shown in this order, after the first `after` ones."""

    async def seen() -> bool:
        rest = iter((await link_states(desk))[after:])
        return all(any(state is each for each in rest) for state in states)

    await eventually(seen, 30.0)


async def check_books(desk: Any) -> None:
    """Executions and orders on the bus are those of the broker, each once."""

    async def same() -> bool:
        truth = desk.broker.truth()
        seen = [fill.exec_id for fill in await desk.fills()]
        true = [each["exec_id"] for each in truth["executions"]]
        assert sorted(seen) == sorted(set(seen) & set(true)) == sorted(true), (len(seen), len(true))
        assert truth["counts"]["orders_sent_twice"] == 0
        return True

    await eventually(same, 20.0)


@pytest.mark.parametrize(
    "fault, parameters",
    [
        ("cut", {"client_id": 101, "abrupt": True}),
        ("cut", {"abrupt": False}),
        ("nightly_reset", {"seconds": 1.0, "port_seconds": 2.0}),
        ("restart", {"seconds": 2.0}),
        ("stall", {"seconds": 4.0}),
    ],
)
async def test_a_lost_session_comes_back_with_everything(
    gateway: Any, desk: Any, legs: Any, fault: str, parameters: dict[str, Any]
) -> None:
    limit, market = legs
    resting = await desk.place(limit(Side.BUY, 10, "50"))
    await desk.until(resting, OrderState.WORKING)
    seen = len(await link_states(desk))
    # Sent, and filled while nobody listens: the execution is found afterwards.
    await desk.place(market(Side.BUY, 7))
    desk.broker.fault(fault, **parameters)
    await until_link(desk, LinkState.READY, after=seen + 1)
    after = await desk.place(market(Side.SELL, 7))
    await desk.until(after, OrderState.FILLED)
    await check_books(desk)
    await desk.cancel(resting)
    await desk.until(resting, OrderState.CANCELLED)
    for event in await desk.events():
        assert event.state not in (OrderState.REJECTED, OrderState.NOT_SENT) or event.code == "GATEWAY_LINK_DOWN"


async def test_lost_connectivity_holds_orders_back_and_what_is_late_expires(gateway: Any, desk: Any, legs: Any) -> None:
    limit, _ = legs
    seen = len(await link_states(desk))
    desk.broker.fault("outage", seconds=3.0, code=1101)
    await until_link(desk, LinkState.DEGRADED, after=seen)
    short = await desk.place(limit(Side.BUY, 10, "50"), valid_s=0.5)
    event = await desk.until(short, OrderState.EXPIRED)
    assert "DEGRADED" in event.text
    long = await desk.place(limit(Side.BUY, 10, "50"), valid_s=20.0)
    await until_link(desk, LinkState.READY, after=seen)
    await desk.until(long, OrderState.WORKING)
    assert len(desk.broker.orders()) == 1


async def test_an_answer_without_its_end_is_no_answer(start_gateway: Callable[..., Any], desk: Any, legs: Any) -> None:
    desk.broker.fault("missing_end", name="execDetailsEnd", count=1)
    process = start_gateway("a", 1, GATEWAY_ANSWER_LIMIT_S="1.0", **QUICK)
    await desk.ready_leader()
    assert "reconcile.failed" in process.output
    intent = await desk.place(legs[1](Side.BUY, 5))
    await desk.until(intent, OrderState.FILLED)


async def test_a_stuck_trading_id_is_waited_out_then_the_next_is_taken(
    start_gateway: Callable[..., Any], desk: Any, legs: Any
) -> None:
    desk.broker.fault("stuck_client", client_id=101, seconds=60)
    process = start_gateway("a", 1, GATEWAY_TRADING_CLIENT_IDS="101,102", GATEWAY_ID_IN_USE_LIMIT_S="1.0", **QUICK)
    await desk.ready_leader()
    assert "trading_id.stuck" in process.output
    intent = await desk.place(legs[1](Side.BUY, 5))
    assert (await desk.until(intent, OrderState.FILLED)).client_id == 102


@pytest.mark.parametrize("code", [399, 10349, 2109, 98765])
async def test_a_false_alarm_on_an_order_changes_nothing(gateway: Any, desk: Any, legs: Any, code: int) -> None:
    limit, _ = legs
    intent = await desk.place(limit(Side.BUY, 10, "50"))
    event = await desk.until(intent, OrderState.WORKING)
    desk.broker.fault("notice", code=code, text="a false alarm", client_id=101, request_id=event.order_id)
    await desk.cancel(intent)
    await desk.until(intent, OrderState.CANCELLED)
    states = [each.state for each in await desk.events(intent)]
    assert OrderState.REJECTED not in states


async def test_a_corrected_execution_is_a_further_revision(gateway: Any, desk: Any, legs: Any) -> None:
    intent = await desk.place(legs[1](Side.BUY, 5))
    await desk.until(intent, OrderState.FILLED)
    await check_books(desk)
    desk.broker.fault("correction", price="1.5")

    async def corrected() -> bool:
        return [fill.revision for fill in await desk.fills()][-1] == 2

    await eventually(corrected)
    last = (await desk.fills())[-1]
    assert str(last.price) == "1.5" and last.strategy == "demo"
    assert (await desk.events(intent))[-1].filled == 5


async def test_orders_by_hand_and_cancels_by_the_broker_are_seen(gateway: Any, desk: Any, legs: Any) -> None:
    desk.broker.fault("manual_order", symbol="AAPL", action="BUY", quantity=3, order_type="LMT", limit="40")

    async def external() -> Any:
        return next((each for each in await desk.events() if each.is_external), None)

    event = await eventually(external)
    assert event.strategy == "unassigned" and event.quantity == 3
    desk.broker.fault("cancel_order", perm_id=event.perm_id)

    async def gone() -> bool:
        return [each for each in await desk.events() if each.is_external][-1].state is OrderState.CANCELLED

    await eventually(gone)
    intent = await desk.place(legs[0](Side.BUY, 10, "50"))
    working = await desk.until(intent, OrderState.WORKING)
    desk.broker.fault("cancel_order", perm_id=working.perm_id)
    await desk.until(intent, OrderState.CANCELLED)


async def test_order_ids_that_roll_back_are_not_used_again(gateway: Any, desk: Any, legs: Any) -> None:
    first = await desk.place(legs[1](Side.BUY, 5))
    used = (await desk.until(first, OrderState.FILLED)).order_id
    seen = len(await link_states(desk))
    desk.broker.fault("rollback_order_ids", client_id=101, by=5)
    desk.broker.fault("cut", client_id=101)
    await until_link(desk, LinkState.READY, after=seen + 1)
    second = await desk.place(legs[1](Side.BUY, 5))
    assert (await desk.until(second, OrderState.FILLED)).order_id > used
    await check_books(desk)


async def test_a_restarted_redis_is_another_incarnation(
    gateway: Any, desk: Any, legs: Any, redis_server: RedisServer
) -> None:
    limit, market = legs
    intent = await desk.place(limit(Side.BUY, 10, "50"))
    await desk.until(intent, OrderState.WORKING)
    stale = await desk.intent(market(Side.BUY, 5))
    redis_server.restart()

    async def answers() -> bool:
        try:
            return bool(await desk.bus.incarnation())
        except BusUnavailable:
            return False

    await eventually(answers)
    await desk.ready_leader(30.0)
    await desk.lead_risk()
    refused = await desk.approve(stale.model_copy(update={"incarnation": await desk.bus.incarnation()}))
    await desk.until(refused, OrderState.FILLED)
    await desk.cancel(intent)
    await desk.until(intent, OrderState.CANCELLED)
    await check_books(desk)


async def test_data_that_another_session_takes_are_told_with_the_cure_and_come_back(
    gateway: Any, desk: Any, legs: Any
) -> None:
    keys = desk.bus.keys
    ticks = keys.ticks(keys.partition(AAPL))
    await desk.subscribe(AAPL)
    await eventually(lambda: desk.bus.stream_length(ticks), 20.0)
    desk.broker.fault("competing_session", seconds=2.0, burst=3)

    async def told() -> list[str]:
        found = await desk.messages(keys.broker_status)
        return [each.text for each in found if isinstance(each, DataStatus) and each.code == 10197]

    (first, *_) = await eventually(told, 20.0)
    assert "close TWS or the mobile app there" in first
    await desk.until(await desk.place(legs[1](Side.BUY, 1)), OrderState.FILLED)  # orders go on
    length = await desk.bus.stream_length(ticks)

    async def is_back() -> bool:
        return await desk.bus.stream_length(ticks) > length + 5

    await eventually(is_back, 40.0)
