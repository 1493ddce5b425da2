from __future__ import annotations

from decimal import Decimal

import pytest

from services.guard.core.exposure import Exposure
from shared.tws.contract import TwsContract
from shared.tws.order import OrderState, TwsOrder
from shared.tws.requests import PlaceOrder
from shared.tws.responses import ExecDetails, OpenOrder, OpenOrderEnd, OrderStatus, Position, PositionEnd

AAPL = TwsContract(con_id=265598, symbol="AAPL", sec_type="STK")
ME = 101


def order(action: str, quantity: int, number: int = 7, **more) -> PlaceOrder:
    return PlaceOrder(number, AAPL, TwsOrder(action, Decimal(quantity), "MKT", account="DUSIM1", **more))


def execution(shares: int, side: str = "SLD", number: int = 7, exec_id: str = "a.01") -> ExecDetails:
    return ExecDetails(-1, number, AAPL, exec_id, "", "DUSIM1", "X", side, Decimal(shares), 1.0, 1, ME)


def status(word: str, filled: int, number: int = 7) -> OrderStatus:
    return OrderStatus(number, word, Decimal(filled), Decimal(0), client_id=ME)


def holding(quantity: int) -> Exposure:
    book = Exposure()
    book.session_started(ME, frozenset())
    for message in (Position("DUSIM1", AAPL, Decimal(quantity), 1.0), PositionEnd(), OpenOrderEnd()):
        book.observe(message)
    return book


@pytest.mark.parametrize(
    "position, action, quantity, reduces",
    [
        (100, "SELL", 100, True),
        (100, "SELL", 101, False),
        (100, "BUY", 1, False),
        (-100, "BUY", 100, True),
        (-100, "SELL", 1, False),
        (0, "SELL", 1, False),
        (100, "SELL", 0, False),
        (100, "SSHORT", 1, False),
    ],
)
def test_an_order_towards_zero_and_not_beyond_reduces(position, action, quantity, reduces):
    assert holding(position).reduces(ME, order(action, quantity)) is reduces


def test_nothing_reduces_before_both_lists_have_ended():
    book = Exposure()
    book.observe(Position("DUSIM1", AAPL, Decimal(100), 1.0))
    book.observe(PositionEnd())
    assert not book.reduces(ME, order("SELL", 1))
    book.observe(OpenOrderEnd())
    assert book.reduces(ME, order("SELL", 1))
    book.session_started(ME, frozenset())
    assert not book.reduces(ME, order("SELL", 1))


def test_what_works_already_is_counted_and_ends_with_its_cancel():
    book = holding(100)
    book.sent(ME, order("SELL", 100, 5))  # a protective stop
    assert not book.reduces(ME, order("SELL", 1))
    book.observe(status("PendingCancel", 0, 5))
    assert not book.reduces(ME, order("SELL", 1))
    book.observe(status("Cancelled", 30, 5))  # 30 of it filled, their executions are still to come
    assert book.reduces(ME, order("SELL", 70))
    assert not book.reduces(ME, order("SELL", 71))
    book.observe(execution(30, number=5))
    assert book.reduces(ME, order("SELL", 70))
    assert not book.reduces(ME, order("SELL", 71))


def test_orders_of_others_that_the_broker_shows_are_counted():
    book = holding(100)
    shown = order("SELL", 60, 3)
    book.observe(OpenOrder(3, 5, 1, AAPL, shown.order, OrderState("Submitted")))
    assert book.reduces(ME, order("SELL", 40, 3))  # the same number of another client is another order
    assert not book.reduces(ME, order("SELL", 41, 3))


def test_a_fill_counts_once_until_the_positions_agree():
    book = holding(100)
    book.sent(ME, order("SELL", 60))
    book.observe(execution(60))
    book.observe(execution(60))  # repeated
    book.observe(status("Filled", 60))
    assert book.reduces(ME, order("SELL", 40, 8))
    assert not book.reduces(ME, order("SELL", 41, 8))
    book.observe(Position("DUSIM1", AAPL, Decimal(100), 1.0))  # an old one, still on its way
    assert not book.reduces(ME, order("SELL", 41, 8))
    book.observe(Position("DUSIM1", AAPL, Decimal(40), 1.0))
    assert book.reduces(ME, order("SELL", 40, 8))
    assert not book.reduces(ME, order("SELL", 41, 8))


def test_a_filled_status_before_its_execution_frees_nothing():
    book = holding(100)
    book.sent(ME, order("SELL", 100))
    book.observe(status("Filled", 100))
    assert not book.reduces(ME, order("SELL", 1, 8))


def test_a_modify_counts_the_larger_and_may_not_change_side():
    book = holding(100)
    book.sent(ME, order("SELL", 60))
    assert book.reduces(ME, order("SELL", 100))
    assert not book.reduces(ME, order("SELL", 101))
    book.sent(ME, order("SELL", 10))
    assert not book.reduces(ME, order("SELL", 41, 8))
    assert not book.reduces(ME, order("BUY", 1))


@pytest.mark.parametrize("more", [{"cash_qty": Decimal(5)}, {"account": ""}, {"account": "DUSIM2"}])
def test_what_cannot_be_told_is_no_reduction(more):
    request = order("SELL", 1)
    values = {"account": "DUSIM1"} | more
    request = PlaceOrder(7, AAPL, TwsOrder("SELL", Decimal(1), "MKT", **values))
    assert not holding(100).reduces(ME, request)


def test_a_contract_without_its_id_or_a_combination_is_no_reduction():
    book = holding(100)
    for contract in (TwsContract(symbol="AAPL", sec_type="STK"), TwsContract(con_id=265598, sec_type="BAG")):
        assert not book.reduces(ME, PlaceOrder(7, contract, order("SELL", 1).order))


def stop(quantity: int, price: str = "90", **more) -> PlaceOrder:
    return PlaceOrder(
        7, AAPL, TwsOrder("SELL", Decimal(quantity), "STP", None, Decimal(price), account="DUSIM1", **more)
    )


def test_a_change_that_only_makes_an_order_smaller_reduces_though_the_position_is_smaller_still():
    book = holding(30)
    book.sent(ME, stop(100))
    assert book.reduces(ME, stop(40)) and book.reduces(ME, stop(100))
    assert not book.reduces(ME, stop(101)), "larger"
    assert not book.reduces(ME, stop(40, "95")), "at another price it is another order"
    assert not book.reduces(ME, PlaceOrder(7, AAPL, TwsOrder("SELL", Decimal(40), "MKT", account="DUSIM1")))
    assert not book.reduces(ME, PlaceOrder(8, AAPL, stop(40).order)), "an order of its own"
    assert not book.reduces(ME, stop(0))


def test_an_entry_cannot_be_moved_by_a_change_that_also_makes_it_smaller():
    book = holding(0)
    entry = TwsOrder("BUY", Decimal(100), "LMT", Decimal(90), account="DUSIM1")
    book.sent(ME, PlaceOrder(7, AAPL, entry))
    moved = PlaceOrder(7, AAPL, TwsOrder("BUY", Decimal(50), "LMT", Decimal(110), account="DUSIM1"))
    assert not book.reduces(ME, moved)
    book.sent(ME, moved)  # forwarded before the halt, and perhaps refused by the broker
    assert not book.reduces(ME, moved), "which of the two it has is not known"
    book.observe(OpenOrder(7, ME, 1, AAPL, moved.order, OrderState("Submitted")))
    assert book.reduces(ME, moved)
