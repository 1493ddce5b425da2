"""Rules on behaviour, one case each way."""

from __future__ import annotations

from services.risk.core.decide import decide
from shared.messages.control import Control, ControlAction
from shared.messages.orders import OrderState
from tests.risk_desk import (
    NOW,
    SECOND,
    D,
    bracket_of,
    decided,
    event_of,
    fill_of,
    intent_of,
    limits_with,
    ready_book,
)


def test_the_same_again_within_the_window() -> None:
    book, limits = ready_book(), limits_with(duplicates="refuse", duplicate_window_s=1)
    assert decided(intent_of(1), book, limits).decision.approved
    assert decide(intent_of(2), book, limits, NOW + SECOND // 2).decision.code == "RISK_DUPLICATE"
    assert decide(intent_of(3, quantity=11), book, limits, NOW).decision.approved
    assert decide(intent_of(4, strategy="t"), book, limits, NOW).decision.approved
    assert decide(intent_of(5), book, limits, NOW + 2 * SECOND).decision.approved
    warned = decide(intent_of(6), book, limits_with(duplicates="warn", duplicate_window_s=1), NOW).decision
    assert warned.approved and warned.warned[0].code == "RISK_DUPLICATE"


def test_repeats_warn_or_stop_until_a_person_looked() -> None:
    book, limits = ready_book(), limits_with(repeats="warn", repeats_max=2)
    assert not any(decided(intent_of(number), book, limits).decision.warned for number in (1, 2))
    warned = decided(intent_of(3), book, limits).decision
    assert warned.approved and warned.warned[0].code == "RISK_REPEATS_MAX"
    assert not decide(intent_of(4, "SELL"), book, limits, NOW).decision.warned
    strict = limits_with(repeats="refuse", repeats_max=2)
    assert decide(intent_of(4), book, strict, NOW).decision.code == "RISK_REPEATS_MAX"
    resume = Control(control_id="c", action=ControlAction.RESUME_STRATEGY, scope="strategy:s", who="me", reason="seen")
    book.apply(resume, NOW)
    assert not decide(intent_of(5), book, limits, NOW).decision.warned


def test_many_orders_for_few_executions_warn() -> None:
    book, limits = ready_book(), limits_with(orders_per_fill_max=10)
    for number in range(1, 51):
        assert not decided(intent_of(number), book, limits).decision.warned
    assert decide(intent_of(60), book, limits, NOW).decision.warned[0].code == "RISK_ORDER_EFFICIENCY"
    for number in range(1, 5):
        for part in (1, 2):  # an order counts once, however many executions it has
            fill_of(book, number, 1, "BUY", 5, exec_id=f"e{number}{part}.01.01")
    assert not decide(intent_of(60), book, limits, NOW).decision.warned, "50 / (4 + 1)"
    for _ in range(2):
        book.apply(event_of(6, OrderState.CANCELLED), NOW)
    warned = decide(intent_of(60), book, limits, NOW).decision.warned[0]
    assert (warned.code, warned.measured) == ("RISK_ORDER_EFFICIENCY", "10.2"), "a cancel counts, once"


def test_an_order_that_could_trade_with_our_own() -> None:
    book, limits = ready_book(), limits_with(self_cross="refuse")
    assert decided(intent_of(1, "SELL", 10, "100.50", strategy="t"), book, limits).decision.approved
    for number, (price, approved) in enumerate([("100.49", True), ("100.50", False), (None, False)], start=2):
        decision = decide(intent_of(number, "BUY", 10, price), book, limits, NOW).decision
        assert decision.approved is approved and (approved or decision.code == "RISK_SELF_CROSS")
    assert decide(intent_of(5, "BUY", 10, None, con_id=2), book, limits, NOW).decision.approved
    book.apply(event_of(1, OrderState.CANCELLED, side="SELL", strategy="t"), NOW)
    assert decide(intent_of(6, "BUY", 10, None), book, limits, NOW).decision.approved


def test_children_that_wait_for_their_parent_cross_nothing() -> None:
    book, limits = ready_book(), limits_with(self_cross="refuse")
    assert decided(bracket_of(1), book, limits).decision.approved
    assert decide(intent_of(2, "BUY", 10, "101.50"), book, limits, NOW).decision.approved
    assert decide(intent_of(3, "SELL", 10, "100.00"), book, limits, NOW).decision.code == "RISK_SELF_CROSS"
    book.apply(event_of(1, OrderState.FILLED), NOW)
    assert decide(intent_of(4, "BUY", 10, "101.50"), book, limits, NOW).decision.code == "RISK_SELF_CROSS"


def test_turnover_and_trades_of_the_day() -> None:
    book = ready_book()
    fill_of(book, 1, 1, "BUY", 10, exec_id="a.01.01")
    limits = limits_with(turnover_day_max=2000)
    assert decide(intent_of(2), book, limits, NOW).decision.approved
    assert decide(intent_of(3, quantity=D("11")), book, limits, NOW).decision.code == "RISK_TURNOVER_DAY_MAX"
    assert decide(intent_of(4), book, limits_with(trades_day_max=2), NOW).decision.approved
    assert decide(intent_of(5), book, limits_with(trades_day_max=1), NOW).decision.code == "RISK_TRADES_DAY_MAX"
    tomorrow = NOW + 86_400 * SECOND
    late = intent_of(6, valid_until_ns=tomorrow)
    assert decide(late, book, limits_with(trades_day_max=1), tomorrow).decision.approved
