"""A snapshot says everything the streams said: limits, books that differ, halts and readiness hold after it too."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from services.risk.core.exposure import Book
from services.risk.core.snapshot import load_snapshot, snapshot_of
from services.risk.core.tripping import trip_account
from shared.messages.account import ExchangeRate, PnlReport
from shared.messages.control import Control, ControlAction
from shared.messages.orders import OrderState
from tests.risk_desk import (
    ACCOUNT,
    INCARNATION,
    NOW,
    SECOND,
    D,
    bracket_of,
    decided,
    event_of,
    fill_of,
    hold,
    info,
    intent_of,
    limits_with,
    modify_of,
    ready_book,
    report,
)


def reborn(book: Book) -> Book:
    """Return the book that a successor makes of a snapshot."""
    successor = Book(ACCOUNT, incarnation=INCARNATION, epoch=8)
    load_snapshot(successor, msgpack.unpackb(msgpack.packb(snapshot_of(book))))
    for con_id in (1, 2, 3):
        successor.apply(info(con_id), NOW)
    return successor


def busy() -> Book:
    book = ready_book()
    hold(book, 1, 30)
    hold(book, 2, -20, strategy="t", number=901)
    decided(bracket_of(1), book, limits_with())
    decided(intent_of(2, con_id=2, strategy="t"), book, limits_with())
    book.apply(event_of(2, OrderState.WORKING, con_id=2, strategy="t"), NOW)
    decided(modify_of(3, 2, "BUY", 15, con_id=2, strategy="t"), book, limits_with())
    book.apply(ExchangeRate(account=ACCOUNT, currency="EUR", rate=D("1.1")), NOW)
    book.apply(PnlReport(account=ACCOUNT, daily=D(-70)), NOW)
    return book


def test_a_successor_knows_the_same() -> None:
    book = busy()
    successor = reborn(book)
    assert snapshot_of(successor) == snapshot_of(book)
    assert successor.open_orders == book.open_orders
    for con_id in (1, 2):
        mine, theirs = successor.contract(con_id), book.contract(con_id)
        assert (mine.total, mine.by_strategy, mine.broker) == (theirs.total, theirs.by_strategy, theirs.broker)
        assert (mine.buys, mine.sells, mine.worst_quantity) == (theirs.buys, theirs.sells, theirs.worst_quantity)
        assert {name: work for name, work in mine.strategy_work.items() if any(work)} == {
            name: work for name, work in theirs.strategy_work.items() if any(work)
        }
        assert {name: ends for name, ends in mine.strategy_ends.items() if any(ends)} == {
            name: ends for name, ends in theirs.strategy_ends.items() if any(ends)
        }
    assert successor.activity.repeats_most == book.activity.repeats_most > 0
    assert successor.readiness.settled_in == INCARNATION
    trip_account(successor, limits_with(daily_loss_max=50).base)
    assert "daily_loss" in successor.breakers.trips


def test_what_follows_a_snapshot_is_applied_as_to_the_book_itself() -> None:
    book = busy()
    successor = reborn(book)
    for one in (book, successor):
        one.apply(event_of(3, OrderState.MODIFIED, con_id=2), NOW + SECOND)
        fill_of(one, 2, 2, "BUY", 5, exec_id="late.01.01", strategy="t")
        fill_of(one, 901, 2, "SELL", 20, exec_id="h2901.01.01", strategy="t")
    assert snapshot_of(successor) == snapshot_of(book)
    assert successor.contract(2).total == -15


def test_halts_pauses_and_books_that_differ_are_not_forgotten() -> None:
    book = busy()
    for action, scope in ((ControlAction.HALT, "contract:2"), (ControlAction.PAUSE_STRATEGY, "strategy:s")):
        book.apply(Control(control_id="c", action=action, scope=scope, who="me", reason="why"), NOW)
    report(book, 1, 77, NOW)
    book.advance(NOW + 11 * SECOND)
    successor = reborn(book)
    successor.breakers.set_stage("none", "")
    assert successor.breakers.halted(2, "t") and not successor.breakers.halted(1, "t")
    assert successor.breakers.paused("s")
    assert successor.contract(1).is_mismatched and successor.contract(1).position == 77
    report(successor, 1, 30, NOW + 12 * SECOND)
    assert not successor.contract(1).is_mismatched


@pytest.mark.parametrize("change", [{"version": 99}, {"account": "DU1"}, {"groups": [b"\xc1"]}, {"contracts": [[1]]}])
def test_what_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, ArithmeticError)):
        load_snapshot(Book(ACCOUNT), {**snapshot_of(busy()), **change})
