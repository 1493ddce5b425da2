"""What cannot be right is noted once, judged against the market of the same moment, and never out of history."""

from __future__ import annotations

from typing import Any

import pytest

from services.risk.core.exposure import Book
from services.risk.core.oddities import Oddities
from shared.messages.control import Control, ControlAction
from shared.messages.orders import OrderState
from tests.risk_desk import ACCOUNT, NOW, SECOND, D, decided, event_of, fill_of, intent_of, limits_with, ready_book


def an_order(book: Book, number: int = 1, quantity: int = 10) -> None:
    assert decided(intent_of(number, "BUY", quantity), book, limits_with()).command is not None


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"price": D(100)}, ""),
        ({"quantity": 11}, "beyond its order of 10"),
        ({"number": 2}, "never approved"),
        ({"number": 2, "is_late": True}, ""),
    ],
)
def test_executions_that_cannot_be_right(values: dict[str, Any], word: str) -> None:
    book = ready_book()
    an_order(book)
    given: dict[str, Any] = {"number": 1, "quantity": 10, "exec_id": "x.01.01", **values}
    fill_of(book, given.pop("number"), 1, "BUY", given.pop("quantity"), **given)
    assert (word in book.oddities.strange) and bool(word) == bool(book.oddities.strange)


def test_a_price_is_compared_with_the_market_of_its_moment_only() -> None:
    book = ready_book()
    an_order(book)
    fill_of(book, 1, 1, "BUY", 1, price=D(110), exec_id="a.01.01")
    assert book.oddities.away_percent == 10 and "market was at 100" in book.oddities.away_text
    book.oddities.resume()
    fill_of(book, 1, 1, "BUY", 1, price=D(150), exec_id="b.01.01", is_late=True)
    book.contract(1).quote.ts_ns = NOW - 6 * SECOND
    fill_of(book, 1, 1, "BUY", 1, price=D(150), exec_id="c.01.01")
    assert book.oddities.away_percent == 0


def test_history_is_not_judged() -> None:
    book = ready_book()
    book.oddities.since_ns = NOW + 1
    fill_of(book, 7, 1, "BUY", 10, price=D(500), is_liquidation=True, exec_id="x.01.01")
    book.apply(event_of(8, OrderState.REJECTED), NOW)
    assert not book.oddities.strange and not book.oddities.liquidated and not book.oddities.errors


def test_errors_are_counted_in_their_window_and_once_an_order() -> None:
    book = ready_book()
    for number in (1, 2):
        an_order(book, number)
        for _ in range(2):
            book.apply(event_of(number, OrderState.REJECTED), NOW)
    odd = book.oddities
    assert odd.errors_within(60 * SECOND, NOW) == 2 and odd.errors_within(60 * SECOND, NOW + 60 * SECOND) == 0


def test_a_person_ends_what_was_seen() -> None:
    odd = Oddities()
    odd.erred(NOW)
    odd.unprotected = {("s", 1): NOW, ("t", 1): NOW}
    odd.resume("s")
    assert odd.unprotected == {("t", 1): NOW} and odd.errors
    book = ready_book()
    book.oddities.erred(NOW)
    resume = Control(control_id="r", action=ControlAction.RESUME, who="me", reason=ACCOUNT)
    book.apply(resume, NOW)
    assert not book.oddities.errors
