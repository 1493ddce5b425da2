"""Each check has a test in which it fails: a checker that cannot fail proves nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.ids import IntentId, order_ref
from shared.messages.account import PositionReport
from shared.messages.base import Message
from shared.messages.orders import Decision, Fill, Group, Intent, OrderEvent, OrderLeg, OrderState, OrderType, Side
from tests.chaos import checker
from tests.chaos.checker import Findings
from tests.chaos.recorder import Seen

INTENT = "i" * 20
REF = order_ref("sim:chaos:DUSIM0001", IntentId("a" * 20), 0)


def seen(message: Message, stream: str = "orders", epoch: int = 0, source: str = "gateway:a") -> Seen:
    return Seen(stream, "1-0", source, epoch, message)


def decision(*, approved: bool, intent: str = "a" * 20) -> Seen:
    return seen(Decision(intent_id=intent, approved=approved))


def event(state: OrderState, leg: int = 0, intent: str = INTENT) -> Seen:
    return seen(
        OrderEvent(
            intent_id=intent, leg=leg, state=state, strategy="manual", account="A", con_id=1, side=Side.BUY,
            quantity=Decimal(1), order_type="MKT",
        )
    )  # fmt: skip


def intent(legs: int = 1) -> Seen:
    parts = tuple(
        OrderLeg(
            leg=number, side=Side.BUY, quantity=Decimal(1), order_type=OrderType.MARKET,
            parent_leg=0 if number else None,
        )
        for number in range(legs)
    )  # fmt: skip
    group = Group.BRACKET if legs > 1 else Group.SINGLE
    return seen(
        Intent(
            intent_id=INTENT, legs=parts, group=group, con_id=1, strategy="manual", account="A", valid_until_ns=1
        )
    )  # fmt: skip


def fill(exec_id: str) -> Seen:
    return seen(
        Fill(
            exec_id=exec_id, exec_stem=exec_id, strategy="manual", account="A", con_id=1, side=Side.BUY,
            quantity=Decimal(1), price=Decimal(1),
        )
    )  # fmt: skip


def truth(**more: Any) -> dict[str, Any]:
    order = {"order_id": 1, "client_id": 101, "order_ref": REF, "is_manual": False}
    execution = {"exec_id": "x1", "order_ref": REF, "side": "BOT", "shares": "1", "symbol": "AAPL"}
    account = {"cash": {"USD": "100.00"}, "positions": {"1": {"quantity": "5"}}}
    return {"orders": [order], "executions": [execution], "accounts": {"A": account}, **more}


def test_two_orders_of_one_reference_are_a_duplicate_and_a_refused_or_changed_one_is_not() -> None:
    new = {"kind": "order_received", "order_ref": REF}
    assert checker.duplicates([new, {"kind": "modify_received", "order_ref": REF}]) == []
    assert checker.duplicates([new, {**new, "accepted": False}]) == []
    assert len(checker.duplicates([new, new])) == 1


def test_an_execution_that_is_not_published_is_lost() -> None:
    assert checker.lost_fills(truth(), [fill("x1")]) == []
    assert len(checker.lost_fills(truth(), [fill("x2")])) == 1


def test_an_execution_published_twice_or_made_up_is_found() -> None:
    assert checker.fills_twice(truth(), [fill("x1")]) == []
    assert len(checker.fills_twice(truth(), [fill("x1"), fill("x1")])) == 1
    assert len(checker.fills_twice(truth(), [fill("x1"), fill("x9")])) == 1


def test_an_order_needs_an_approval_not_just_a_decision() -> None:
    assert checker.unapproved(truth(), [decision(approved=True)]) == []
    assert len(checker.unapproved(truth(), [decision(approved=False)])) == 1
    assert len(checker.unapproved(truth(), [decision(approved=True, intent="b" * 20)])) == 1
    nobody = {"order_id": 1, "client_id": 5, "order_ref": "", "is_manual": False}
    assert len(checker.unapproved(truth(orders=[nobody]), [decision(approved=True)])) == 1
    assert checker.unapproved(truth(orders=[{**nobody, "is_manual": True}]), []) == []


@pytest.mark.parametrize("state", [OrderState.WORKING, OrderState.UNKNOWN, OrderState.CLAIMED])
def test_an_intent_whose_order_works_on_has_not_ended(state: OrderState) -> None:
    assert len(checker.unended([intent(), event(state)])) == 1


def test_only_what_the_broker_itself_lost_may_stay_unknown() -> None:
    lost = checker.lost_by_broker(
        [
            {"kind": "order_state", "state": "Lost", "order_ref": REF},
            {"kind": "order_state", "state": "Filled", "order_ref": "other"},
        ]
    )
    assert lost == {REF}
    unknown = seen(event(OrderState.UNKNOWN).message.model_copy(update={"order_ref": REF}))
    working = seen(event(OrderState.WORKING).message.model_copy(update={"order_ref": REF}))
    assert checker.unended([intent(), unknown], lost) == []
    assert len(checker.unended([intent(), unknown])) == 1
    assert len(checker.unended([intent(), working], lost)) == 1


def test_an_intent_without_a_word_has_not_ended_and_a_refused_one_has() -> None:
    assert len(checker.unended([intent()])) == 1
    assert checker.unended([intent(), decision(approved=False, intent=INTENT)]) == []
    assert len(checker.unended([intent(), decision(approved=True, intent=INTENT)])) == 1


def test_every_leg_of_a_group_has_to_end() -> None:
    first, second = event(OrderState.FILLED), event(OrderState.CANCELLED, leg=1)
    assert len(checker.unended([intent(2), first])) == 1
    assert checker.unended([intent(2), first, second]) == []


def test_an_older_epoch_after_a_newer_is_found_in_its_stream_and_role_only() -> None:
    word = decision(approved=True).message
    new, old = seen(word, epoch=2), seen(word, epoch=1)
    assert checker.epoch_order([old, new]) == []
    assert len(checker.epoch_order([new, old])) == 1
    assert checker.epoch_order([new, seen(word, "fills", 1), seen(word, epoch=1, source="risk:r")]) == []


def report(position: int, unexplained: int = 0) -> PositionReport:
    return PositionReport(
        account="A", con_id=1, position=Decimal(position), average_cost=Decimal(1), unexplained=Decimal(unexplained)
    )


def test_a_position_that_differs_is_missing_or_is_unexplained_is_found() -> None:
    assert checker.positions(truth(), [report(5)]) == []
    assert len(checker.positions(truth(), [report(4)])) == 1
    assert len(checker.positions(truth(), [])) == 1
    assert len(checker.positions(truth(), [report(5, unexplained=1)])) == 1


def test_cash_may_differ_by_a_rounding_only() -> None:
    assert checker.cash(truth(), {"CashBalance:USD": "100.01"}) == []
    assert len(checker.cash(truth(), {"CashBalance:USD": "100.02"})) == 1
    assert len(checker.cash(truth(), {})) == 1


def test_one_finding_is_enough_to_be_not_clean() -> None:
    assert Findings().is_clean
    for name in vars(Findings()):
        assert not Findings(**{name: ["x"]}).is_clean
