from __future__ import annotations

from decimal import Decimal
from typing import Any

from services.gateway.core.ledger import (
    LOST_IDS,
    MODIFY_CODE,
    OrderIds,
    claim_request,
    claimed,
    claimed_modify,
    keep_known,
    may_be_at_broker,
    modify_request,
    room_for_lost_ids,
    was_claimed_now,
    why_not_modify,
)
from services.gateway.core.order_machine import OrderTrack
from shared.bus.ports import ClaimResult, LedgerRow
from shared.messages.codec import encode_body
from shared.messages.orders import (
    Command,
    Group,
    Intent,
    IntentAction,
    OrderEvent,
    OrderLeg,
    OrderState,
    OrderType,
    Side,
)

IID = "abcdefghij234567abcd"


def leg(number: int = 0, side: Side = Side.BUY, **more: Any) -> OrderLeg:
    return OrderLeg(
        leg=number, side=side, quantity=Decimal(10), order_type=OrderType.LIMIT, limit_price=Decimal(5), **more
    )


def command(*legs: OrderLeg, group: Group = Group.SINGLE, modifies: str = "") -> Command:
    intent = Intent(
        intent_id=IID, legs=legs or (leg(),), group=group, con_id=1, strategy="demo", account="DU1",
        incarnation="x", valid_until_ns=100, modifies=modifies,
        action=IntentAction.MODIFY if modifies else IntentAction.PLACE,
    )  # fmt: skip
    return Command(intent=intent, not_after_ns=100, incarnation="x", is_reducing=True)


def target(**more: object) -> OrderTrack:
    made = OrderTrack("ref", "m" * 20, 0, "demo", "DU1", 1, Side.BUY, Decimal(10), "LMT")
    made.state, made.perm_id, made.shown_in, made.order_id, made.client_id = OrderState.WORKING, 7, 3, 12, 101
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_ids_exceed_everything_ever_seen_and_never_go_back() -> None:
    ids = OrderIds()
    ids.next_valid(10)
    assert ids.take(2) == (10, 11)
    ids.seen(40)
    ids.next_valid(5)
    assert ids.take(1) == (41,)


def test_ids_of_which_redis_lost_the_claims_are_left_alone_by_each_leadership_in_its_own_way() -> None:
    epoch = 1_795_712_403_891_454
    first, second = (OrderIds(room=room_for_lost_ids(each)) for each in (epoch, epoch + 800_000))
    for ids in (first, second):
        ids.next_valid(10)
        ids.seen(40)  # what the broker shows: more than its nextValidId after a restart that rolled it back
    before, after = first.take(LOST_IDS), second.take(LOST_IDS)
    assert before[0] > 40 + LOST_IDS and not set(before) & set(after)
    assert first.take(1) == (before[-1] + 1,)


def test_every_result_that_can_come_of_it_has_its_events() -> None:
    asked = command()
    given: dict[str, Any] = {"entry_id": "1-1", "deployment_id": "sim", "client_id": 101, "order_ids": (7,)}
    late = claim_request(asked, **given, now_ns=asked.not_after_ns + 1, late_reason="away", window="reset")
    assert [event.state for event in late.if_claimed] == [OrderState.CLAIMED]
    assert late.if_claimed[0].order_id == 7 and late.if_claimed[0].is_reducing
    assert set(late.if_refused) == set(ClaimResult) - {ClaimResult.CLAIMED}
    assert late.if_refused[ClaimResult.REFUSED_EXPIRED][0].state is OrderState.EXPIRED
    assert "away" in late.if_refused[ClaimResult.REFUSED_EXPIRED][0].text
    refusals = [event for events in late.if_refused.values() for event in events]
    assert all(event.state.is_final and (event.order_id, event.client_id) == (0, 0) for event in refusals)
    in_time = claim_request(asked, **given, now_ns=asked.not_after_ns)
    impossible = {ClaimResult.CLAIMED, ClaimResult.REFUSED_EXPIRED, ClaimResult.REFUSED_WINDOW}
    assert set(in_time.if_refused) == set(ClaimResult) - impossible


def test_a_window_of_the_broker_is_a_refusal_with_its_name() -> None:
    request = claim_request(
        command(), entry_id="1-1", deployment_id="sim", client_id=101, order_ids=(7,), now_ns=50, window="reset, 00:15"
    )
    (event,) = request.if_refused[ClaimResult.REFUSED_WINDOW]
    assert request.is_in_window and (event.state, event.code) == (OrderState.REFUSED, "GATEWAY_BROKER_WINDOW")
    assert "reset, 00:15" in event.text


def test_only_rows_of_this_epoch_with_these_ids_are_sent() -> None:
    request = claim_request(command(), entry_id="1-1", deployment_id="sim", client_id=101, order_ids=(7,), now_ns=50)
    assert was_claimed_now([LedgerRow(0, ClaimResult.CLAIMED, 101, 7, 5, True)], request, 5)
    assert was_claimed_now([LedgerRow(0, ClaimResult.CLAIMED, 101, 7, 5, False)], request, 5)
    assert not was_claimed_now([LedgerRow(0, ClaimResult.CLAIMED, 101, 7, 4, False)], request, 5)
    assert not was_claimed_now([LedgerRow(0, ClaimResult.CLAIMED, 101, 6, 5, False)], request, 5)
    assert not was_claimed_now([LedgerRow(0, ClaimResult.REFUSED_HALTED)], request, 5)
    assert not was_claimed_now([], request, 5)


def test_a_bracket_is_held_until_its_last_leg() -> None:
    bracket = command(leg(0), leg(1, Side.SELL, parent_leg=0), leg(2, Side.SELL, parent_leg=0), group=Group.BRACKET)
    rows = [LedgerRow(number, ClaimResult.CLAIMED, 101, 20 + number, 5, True) for number in range(3)]
    orders = claimed(bracket, rows, deployment_id="sim")
    assert [order.transmit for order in orders] == [False, False, True]
    assert [order.parent_id for order in orders] == [0, 20, 20]
    assert len({order.order_ref for order in orders}) == 3 and all(order.account == "DU1" for order in orders)


def test_an_oca_group_is_named_by_its_intent() -> None:
    rows = [LedgerRow(number, ClaimResult.CLAIMED, 101, 20 + number, 5, True) for number in range(2)]
    orders = claimed(command(leg(0), leg(1), group=Group.OCA), rows, deployment_id="sim")
    assert all(order.oca_group == IID and order.transmit and not order.parent_id for order in orders)


def test_a_modify_needs_this_sessions_word_on_the_order() -> None:
    modify = command(modifies="m" * 20)
    assert not why_not_modify(modify, target(), 3)
    assert "session" in why_not_modify(modify, target(), 4)
    assert "session" in why_not_modify(modify, target(perm_id=0), 3)
    assert why_not_modify(modify, target(state=OrderState.FILLED), 3)
    assert why_not_modify(modify, target(state=OrderState.UNKNOWN), 3)
    assert why_not_modify(modify, None, 3)


def test_a_modify_keeps_the_orders_id_and_reference() -> None:
    modify = command(modifies="m" * 20)
    request = modify_request(modify, target(), refusal="", entry_id="1-1", deployment_id="sim", now_ns=5)
    assert request.order_ids == (12,) and request.if_claimed[0].code == MODIFY_CODE
    assert request.if_claimed[0].text == "ref"
    (order,) = claimed_modify(modify, [LedgerRow(0, ClaimResult.CLAIMED, 101, 12, 5, True)], target(), 0)
    assert (order.order_id, order.order_ref, order.quantity) == (12, "ref", Decimal(10))


def test_a_modify_that_cannot_be_sent_ends_in_its_claim() -> None:
    modify = command(modifies="m" * 20)
    request = modify_request(modify, None, refusal="gone", entry_id="1-1", deployment_id="sim", now_ns=5)
    assert request.if_claimed[0].state is OrderState.REFUSED


def test_a_command_of_before_a_loss_may_be_at_the_broker() -> None:
    # Simulation, seed 5101: a bracket whose claim Redis had lost was refused before the broker had told how it ended.
    assert may_be_at_broker(command(), "y")
    assert not may_be_at_broker(command(), "x")


def test_a_refusal_repeats_the_last_word_on_an_order_that_is_at_the_broker() -> None:
    # Simulation, seed 253: Redis lost the claim; the stale command's refusal said that a working order had ended.
    two = command(leg(0), leg(1, Side.SELL, parent_leg=0), group=Group.BRACKET)
    request = claim_request(two, entry_id="1-1", deployment_id="sim", client_id=101, order_ids=(7, 8), now_ns=50)
    first, second = request.if_claimed
    known = {first.order_ref: target(order_ref=first.order_ref)}
    events = keep_known(request, known).if_refused[ClaimResult.REFUSED_STALE]
    assert [event.state for event in events] == [OrderState.WORKING, OrderState.REFUSED]
    assert events[0].perm_id == 7 and events[1].order_ref == second.order_ref


def test_events_put_together_by_hand_are_what_the_class_makes() -> None:
    asked = command(leg(0, outside_rth=True), leg(1, side=Side.SELL, parent_leg=0), group=Group.BRACKET)
    request = claim_request(
        asked, entry_id="1-1", deployment_id="sim", client_id=101, order_ids=(7, 8), now_ns=asked.not_after_ns + 1,
        window="reset",
    )  # fmt: skip
    made = [*request.if_claimed, *(event for events in request.if_refused.values() for event in events)]
    assert len(made) > 8
    for event in made:
        again = OrderEvent(**event.__dict__)
        assert event == again and list(event.__dict__) == list(OrderEvent.model_fields)
        assert {name: type(value) for name, value in event} == {name: type(value) for name, value in again}
        assert encode_body(event) == encode_body(again)
        assert OrderEvent.model_validate(event.model_dump()) == event
