"""What is resolved once per strategy and contract is what the limits say, and is made anew where it no longer holds."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.risk.core.decide import RULE_BOOK, decide
from services.risk.core.exposure import Book
from services.risk.core.limits import Limits
from services.risk.core.terms import Terms, float_below
from shared.messages.account import AccountSnapshot, AccountTag
from tests.risk_desk import ACCOUNT, NOW, D, decided, fill_of, info, intent_of, limits_with, ready_book


def terms_of(limits: Limits, book: Book | None = None) -> Terms:
    book = book or ready_book()
    return Terms(RULE_BOOK, limits, "s", book.contract(1), book, NOW)


def test_unlimited_is_above_everything() -> None:
    terms = terms_of(limits_with())
    assert terms.value_max == terms.gross_max == Decimal("Infinity") and terms.open_max > 10**15
    assert terms.slippage is None and terms.is_plain


def test_limits_are_compared_as_they_are_written() -> None:
    terms = terms_of(limits_with(open_orders_max=2.5, trades_day_max=3, order_notional_max=5000, turnover_day_max=800))
    assert (terms.open_max, terms.trades_max) == (2, 3) and terms.value_max == 800
    terms.take_turnover(D(700))
    assert terms.value_max == 100


@pytest.mark.parametrize(
    "limits",
    [limits_with(protection="refuse"), limits_with(what_if_margin_percent=50), limits_with(strategy_rate_burst=0.5)],
)
def test_what_their_rules_must_look_at_is_never_plain(limits: Limits) -> None:
    assert not terms_of(limits).is_plain


def test_shares_of_the_account_follow_its_figures() -> None:
    book, limits = ready_book(buying_power="1000"), limits_with(buying_power_share=0.5, cash_min=100)
    terms = terms_of(limits, book)
    terms.take_worth(book)
    assert terms.power is None, "the cash is not known"
    tags = [AccountTag(tag=tag, value=value, currency="USD") for tag, value in (("TotalCashValue", "400"),)]
    book.apply(AccountSnapshot(account=ACCOUNT, currency="USD", values=tuple(tags)), NOW)
    assert terms.worth != book.worth_seen
    terms.take_worth(book)
    assert terms.power == 300 and terms.worth == book.worth_seen
    tag = AccountTag(tag="DayTradesRemaining", value="0")
    book.apply(AccountSnapshot(account=ACCOUNT, currency="USD", values=(tag,)), NOW)
    terms.take_worth(book)
    assert terms.money_max < 0, "without a day trade left no order is proven"


def test_they_are_made_anew_for_other_limits_and_another_definition() -> None:
    book, limits = ready_book(), limits_with()
    seen = []
    for chosen in (limits, limits, limits_with()):
        assert decide(intent_of(1), book, chosen, NOW).decision.approved
        seen.append(book.contract(1).terms["s"])
    assert seen[0] is seen[1] is not seen[2]
    book.apply(info(1), NOW)
    assert not book.contract(1).terms


def test_a_strategys_own_ends_are_the_books() -> None:
    book, limits = ready_book(), limits_with()
    decided(intent_of(1, quantity=10), book, limits)
    terms = book.contract(1).terms["s"]
    assert terms.ends == [10, 0]
    fill_of(book, 1, 1, "BUY", 4, exec_id="e.01.01")
    decided(intent_of(2, "SELL", 3), book, limits)
    assert terms.ends == [10, -1] and terms.ends is book.contract(1).ends_of("s")


def test_a_float_below_a_limit_is_the_next_one() -> None:
    assert float_below(None) is None and float_below(D("0.5")) == 0.5
    most = float_below(D("0.1"))
    assert most is not None and Decimal(most) <= D("0.1")
