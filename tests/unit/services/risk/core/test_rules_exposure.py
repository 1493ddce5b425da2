"""Exposure rules at their edges: exactly at the limit passes, one share more does not."""

from __future__ import annotations

from typing import Any

import pytest

from services.risk.core.decide import RuleBook, decide
from services.risk.core.exposure import Book
from services.risk.core.rules_exposure import (
    BuyingPower,
    CashMin,
    Concentration,
    ExposureCurrencyMax,
    ExposureGrossMax,
    ExposureNetMax,
)
from shared.messages.account import AccountSnapshot, AccountTag, ExchangeRate
from shared.messages.orders import Decision
from tests.risk_desk import ACCOUNT, NOW, D, hold, info, intent_of, limits_with, ready_book


def ask(book: Book, rule: Any, side: str, quantity: int, *, con_id: int = 1, **limits: Any) -> Decision:
    intent = intent_of(1, side, quantity, con_id=con_id)
    return decide(intent, book, limits_with(**limits), NOW, RuleBook([rule])).decision


def show(book: Book, **values: str) -> None:
    tags = tuple(AccountTag(tag=tag, value=value, currency="USD") for tag, value in values.items())
    book.apply(AccountSnapshot(account=ACCOUNT, currency="USD", values=tags), NOW)


NET_CASES = [("BUY", 70, True), ("BUY", 71, False), ("SELL", 500, False)]


@pytest.mark.parametrize(("side", "quantity", "approved"), NET_CASES)
def test_net_exposure_counts_longs_against_shorts(side: str, quantity: int, approved: bool) -> None:
    book = ready_book()
    hold(book, 1, 50)
    hold(book, 2, -20, number=901)
    decision = ask(book, ExposureNetMax(), side, quantity, con_id=3, exposure_net_max=10_000)
    assert decision.approved is approved and (approved or decision.code == "RISK_EXPOSURE_NET_MAX")


def test_net_exposure_does_not_let_a_short_pay_for_buys_that_may_fill_first() -> None:
    book = ready_book()
    hold(book, 1, 90)
    decided = intent_of(5, "SELL", 500, con_id=2)
    book.reserve(decided, NOW, (1e9, 1e9, 1e9, 1e9))
    assert ask(book, ExposureNetMax(), "BUY", 10, con_id=3, exposure_net_max=45_000).approved
    assert not ask(book, ExposureNetMax(), "BUY", 361, con_id=3, exposure_net_max=45_000).approved


@pytest.mark.parametrize(("quantity", "approved"), [(80, True), (81, False)])
def test_one_currency_has_a_limit_of_its_own(quantity: int, approved: bool) -> None:
    book = ready_book()
    book.apply(ExchangeRate(account=ACCOUNT, currency="EUR", rate=D("1.25")), NOW)
    book.apply(info(2, currency="EUR"), NOW)
    decision = ask(book, ExposureCurrencyMax(), "BUY", quantity, con_id=2, exposure_currency_max=10_000)
    assert decision.approved is approved and (approved or "EUR" in decision.text)
    assert ask(book, ExposureCurrencyMax(), "BUY", 500, con_id=1, exposure_currency_max=10_000).approved


@pytest.mark.parametrize(("quantity", "approved"), [(250, True), (251, False)])
def test_concentration_is_a_share_of_what_the_account_is_worth(quantity: int, approved: bool) -> None:
    book = ready_book()
    assert ask(book, Concentration(), "BUY", 1, concentration_percent=25).failed[0].measured == "unknown"
    show(book, NetLiquidation="100000")
    decision = ask(book, Concentration(), "BUY", quantity, concentration_percent=25)
    assert decision.approved is approved and (approved or decision.failed[0].measured == "25.1 %")


@pytest.mark.parametrize(("quantity", "approved"), [(80, True), (81, False)])
def test_cash_must_stay(quantity: int, approved: bool) -> None:
    book = ready_book()
    assert ask(book, CashMin(), "BUY", 1, cash_min=1000).failed[0].measured == "unknown"
    show(book, TotalCashValue="10000")
    book.reserve(intent_of(5, "BUY", 10, con_id=2), NOW, (1e9, 1e9, 1e9, 1e9))
    decision = ask(book, CashMin(), "BUY", quantity, cash_min=1000)
    assert decision.approved is approved and (approved or decision.failed[0].measured == "900.00 USD")


def test_gross_exposure_and_buying_power_count_reservations() -> None:
    book = ready_book(buying_power="10000")
    book.reserve(intent_of(5, "SELL", 60, con_id=2), NOW, (1e9, 1e9, 1e9, 1e9))
    gross, power = {"exposure_gross_max": 10_000}, {"buying_power_share": 1}
    for rule, limits in ((ExposureGrossMax(), gross), (BuyingPower(), power)):
        assert ask(book, rule, "BUY", 40, **limits).approved
        assert not ask(book, rule, "BUY", 41, **limits).approved
