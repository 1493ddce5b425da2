"""Counts belong to the trading day of the message, also in a book that is rebuilt."""

from __future__ import annotations

import pytest

from services.risk.core import activity
from services.risk.core.activity import Activity
from services.risk.core.days import TradingDay
from shared.messages.orders import OrderState
from tests.risk_desk import NOW, SECOND, D, command_of, decided, event_of, fill_of, intent_of, limits_with, ready_book

DAY = 86_400 * SECOND


def test_a_new_trading_day_counts_anew() -> None:
    book = ready_book()
    for at_ns, number in ((NOW - DAY, 1), (NOW, 2), (NOW + SECOND, 3)):
        book.apply(command_of(intent_of(number)), at_ns)
        fill_of(book, number, 1, "BUY", 10, exec_id=f"e{number}.01.01", now_ns=at_ns)
    counts = book.activity
    assert (counts.turnover, counts.trades, counts.orders, counts.filled) == (D(2000), 2, {"s": 2}, {"s": 2})
    counts.advance(NOW - DAY)
    assert counts.trades == 2, "a clock that jumps back forgets nothing"


def test_rejections_in_a_row_end_with_an_order_that_works() -> None:
    book = ready_book()
    for number in (1, 2):
        decided(intent_of(number, quantity=number), book, limits_with())
        for _ in range(2):
            book.apply(event_of(number, OrderState.REJECTED, by="broker"), NOW)
    assert book.activity.rejects == {"s": 2}, "the same event twice counts once"
    book.apply(event_of(3, OrderState.WORKING), NOW)
    assert book.activity.rejects == {}


def test_contents_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "CONTENTS_MAX", 2)
    counts = Activity(TradingDay.of("00:00 UTC"))
    for number in (1, 2, 3):
        counts.approved(intent_of(number, quantity=number), NOW + number)
    seen = [counts.seen_ns(intent_of(9, quantity=number), NOW) for number in (1, 2, 3)]
    assert seen == [0, NOW + 2, NOW + 3]


def test_a_person_ends_what_counts_against_a_strategy() -> None:
    counts = Activity(TradingDay.of("00:00 UTC"))
    for strategy in ("s", "t"):
        counts.approved(intent_of(1, strategy=strategy), NOW)
        counts.rejected(strategy)
    counts.approved(intent_of(2, strategy="s"), NOW)
    assert counts.repeats_most == 2
    counts.resume("s")
    assert list(counts.rejects) == ["t"] and list(counts.repeats) == [("t", 1, True)] and counts.repeats_most == 1
    counts.resume("")
    assert not counts.rejects and not counts.repeats and not counts.repeats_most
