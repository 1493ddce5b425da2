"""The account's sums follow prices, rates and definitions, and take back exactly what they took."""

from __future__ import annotations

from decimal import Decimal

from shared.messages.account import AccountSnapshot, ExchangeRate
from tests.risk_desk import ACCOUNT, NOW, D, hold, info, intent_of, ready_book, set_price

ZERO = Decimal(0)


def test_prices_only_count_once_asked_for() -> None:
    book = ready_book()
    hold(book, 1, 10)
    book.advance(NOW)
    for price in (101.0, 102.0, 103.0):
        set_price(book, 1, price)
    assert book.sums.gross_worst == 1000, "a tick alone changes nothing"
    book.advance(NOW)
    assert (book.sums.gross_worst, book.sums.net_high, book.sums.net_low) == (1030, 1030, 1030)


def test_what_is_unknown_is_in_no_sum_but_named() -> None:
    book = ready_book()
    hold(book, 1, 10)
    book.apply(info(1, currency="GBP"), NOW)
    book.advance(NOW)
    assert book.sums.gross_worst == ZERO and list(book.sums.unvalued) == [1]
    book.apply(ExchangeRate(account=ACCOUNT, currency="GBP", rate=D("1.25")), NOW)
    book.advance(NOW)
    assert book.sums.gross_worst == 1250 and not book.sums.unvalued
    assert book.sums.by_currency == {"GBP": D(1250)}
    book.apply(ExchangeRate(account=ACCOUNT, currency="GBP", rate=D(-1)), NOW)
    book.advance(NOW)
    assert book.sums.gross_worst == 1250, "a rate that is none changes nothing"


def test_a_new_base_currency_moves_what_is_foreign() -> None:
    book = ready_book()
    hold(book, 1, 10)
    book.apply(ExchangeRate(account=ACCOUNT, currency="USD", rate=D("0.8")), NOW)
    book.apply(AccountSnapshot(account=ACCOUNT, currency="EUR"), NOW)
    book.advance(NOW)
    assert book.sums.gross_worst == 800 and book.sums.by_currency == {"USD": D(800)}
    book.apply(AccountSnapshot(account=ACCOUNT, currency="USD"), NOW)
    book.advance(NOW)
    assert book.sums.gross_worst == 1000 and not any(book.sums.by_currency.values())


def test_everything_that_was_added_is_taken_back() -> None:
    book = ready_book()
    sides = ((1, "BUY"), (2, "SELL"), (3, "BUY"))
    intents = [intent_of(number, side, 7 * number, con_id=number) for number, side in sides]
    for intent in intents:
        book.reserve(intent, NOW, (1e9, 1e9, 1e9, 1e9))
    book.advance(NOW)
    assert (book.sums.gross_worst, book.sums.net_high, book.sums.net_low) == (4200, 2800, -1400)
    for number, intent in enumerate(intents):
        set_price(book, number + 1, 77.7)
        book.advance(NOW)
        book.release(intent)
    sums = book.sums
    assert sums.gross_worst == sums.gross_position == sums.net_high == sums.net_low == ZERO and book.open_orders == 0
