"""Rules on what may be traded at all, one case each way."""

from __future__ import annotations

from typing import Any

import pytest

from services.risk.core.decide import decide
from services.risk.core.exposure import Book
from services.risk.core.snapshot import load_snapshot, snapshot_of
from shared.messages.account import AccountSnapshot, AccountTag
from shared.messages.control import SharesToBorrow
from shared.messages.orders import Decision, Intent, OrderState, OrderType
from tests.risk_desk import (
    ACCOUNT,
    NOW,
    D,
    bracket_of,
    decided,
    event_of,
    hold,
    info,
    intent_of,
    leg_of,
    limits_with,
    ready_book,
)


def ask(intent: Intent, **limits: Any) -> Decision:
    return decide(intent, ready_book(), limits_with(**limits), NOW).decision


@pytest.mark.parametrize("name", ["S1", "#1", "STK"])
def test_lists_of_contracts(name: str) -> None:
    assert ask(intent_of(1), contracts_restricted=(name,)).code == "RISK_CONTRACT_RESTRICTED"
    assert ask(intent_of(1), contracts_allowed=(name,)).approved
    assert ask(intent_of(1), contracts_allowed=("S2",)).code == "RISK_CONTRACT_RESTRICTED"
    assert ask(intent_of(1), contracts_allowed=("any",), contracts_restricted=("S2",)).approved


def test_short_sales_count_all_sells_that_may_fill() -> None:
    book, limits = ready_book(), limits_with(short_selling="refuse")
    hold(book, 1, 10)
    assert decided(intent_of(1, "SELL", 6), book, limits).decision.approved
    assert decide(intent_of(2, "SELL", 5), book, limits, NOW).decision.code == "RISK_SHORT_SALE"
    assert decide(intent_of(3, "SELL", 4), book, limits, NOW).decision.approved
    assert decide(intent_of(4, "BUY", 500), book, limits, NOW).decision.approved
    book.apply(info(2, sec_type="FUT"), NOW)
    assert decide(intent_of(5, "SELL", 5, con_id=2), book, limits, NOW).decision.approved
    warned = decide(intent_of(6, "SELL", 5), book, limits_with(short_selling="warn"), NOW).decision
    assert warned.approved and warned.warned[0].code == "RISK_SHORT_SALE"


def test_short_sales_need_shares_to_borrow_where_the_broker_says_how_many_there_are() -> None:
    book, limits = ready_book(), limits_with(short_unavailable="refuse")
    assert decide(intent_of(1, "SELL", 500), book, limits, NOW).decision.approved, "the broker has said nothing"
    book.apply(SharesToBorrow(con_id=1, shares=D(20)), NOW)
    hold(book, 1, 10)
    assert decided(intent_of(2, "SELL", 25), book, limits).decision.approved
    refused = decide(intent_of(3, "SELL", 6), book, limits, NOW).decision
    assert refused.code == "RISK_SHORT_UNAVAILABLE" and (refused.failed[0].measured, refused.failed[0].limit) == (
        "21", "20",
    )  # fmt: skip
    assert decide(intent_of(4, "SELL", 5), book, limits, NOW).decision.approved
    warned = decide(intent_of(5, "SELL", 6), book, limits_with(short_unavailable="warn"), NOW).decision
    assert warned.approved and warned.warned[0].code == "RISK_SHORT_UNAVAILABLE"
    again = Book(ACCOUNT)
    load_snapshot(again, snapshot_of(book))
    assert again.contract(1).lendable == 20


def test_what_is_short_already_has_been_lent() -> None:
    book, limits = ready_book(), limits_with(short_unavailable="refuse")
    hold(book, 1, -50)
    book.apply(SharesToBorrow(con_id=1, shares=D(10)), NOW)
    assert decided(intent_of(1, "SELL", 10), book, limits).decision.approved
    assert decide(intent_of(2, "SELL", 1), book, limits, NOW).decision.code == "RISK_SHORT_UNAVAILABLE"
    assert decide(intent_of(3, "BUY", 50), book, limits, NOW).decision.approved


@pytest.mark.parametrize(("left", "approved"), [("0", False), ("3", True), ("-1", True), ("nonsense", True)])
def test_day_trades_that_are_left(left: str, approved: bool) -> None:
    book, limits = ready_book(), limits_with(day_trades="refuse")
    book.apply(AccountSnapshot(account=ACCOUNT, values=(AccountTag(tag="DayTradesRemaining", value=left),)), NOW)
    decision = decide(intent_of(1), book, limits, NOW).decision
    assert decision.approved is approved and (approved or decision.code == "RISK_DAY_TRADES")


def test_a_strategy_that_needs_protection_opens_with_a_stop_only() -> None:
    book, limits = ready_book(), limits_with(protection="refuse")
    refused = decide(intent_of(1, quantity=10), book, limits, NOW).decision
    assert refused.code == "RISK_PROTECTION_REQUIRED" and refused.failed[0].measured == "0"
    assert decided(bracket_of(2, quantity=10), book, limits).decision.approved
    far_only = (leg_of("BUY", 10), leg_of("SELL", 10, "101.00", 1, parent_leg=0))
    bare = intent_of(3, legs=far_only, group="bracket")
    assert decide(bare, book, limits, NOW).decision.code == "RISK_PROTECTION_REQUIRED"
    assert decide(intent_of(4, strategy="manual"), book, limits, NOW).decision.approved


def test_a_stop_that_rests_protects_what_is_added_up_to_its_size() -> None:
    book, limits = ready_book(), limits_with(protection="refuse")
    hold(book, 1, 10)
    stop = leg_of("SELL", 15, None, order_type=OrderType.STOP, stop_price=D("95.00"))
    assert decided(intent_of(1, legs=(stop,)), book, limits_with()).decision.approved
    book.apply(event_of(1, OrderState.WORKING, side="SELL", quantity=15, limit_price=None, stop_price=D("95.00")), NOW)
    assert decide(intent_of(2, quantity=5), book, limits, NOW).decision.approved
    assert decide(intent_of(3, quantity=6), book, limits, NOW).decision.code == "RISK_PROTECTION_REQUIRED"
    assert decide(intent_of(4, quantity=5, strategy="t"), book, limits, NOW).decision.code == "RISK_PROTECTION_REQUIRED"
