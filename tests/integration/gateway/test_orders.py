"""Orders through a real gateway at the real simulator: placed, modified, cancelled, filled once."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from shared.messages.control import BrokerStatus, Control, ControlAction, LinkState, Reconciled, SharesToBorrow
from shared.messages.market import TICKS_TYPE, DataStatus, TickKind, unpack_ticks
from shared.messages.orders import Group, OrderLeg, OrderState, OrderType, Side
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(60)]
AAPL = 265598


@pytest.fixture
async def gateway(start_gateway: Callable[..., Any], desk: Any) -> Any:
    process = start_gateway("a", 1)
    await desk.ready_leader()
    return process


async def test_a_market_order_fills_exactly_once(gateway: Any, desk: Any, legs: Any) -> None:
    _, market = legs
    intent = await desk.place(market(Side.BUY, 10))
    event = await desk.until(intent, OrderState.FILLED)
    assert event.filled == 10 and event.average_price and event.perm_id and event.client_id == 101

    async def all_there() -> bool:
        fills, commissions = await desk.fills(), await desk.commissions()
        return sum(fill.quantity for fill in fills) == 10 and len(commissions) == len(fills)

    await eventually(all_there)
    fills = await desk.fills()
    assert {fill.exec_id for fill in fills} == {each["exec_id"] for each in desk.broker.truth()["executions"]}
    assert all(fill.strategy == "demo" and fill.intent_id == intent.intent_id for fill in fills)
    assert desk.broker.truth()["counts"]["orders_sent_twice"] == 0
    states = [each.state for each in await desk.events(intent)]
    assert states[0] is OrderState.CLAIMED and states[-1] is OrderState.FILLED

    async def forgotten() -> bool:
        return not await desk.bus.hash_get_all(desk.bus.keys.open_orders)

    await eventually(forgotten)

    async def position() -> bool:
        return str(AAPL) in await desk.bus.hash_get_all(desk.bus.keys.positions)

    await eventually(position)


async def test_a_limit_order_is_modified_and_cancelled(gateway: Any, desk: Any, legs: Any) -> None:
    limit, _ = legs
    intent = await desk.place(limit(Side.BUY, 10, "50"))
    await desk.until(intent, OrderState.WORKING)
    change = await desk.place(limit(Side.BUY, 20, "60"), modifies=intent.intent_id)
    assert (await desk.until(change, OrderState.MODIFIED)).quantity == 20
    event = (await desk.events(intent))[-1]
    assert (event.quantity, event.limit_price, event.state) == (Decimal(20), Decimal(60), OrderState.WORKING)
    await desk.cancel(intent)
    event = await desk.until(intent, OrderState.CANCELLED)
    assert event.filled == 0
    (order,) = desk.broker.orders().values()
    assert order["status"] == "Cancelled" and order["quantity"] == "20"


async def test_a_stop_order_works(gateway: Any, desk: Any) -> None:
    stop = OrderLeg(side=Side.SELL, quantity=Decimal(5), order_type=OrderType.STOP, stop_price=Decimal(40))
    intent = await desk.place(stop)
    event = await desk.until(intent, OrderState.WORKING)
    assert event.stop_price == 40 and event.broker_status == "PreSubmitted"


async def test_a_bracket_goes_out_in_one_piece(gateway: Any, desk: Any, legs: Any) -> None:
    limit, market = legs
    stop = OrderLeg(
        leg=2, side=Side.SELL, quantity=Decimal(10), order_type=OrderType.STOP, stop_price=Decimal(50), parent_leg=0
    )
    intent = await desk.place(
        market(Side.BUY, 10), limit(Side.SELL, 10, "900", leg=1, parent_leg=0), stop, group=Group.BRACKET
    )
    await desk.until(intent, OrderState.FILLED, 0)
    await desk.until(intent, OrderState.WORKING, 1)
    await desk.until(intent, OrderState.WORKING, 2)
    await desk.cancel(intent)
    await desk.until(intent, OrderState.CANCELLED, 1)
    await desk.until(intent, OrderState.CANCELLED, 2)
    assert desk.broker.truth()["counts"]["orders_sent_twice"] == 0


async def test_a_refused_order_ends_rejected_by_the_broker(gateway: Any, desk: Any, legs: Any) -> None:
    limit, _ = legs
    intent = await desk.place(limit(Side.BUY, 10, "50.00001"))
    event = await desk.until(intent, OrderState.REJECTED)
    assert event.by == "broker" and event.code == "IB_110"


async def test_what_is_too_old_expires_and_a_stale_one_is_refused(gateway: Any, desk: Any, legs: Any) -> None:
    limit, _ = legs
    intent = await desk.place(limit(Side.BUY, 10, "50"), valid_s=-1.0)
    event = await desk.until(intent, OrderState.EXPIRED)
    assert event.by == "gateway" and event.code == "GATEWAY_EXPIRED"
    assert desk.broker.orders() == {}


async def test_a_cancel_that_comes_first_wins(gateway: Any, desk: Any, legs: Any) -> None:
    limit, _ = legs
    intent = await desk.intent(limit(Side.BUY, 10, "50"))
    await desk.cancel(intent)

    async def closed() -> bool:
        return bool(await desk.bus.ledger_rows(intent.intent_id))

    await eventually(closed)
    await desk.approve(intent)
    event = await desk.until(intent, OrderState.REFUSED)
    assert event.code == "GATEWAY_CANCELLED_FIRST"
    assert desk.broker.orders() == {}


async def test_what_reduces_does_not_wait_behind_a_burst_of_orders(gateway: Any, desk: Any, legs: Any) -> None:
    limit, market = legs
    burst = [await desk.place(limit(Side.BUY, 1, str(50 + number % 40)), valid_s=30.0) for number in range(160)]
    exit_ = await desk.place(market(Side.SELL, 1), is_reducing=True, valid_s=30.0)
    after = await desk.place(limit(Side.BUY, 1, "49"), valid_s=30.0)

    async def all_out() -> bool:
        return await desk.state(after) not in (None, OrderState.CLAIMED)

    await eventually(all_out, 30.0)
    refs = [
        order["order_ref"][9:29] for order in sorted(desk.broker.truth()["orders"], key=lambda row: row["received_ns"])
    ]
    assert len(refs) == len(set(refs)) == 162, "each once"
    assert refs.index(exit_.intent_id) < 120, "the broker takes 50 a second: the burst had not got further"
    assert refs[-1] == after.intent_id and [ref for ref in refs if ref != exit_.intent_id][:-1] == [
        one.intent_id for one in burst
    ]


async def test_a_damaged_ledger_lets_nothing_of_its_intent_pass_and_everything_else(
    gateway: Any, desk: Any, legs: Any
) -> None:
    limit, market = legs
    bus = desk.bus
    damaged = [await desk.intent(limit(Side.BUY, 10, "50")) for _ in range(3)]
    await bus.hash_set(bus.keys.ledger(damaged[0].intent_id), {"0": "nonsense"})
    await bus.set_text(bus.keys.ledger(damaged[1].intent_id), "no hash")
    await bus.set_text(bus.keys.ledger(damaged[2].intent_id), "no hash")
    await desk.cancel(damaged[2])
    for intent in damaged:
        await desk.approve(intent)
    await desk.until(await desk.place(market(Side.BUY, 10)), OrderState.FILLED)
    shown = desk.broker.orders()
    assert len(shown) == 1 and not any(intent.intent_id in ref for ref in shown for intent in damaged)
    told = [entry.fields[b"error"].decode() for entry in await bus.read_range(bus.keys.dead_letter)]
    assert ["claimed" in text or "closed" in text for text in told] == [True] * 4, told
    assert gateway.status is None


async def test_a_reconciliation_that_is_asked_for_is_announced_on_a_sound_link_too(gateway: Any, desk: Any) -> None:
    """Who could not read an entry approves nothing before it."""
    bus = desk.bus

    async def announced() -> int:
        rows = await bus.read_range(bus.keys.broker_status)
        return sum(entry.fields[b"type"] == b"reconciled" for entry in rows)

    before = await announced()
    asked = Control(control_id="r1", action=ControlAction.RECONCILE, who="test", reason="an entry was unreadable")
    await bus.append(bus.keys.control, asked, source="test")

    async def again() -> bool:
        return await announced() > before

    await eventually(again, 10)
    assert gateway.status is None


async def test_halt_refuses_and_cleans_and_keeps_what_reduces(gateway: Any, desk: Any, legs: Any) -> None:
    limit, _ = legs
    risky = await desk.place(limit(Side.BUY, 10, "50"))
    safe = await desk.place(limit(Side.SELL, 10, "900"), is_reducing=True)
    await desk.until(risky, OrderState.WORKING)
    await desk.until(safe, OrderState.WORKING)
    halt = Control(control_id="h1", action=ControlAction.HALT, who="test", reason="drill")
    await desk.bus.append(desk.bus.keys.control, halt, source="test")
    await desk.until(risky, OrderState.CANCELLED)

    async def clean() -> bool:
        return (await desk.bus.hash_get_all(desk.bus.keys.halt)).get("stage") == b"clean"

    await eventually(clean)
    assert await desk.state(safe) is OrderState.WORKING
    refused = await desk.place(limit(Side.BUY, 10, "50"))
    assert (await desk.until(refused, OrderState.REFUSED)).code == "GATEWAY_HALTED"
    resume = Control(control_id="h2", action=ControlAction.RESUME, who="test", reason="done")
    await desk.bus.append(desk.bus.keys.control, resume, source="test")

    async def resumed() -> bool:
        return (await desk.bus.hash_get_all(desk.bus.keys.halt)).get("stage") == b"none"

    await eventually(resumed)
    again = await desk.place(limit(Side.BUY, 10, "50"))
    await desk.until(again, OrderState.WORKING)


async def test_ticks_account_and_status_are_published(gateway: Any, desk: Any) -> None:
    keys = desk.bus.keys
    await desk.subscribe(AAPL)

    async def ticks() -> list[Any]:
        entries = await desk.bus.read_range(keys.ticks(keys.partition(AAPL)))
        assert all(entry.fields[b"type"] == TICKS_TYPE.encode() for entry in entries)
        found = [tick for entry in entries for tick in unpack_ticks(entry.fields[b"body"])]
        kinds = {tick.kind for tick in found}
        return found if kinds == {TickKind.QUOTE, TickKind.TRADE, TickKind.MARKER} else []

    found = await eventually(ticks, 20.0)
    assert found[0].kind == TickKind.MARKER and all(tick.con_id == AAPL for tick in found)
    messages = await desk.messages(keys.broker_status)
    assert any(isinstance(each, Reconciled) for each in messages)
    assert any(isinstance(each, BrokerStatus) and each.state is LinkState.READY for each in messages)

    async def status() -> bool:
        return any(
            isinstance(each, DataStatus) and each.quality == 1 for each in await desk.messages(keys.broker_status)
        )

    await eventually(status)

    async def lendable() -> bool:
        found = [each for each in await desk.messages(keys.broker_status) if isinstance(each, SharesToBorrow)]
        return bool(found) and found[0].con_id == AAPL and found[0].shares > 1000

    await eventually(lendable)

    async def values() -> bool:
        return (await desk.bus.hash_get_all(keys.account_values)).get("NetLiquidation:USD", b"") != b""

    await eventually(values)


async def test_an_orders_hours_are_shown_as_the_broker_has_them(gateway: Any, desk: Any, legs: Any) -> None:
    limit, _ = legs
    early = limit(Side.BUY, 10, "50").model_copy(update={"outside_rth": True})
    intent = await desk.place(early)
    assert (await desk.until(intent, OrderState.WORKING)).outside_rth
    again = early.model_copy(update={"limit_price": Decimal(51)})
    assert (await desk.until(await desk.place(again, modifies=intent.intent_id), OrderState.MODIFIED)).outside_rth
    assert (await desk.events(intent))[-1].outside_rth
    plain = limit(Side.BUY, 10, "52")
    await desk.until(await desk.place(plain, modifies=intent.intent_id), OrderState.MODIFIED)
    assert not (await desk.events(intent))[-1].outside_rth
    await desk.cancel(intent)
    await desk.until(intent, OrderState.CANCELLED)
