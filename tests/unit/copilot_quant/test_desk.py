from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from copilot_quant.desk import PRICE_RETRIES, Desk, OrderTicket
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import SYSTEM_CLOCK
from shared.errors import BadInput, Refused, TimedOut, UnknownContract
from shared.messages import decode_fields
from shared.messages.market import ContractInfo
from shared.messages.orders import Decision, Fill, Group, Intent, IntentAction, OrderEvent, OrderState, OrderType, Side
from shared.messages.requests import ContractAnswer, ContractQuery
from tests.support import eventually

APPLE = ContractInfo(con_id=265598, name="AAPL", symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")
BUY_ONE = OrderTicket(Side.BUY, Decimal(1))


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(MemoryServer(), Keys("sim"))


@pytest.fixture
async def desk(bus: MemoryBus) -> Desk:
    await bus.hash_set(bus.keys.identity, {"mode": "sim", "account": "DUSIM0001", "id": "abc"})
    await bus.hash_set(bus.keys.last(APPLE.con_id), {"fresh_ns": str(SYSTEM_CLOCK.wall_ns())})
    return Desk(bus, "DUSIM0001")


def an_event(intent: Intent, state: OrderState, *, by: str = "broker", filled: int = 0) -> OrderEvent:
    return OrderEvent(
        intent_id=intent.intent_id,
        state=state,
        strategy=intent.strategy,
        account=intent.account,
        con_id=intent.con_id,
        side=Side.BUY,
        quantity=Decimal(1),
        order_type="MKT",
        filled=Decimal(filled),
        by=by,
    )


async def refuse_then_fill(bus: MemoryBus, refusals: int) -> int:
    """Be risk without a price for the first intents, then risk and the gateway; return how many there were."""
    cursor = "0-0"
    for number in range(refusals + (refusals <= PRICE_RETRIES)):
        while not (found := await bus.read({bus.keys.intents: cursor}, block_ms=50)):
            pass
        cursor = found[bus.keys.intents][0].entry_id
        intent = decode_fields(found[bus.keys.intents][0].fields).message
        assert isinstance(intent, Intent)
        is_refused = number < refusals
        decision = Decision(
            intent_id=intent.intent_id, approved=not is_refused, code="RISK_DATA_STALE" if is_refused else ""
        )
        await bus.append(bus.keys.decisions, decision, source="risk:1")
        if not is_refused:
            await bus.append(bus.keys.orders, an_event(intent, OrderState.FILLED, filled=1), source="gateway:1")
    return number + 1


async def answer(bus: MemoryBus, approved: bool, states: list[OrderState]) -> None:
    """Be risk and the gateway for the next intent."""
    cursor = "0-0"
    while not (found := await bus.read({bus.keys.intents: cursor}, block_ms=50)):
        pass
    intent = decode_fields(found[bus.keys.intents][0].fields).message
    assert isinstance(intent, Intent)
    decision = Decision(
        intent_id=intent.intent_id, approved=approved, code="" if approved else "RISK_HALTED", text="no"
    )
    await bus.append(bus.keys.decisions, decision, source="risk:1")
    for state in states:
        await bus.append(bus.keys.orders, an_event(intent, state, filled=1), source="gateway:1")


@pytest.mark.parametrize(
    "ticket, approved, states, expected",
    [
        (BUY_ONE, True, [OrderState.CLAIMED, OrderState.WORKING, OrderState.FILLED], "filled"),
        (BUY_ONE, False, [], "rejected"),
        (
            OrderTicket(Side.BUY, Decimal(1), limit_price=Decimal(5)),
            True,
            [OrderState.CLAIMED, OrderState.WORKING],
            "working",
        ),
        (BUY_ONE, True, [OrderState.EXPIRED], "expired"),
    ],
)
async def test_an_order_is_followed_to_its_answer(
    bus: MemoryBus, desk: Desk, ticket: OrderTicket, approved: bool, states: list[OrderState], expected: str
) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(answer(bus, approved, states))
        result = await desk.place(APPLE, ticket, limit_s=5)
    assert result.state == expected
    assert result.is_refused is (expected in ("rejected", "expired"))


async def test_the_end_of_a_second_order_that_the_broker_made_is_no_answer(bus: MemoryBus, desk: Desk) -> None:
    async def answers() -> None:
        await answer(bus, approved=True, states=[OrderState.CLAIMED])
        (entry, *_) = await bus.read_range(bus.keys.intents)
        intent = decode_fields(entry.fields).message
        assert isinstance(intent, Intent)
        double = an_event(intent, OrderState.CANCELLED).model_copy(update={"is_external": True, "perm_id": 100})
        for event in (double, an_event(intent, OrderState.FILLED, filled=1)):
            await bus.append(bus.keys.orders, event, source="gateway:1")

    async with asyncio.TaskGroup() as group:
        group.create_task(answers())
        result = await desk.place(APPLE, BUY_ONE, limit_s=5)
    assert result.state == "filled"


async def test_prices_are_asked_for_before_an_order_and_waited_for_a_while(bus: MemoryBus, desk: Desk) -> None:
    await bus.hash_delete(bus.keys.last(APPLE.con_id), ["fresh_ns"])
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(desk.watch(APPLE.con_id, wait_s=5))
        await eventually(lambda: bus.hash_get_all(bus.keys.watches))
        assert not waiting.done()
        await bus.hash_set(bus.keys.last(APPLE.con_id), {"fresh_ns": str(SYSTEM_CLOCK.wall_ns())})
    await desk.watch(1, wait_s=0.05)


async def test_an_order_that_came_before_risk_had_its_price_is_asked_again(
    bus: MemoryBus, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copilot_quant.desk.PRICE_RETRY_S", 0.0)
    async with asyncio.TaskGroup() as group:
        answers = group.create_task(refuse_then_fill(bus, refusals=1))
        result = await desk.place(APPLE, BUY_ONE, limit_s=5)
    assert result.state == "filled" and await answers == 2


async def test_a_price_that_never_comes_is_a_refusal_after_some_trials(
    bus: MemoryBus, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copilot_quant.desk.PRICE_RETRY_S", 0.0)
    async with asyncio.TaskGroup() as group:
        answers = group.create_task(refuse_then_fill(bus, refusals=1 + PRICE_RETRIES))
        result = await desk.place(APPLE, BUY_ONE, limit_s=5)
    assert (result.state, result.code) == ("rejected", "RISK_DATA_STALE") and await answers == 1 + PRICE_RETRIES


async def test_no_answer_is_said_to_be_none(desk: Desk) -> None:
    result = await desk.place(APPLE, BUY_ONE, limit_s=0.05)
    assert result.state == "unanswered" and not result.is_refused


async def test_nothing_is_ordered_in_a_deployment_that_never_started(bus: MemoryBus) -> None:
    with pytest.raises(Refused, match="first start"):
        await Desk(bus, "DUSIM0001").submit(APPLE, BUY_ONE)


async def test_two_orders_of_one_desk_have_two_ids(desk: Desk) -> None:
    assert (await desk.submit(APPLE, BUY_ONE)).intent_id != (await desk.submit(APPLE, BUY_ONE)).intent_id


def test_a_bracket_has_its_exits_resting_at_the_broker() -> None:
    ticket = OrderTicket(Side.BUY, Decimal(5), limit_price=Decimal(10), take_profit=Decimal(12), stop_loss=Decimal(9))
    parent, profit, loss = ticket.legs()
    assert (parent.order_type, parent.parent_leg) == (OrderType.LIMIT, None)
    assert (profit.side, profit.order_type, profit.limit_price) == (Side.SELL, OrderType.LIMIT, Decimal(12))
    assert (loss.side, loss.order_type, loss.stop_price) == (Side.SELL, OrderType.STOP, Decimal(9))
    assert {profit.parent_leg, loss.parent_leg} == {0} and {profit.tif.value, loss.tif.value} == {"GTC"}


async def test_a_bracket_is_one_intent(desk: Desk) -> None:
    ticket = OrderTicket(Side.SELL, Decimal(5), stop_loss=Decimal(11))
    assert (await desk.submit(APPLE, ticket)).group is Group.BRACKET


async def test_a_name_is_resolved_once_it_is_known_without_asking(bus: MemoryBus, desk: Desk) -> None:
    from shared.messages.codec import encode_body

    await bus.hash_set(bus.keys.contract_names, {"AAPL": "265598"})
    await bus.hash_set(bus.keys.contracts, {"265598": encode_body(APPLE)})
    assert await desk.resolve("aapl") == APPLE
    assert await bus.stream_length(bus.keys.queries) == 0


async def test_an_ambiguous_name_lists_its_candidates(bus: MemoryBus, desk: Desk) -> None:
    async def gateway() -> None:
        while not (found := await bus.read({bus.keys.queries: "0-0"}, block_ms=50)):
            pass
        query = decode_fields(found[bus.keys.queries][0].fields).message
        assert isinstance(query, ContractQuery)
        reply = ContractAnswer(query_id=query.query_id, error="ambiguous", candidates=("SAP@IBIS:EUR", "SAP@NYSE"))
        await bus.answer(query.client, reply, source="gateway:1")

    async with asyncio.TaskGroup() as group:
        group.create_task(gateway())
        with pytest.raises(UnknownContract) as caught:
            await desk.resolve("SAP")
    assert caught.value.candidates == ["SAP@IBIS:EUR", "SAP@NYSE"]


async def test_every_wait_has_a_limit(desk: Desk) -> None:
    with pytest.raises(TimedOut):
        await desk.resolve("AAPL", limit_s=0.05)
    with pytest.raises(TimedOut):
        await desk.wait_halt_stage(frozenset({"holding"}), limit_s=0.05)


async def test_a_correction_takes_the_place_of_its_execution(bus: MemoryBus, desk: Desk) -> None:
    for revision, quantity in ((1, 10), (2, 7)):
        fill = Fill(
            exec_id=f"a.0{revision}",
            exec_stem="a",
            revision=revision,
            strategy="s",
            account="DUSIM0001",
            con_id=1,
            side=Side.SELL,
            quantity=Decimal(quantity),
            price=Decimal(1),
        )
        await bus.append(bus.keys.fills, fill, source="gateway:1")
    assert [fill.quantity for fill in await desk.fills()] == [Decimal(7)]
    assert len(await desk.fills_with_repeats()) == 2
    assert await desk.strategy_positions("s") == {1: Decimal(-7)}


def a_working_order(**values: object) -> OrderEvent:
    content = {
        "intent_id": "x" * 20, "state": OrderState.WORKING, "strategy": "dip", "account": "DUSIM0001",
        "con_id": APPLE.con_id, "contract": "AAPL", "side": Side.BUY, "quantity": Decimal(5), "order_type": "LMT",
        "limit_price": Decimal(90), "tif": "GTC", "leg": 1, **values,
    }  # fmt: skip
    return OrderEvent.model_validate(content)


async def test_a_change_keeps_what_is_not_named_and_waits_for_the_brokers_word(desk: Desk, bus: MemoryBus) -> None:
    async def answers() -> None:
        cursor = "0-0"
        while not (found := await bus.read({bus.keys.intents: cursor}, block_ms=50)):
            pass
        intent = decode_fields(found[bus.keys.intents][0].fields).message
        assert isinstance(intent, Intent)
        (leg,) = intent.legs
        assert (intent.action, intent.modifies, intent.strategy) == (IntentAction.MODIFY, "x" * 20, "dip")
        assert (leg.leg, leg.quantity, leg.limit_price, leg.tif.value) == (1, 5, Decimal(91), "GTC")
        await bus.append(bus.keys.decisions, Decision(intent_id=intent.intent_id, approved=True), source="risk")
        done = an_event(intent, OrderState.MODIFIED).model_copy(update={"leg": 1})
        await bus.append(bus.keys.orders, done, source="gateway")

    task = asyncio.create_task(answers())
    result = await desk.modify(a_working_order(), limit_price=Decimal(91), limit_s=5)
    await task
    assert result.state == "modified" and not result.is_refused


@pytest.mark.parametrize("was, said, becomes", [(True, None, True), (True, False, False), (False, True, True)])
async def test_a_change_keeps_the_hours_unless_they_are_named(
    desk: Desk, bus: MemoryBus, was: bool, said: bool | None, becomes: bool
) -> None:
    order = a_working_order(outside_rth=was)
    await desk.modify(order, limit_price=Decimal(91), outside_rth=said, limit_s=0.05)
    (entry,) = await bus.read_range(bus.keys.intents)
    intent = decode_fields(entry.fields).message
    assert isinstance(intent, Intent) and intent.legs[0].outside_rth is becomes


async def test_a_change_of_the_kind_of_order_is_refused_before_it_leaves(desk: Desk, bus: MemoryBus) -> None:
    with pytest.raises(BadInput, match="STP LMT"):
        await desk.modify(a_working_order(), stop_price=Decimal(80))
    with pytest.raises(BadInput):
        await desk.modify(a_working_order(intent_id=""), limit_price=Decimal(91))
    assert await bus.read_range(bus.keys.intents) == []
