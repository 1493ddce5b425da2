"""The broker's word on margin: no answer is no permission, the limit holds together with other orders, exits pass."""

from __future__ import annotations

import pytest

from services.risk.core.margins import Margin
from shared.messages.orders import OrderState
from tests.risk_desk import (
    NOW,
    SECOND,
    D,
    decided,
    event_of,
    hold,
    intent_of,
    limits_with,
    modify_of,
    number_id,
    ready_book,
)  # fmt: skip

LIMITS = limits_with(what_if_margin_percent=50, what_if_wait_s=2)


def answered(
    number: int, after: object, change: object, equity: object = 10_000, asked_ns: int = NOW
) -> dict[str, Margin]:
    return {number_id(number): Margin(asked_ns, after=D(after), change=D(change), equity=D(equity))}


def test_an_order_that_was_not_asked_about_is_refused_and_one_whose_question_failed() -> None:
    book = ready_book()
    refused = decided(intent_of(1), book, LIMITS).decision
    assert (refused.code, refused.failed[0].measured) == ("RISK_MARGIN_UNKNOWN", "not asked")
    book.margins.answers[number_id(1)] = Margin(NOW, "no answer came within 2.0 s")
    refused = decided(intent_of(1), book, LIMITS).decision
    assert refused.code == "RISK_MARGIN_UNKNOWN" and "no answer came" in refused.text


@pytest.mark.parametrize(("after", "code"), [(4999, ""), (5000, ""), ("5000.01", "RISK_MARGIN_AFTER")])
def test_the_margin_after_the_order_is_within_a_share_of_the_equity(after: object, code: str) -> None:
    book = ready_book()
    book.margins.answers.update(answered(1, after, 300))
    verdict = decided(intent_of(1), book, LIMITS)
    assert verdict.decision.code == code
    if not code:
        assert verdict.command is not None and verdict.command.margin_change == 300


def test_two_orders_cannot_both_take_the_last_of_it() -> None:
    book = ready_book()
    book.margins.answers.update(answered(1, 4500, 2500) | answered(2, 4500, 2500, asked_ns=NOW + SECOND))
    first = decided(intent_of(1), book, LIMITS)
    assert first.command is not None and first.command.margin_change is not None
    book.margins.took(intent_of(1), first.command.margin_change, NOW)
    second = decided(intent_of(2), book, LIMITS)
    assert second.decision.code == "RISK_MARGIN_AFTER" and second.decision.failed[0].measured == "7000.00 USD"


def test_what_only_reduces_and_a_modify_that_adds_nothing_need_no_word() -> None:
    book = ready_book()
    hold(book, 1, 10)
    assert decided(intent_of(1, "SELL", 10), book, LIMITS).command is not None
    assert decided(intent_of(2, "BUY", 10, "99.00"), book, limits_with()).command is not None
    book.apply(event_of(2, OrderState.WORKING, limit_price=D("99.00")), NOW)
    assert decided(modify_of(3, 2, "BUY", 10, "99.50"), book, LIMITS).command is not None
    assert decided(modify_of(4, 2, "BUY", 11, "99.50"), book, LIMITS).decision.code == "RISK_MARGIN_UNKNOWN"


def test_it_is_off_unless_the_limits_name_a_share() -> None:
    assert decided(intent_of(1), ready_book(), limits_with()).command is not None
