from __future__ import annotations

from decimal import Decimal

import pytest

from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import TwsContract
from tests.unit.services.simulator.exchange_support import AAPL, Driver, order


@pytest.fixture
def exchange() -> Driver:
    driver = Driver()
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    driver.trade(100.02, 100)
    return driver


def kinds(driver: Driver, session: int, since: int) -> list[str]:
    interesting = (rs.OpenOrder, rs.OrderStatus, rs.ExecDetails, rs.CommissionReport, rs.ErrorMessage)
    return [type(each).__name__ for each in driver.sent[session][since:] if isinstance(each, interesting)]


def test_a_market_order_speaks_in_the_recorded_order(exchange: Driver) -> None:
    since = len(exchange.sent[1])
    exchange.place(1, 1, order("BUY", 100, order_ref="mine"))
    exchange.run()
    assert kinds(exchange, 1, since) == [
        "OpenOrder", "OrderStatus", "ExecDetails", "OpenOrder", "OrderStatus", "OpenOrder", "CommissionReport",
    ]  # fmt: skip
    assert exchange.statuses(1, 1) == ["PreSubmitted", "Filled"]
    [details] = exchange.got(1, rs.ExecDetails)
    assert (details.req_id, details.price, details.shares, details.order_ref) == (-1, 100.02, Decimal(100), "mine")
    [report] = exchange.got(1, rs.CommissionReport)
    assert (report.exec_id, report.commission, report.realized_pnl) == (details.exec_id, Decimal(1), None)
    assert exchange.got(1, rs.OpenOrder)[-1].state.commission == Decimal(1)


def test_a_large_order_fills_in_parts_and_rests(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 3000, "LMT", lmt_price="100.02"))
    exchange.run()
    exchange.quote(100.00, 100.02, ask_size=1500)
    exchange.quote(100.00, 100.02, ask_size=800)
    fills = exchange.got(1, rs.ExecDetails)
    assert [int(each.shares) for each in fills] == [1000, 1500, 500]
    assert [int(each.cum_qty) for each in fills] == [1000, 2500, 3000]
    assert exchange.statuses(1, 1)[-1] == "Filled"
    assert exchange.statuses(1, 1).count("Submitted") >= 2


def test_a_resting_order_waits_in_the_queue(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="100.00"))
    exchange.run()
    exchange.trade(100.00, 900)
    assert exchange.statuses(1, 1)[-1] == "Submitted"
    exchange.trade(100.00, 150)
    assert [int(each.shares) for each in exchange.got(1, rs.ExecDetails)] == [50]
    exchange.quote(99.97, 99.99)
    assert exchange.statuses(1, 1)[-1] == "Filled"
    assert {each.price for each in exchange.got(1, rs.ExecDetails)} == {100.00}


def test_a_stop_is_held_until_the_last_price_reaches_it(exchange: Driver) -> None:
    exchange.place(1, 1, order("SELL", 100, "STP", aux_price="99.50"))
    exchange.run()
    assert exchange.got(1, rs.OrderStatus)[-1].why_held == "trigger"
    exchange.trade(99.51, 100)
    exchange.run()
    assert exchange.statuses(1, 1)[-1] == "PreSubmitted"
    exchange.trade(99.50, 100)
    exchange.run()
    assert exchange.statuses(1, 1)[-1] == "Filled"


def test_a_triggered_stop_limit_keeps_its_limit(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "STP LMT", lmt_price="100.60", aux_price="100.50"))
    exchange.run()
    exchange.quote(100.69, 100.70)
    exchange.trade(100.70, 10)
    exchange.run()
    assert exchange.statuses(1, 1)[-1] == "Submitted"
    exchange.quote(100.57, 100.59)
    assert exchange.statuses(1, 1)[-1] == "Filled"


def test_a_bracket_is_released_by_its_last_leg(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="99.00", transmit=False))
    exchange.place(1, 2, order("SELL", 100, "LMT", lmt_price="105.00", parent_id=1, transmit=False))
    exchange.run()
    assert exchange.got(1, rs.OrderStatus) == []
    exchange.place(1, 3, order("SELL", 100, "STP", aux_price="95.00", parent_id=1))
    exchange.run()
    assert [exchange.statuses(1, each)[-1] for each in (1, 2, 3)] == ["Submitted", "PreSubmitted", "PreSubmitted"]
    assert exchange.got(1, rs.OrderStatus)[-2].why_held.startswith("child")
    exchange.quote(98.97, 98.99)
    exchange.run()
    assert exchange.statuses(1, 1)[-1] == "Filled"
    assert exchange.statuses(1, 2)[-1] == "Submitted"
    exchange.quote(105.01, 105.03)
    exchange.run()
    assert exchange.statuses(1, 2)[-1] == "Filled"
    assert exchange.statuses(1, 3)[-1] == "Cancelled"


def test_cancelling_a_parent_cancels_its_children(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="99.00", transmit=False))
    exchange.place(1, 2, order("SELL", 100, "LMT", lmt_price="105.00", parent_id=1))
    exchange.run()
    exchange.ask(1, rq.CancelOrder(1))
    exchange.run()
    assert exchange.statuses(1, 1)[-1] == exchange.statuses(1, 2)[-1] == "Cancelled"
    assert (1, 202) in exchange.errors(1) and (2, 202) in exchange.errors(1)


def test_a_partly_filled_parent_leaves_its_child_the_filled_part(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 2000, "LMT", lmt_price="100.02", transmit=False))
    exchange.place(1, 2, order("SELL", 2000, "STP", aux_price="95.00", parent_id=1))
    exchange.run()
    exchange.ask(1, rq.CancelOrder(1))
    exchange.run()
    child = exchange.engine.orders.book.of_client(1, 2)
    assert child is not None and child.is_active and child.order.total_quantity == 1000


def test_a_broker_that_does_not_reduce_children_lets_them_work_as_they_were_sent() -> None:
    exchange = Driver(reduces_children=False)
    exchange.connect(1)
    exchange.quote(99.99, 100.01)
    for first, price in ((1, "100.02"), (3, "90.00")):  # one entry fills in part, the other not at all
        exchange.place(1, first, order("BUY", 2000, "LMT", lmt_price=price, transmit=False))
        exchange.place(1, first + 1, order("SELL", 2000, "STP", aux_price="80.00", parent_id=first))
        exchange.run()
        exchange.ask(1, rq.CancelOrder(first))
        exchange.run()
        child = exchange.engine.orders.book.of_client(1, first + 1)
        assert child is not None and child.is_active and child.order.total_quantity == 2000
        exchange.place(1, first + 1, order("SELL", 1000, "STP", aux_price="80.00"))
        exchange.run()
        assert child.order.total_quantity == 1000, "its owner can still change it"


def test_oca_type_1_cancels_the_others_at_the_first_fill(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="99.00", oca_group="g", oca_type=1))
    exchange.place(1, 2, order("BUY", 100, "LMT", lmt_price="98.00", oca_group="g", oca_type=1))
    exchange.run()
    exchange.quote(98.97, 98.99, ask_size=10)
    assert exchange.statuses(1, 2)[-1] == "Cancelled"


def test_oca_type_3_reduces_the_others(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="99.00", oca_group="g", oca_type=3))
    exchange.place(1, 2, order("BUY", 100, "LMT", lmt_price="98.00", oca_group="g", oca_type=3))
    exchange.run()
    exchange.quote(98.97, 98.99, ask_size=30)
    other = exchange.engine.orders.book.of_client(1, 2)
    assert other is not None and other.order.total_quantity == 70


def test_ioc_cancels_the_rest_and_fok_needs_all(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 1500, "LMT", lmt_price="100.02", tif="IOC"))
    exchange.run()
    assert exchange.statuses(1, 1)[-1] == "Cancelled"
    assert [int(each.shares) for each in exchange.got(1, rs.ExecDetails)] == [1000]
    exchange.quote(100.00, 100.02)
    exchange.place(1, 2, order("BUY", 1500, "LMT", lmt_price="100.02", tif="FOK"))
    exchange.run()
    assert exchange.statuses(1, 2)[-1] == "Cancelled"
    assert len(exchange.got(1, rs.ExecDetails)) == 1


def test_price_and_quantity_may_change(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="99.00"))
    exchange.run()
    exchange.place(1, 1, order("BUY", 200, "LMT", lmt_price="99.50"))
    exchange.run()
    changed = exchange.got(1, rs.OpenOrder)[-1].order
    assert (changed.total_quantity, changed.lmt_price) == (Decimal(200), Decimal("99.50"))
    exchange.place(1, 1, order("BUY", 200, "LMT", lmt_price="100.05"))
    exchange.run()
    assert exchange.statuses(1, 1)[-1] == "Filled"
    assert len(exchange.truth()["orders"]) == 1


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (order("SELL", 100, "LMT", lmt_price="99.00"), 105),
        (order("BUY", 100, "LMT", lmt_price="99.00", order_ref="other"), 105),
        (order("BUY", 100, "LMT", lmt_price="99.00", tif="GTC"), 105),
        (order("BUY", 100, "STP", aux_price="105.00"), 329),
        (order("BUY", 100, "LMT", lmt_price="99.001"), 110),
    ],
)
def test_other_changes_are_refused_and_the_original_lives(exchange: Driver, second, code: int) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="99.00"))
    exchange.run()
    exchange.place(1, 1, second)
    exchange.run()
    assert exchange.errors(1) == [(1, code)]
    kept = exchange.engine.orders.book.of_client(1, 1)
    assert kept is not None and kept.is_active and kept.order.lmt_price == Decimal("99.00")


def test_filled_orders_and_used_ids(exchange: Driver) -> None:
    exchange.place(1, 5, order())
    exchange.run()
    exchange.place(1, 5, order("BUY", 200))
    exchange.place(1, 4, order())
    exchange.ask(1, rq.CancelOrder(5))
    exchange.ask(1, rq.CancelOrder(77))
    assert exchange.errors(1) == [(5, 104), (4, 103), (5, 10148), (77, 10147)]


def test_a_second_cancel_is_refused_and_a_fill_beats_a_cancel(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="100.00"))
    exchange.run()
    exchange.ask(1, rq.CancelOrder(1))
    exchange.ask(1, rq.CancelOrder(1))
    assert exchange.errors(1) == [(1, 161)]
    exchange.quote(99.95, 99.97)
    exchange.run()
    assert exchange.statuses(1, 1)[-1] == "Filled"
    assert exchange.errors(1)[-1] == (1, 10148)


@pytest.mark.parametrize(
    ("placed", "contract", "code"),
    [
        (order("BUY", 100, "LMT", lmt_price="99.001"), AAPL, 110),
        (order("BUY", 0), AAPL, 434),
        (order("BUY", "1.5"), AAPL, 10243),
        (order("BUY", 100, "LMT"), AAPL, 107),
        (order("BUY", 100, "FUNNY"), AAPL, 387),
        (order("BUY", 100, tif="XYZ"), AAPL, 321),
        (order("HOLD", 100), AAPL, 321),
        (order("BUY", 100, account="DU999"), AAPL, 321),
        (order("BUY", 100, e_trade_only=True), AAPL, 10268),
        (order("BUY", 100, parent_id=99), AAPL, 10006),
        (order(), TwsContract(symbol="NOSUCH", sec_type="STK", exchange="SMART", currency="USD"), 200),
        (order(), TwsContract(symbol="SAP", sec_type="STK", exchange="SMART"), 200),
        (order(), TwsContract(symbol="SPX", sec_type="IND", exchange="CBOE", currency="USD"), 460),
    ],
)
def test_refusals(exchange: Driver, placed, contract: TwsContract, code: int) -> None:
    exchange.place(1, 1, placed, contract)
    exchange.run()
    assert exchange.errors(1) == [(1, code)]
    assert exchange.truth()["orders"] == []


def test_an_order_beyond_the_funds_is_rejected(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 1_000_000))
    exchange.run()
    assert exchange.errors(1) == [(1, 201)]
    assert exchange.statuses(1, 1) == ["Inactive"]


def test_a_what_if_places_nothing(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, what_if=True))
    exchange.run()
    [answer] = exchange.got(1, rs.OpenOrder)
    assert answer.order.what_if
    assert answer.state.init_margin_change == Decimal("2500.5000") and answer.state.commission == Decimal(1)
    assert exchange.truth()["orders"] == []


def test_only_the_owner_and_the_master_see_and_touch_an_order() -> None:
    driver = Driver(master_client_id=9)
    owner, other, master = driver.connect(1), driver.connect(2), driver.connect(9)
    driver.ask(owner, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    driver.place(owner, 1, order("BUY", 100, "LMT", lmt_price="99.00"))
    driver.run()
    assert driver.got(other, rs.OrderStatus) == []
    assert len(driver.got(master, rs.OrderStatus)) == len(driver.got(owner, rs.OrderStatus)) > 0
    driver.ask(other, rq.CancelOrder(1))
    driver.ask(master, rq.CancelOrder(1))
    assert driver.errors(other) == driver.errors(master) == [(1, 10147)]
    driver.ask(other, rq.ReqGlobalCancel())
    driver.run()
    assert driver.statuses(owner, 1)[-1] == "Cancelled"


def test_orders_outlive_their_session() -> None:
    driver = Driver()
    first = driver.connect(1)
    driver.ask(first, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    driver.place(first, 1, order("BUY", 100, "LMT", lmt_price="99.00", order_ref="r"))
    driver.run()
    driver.disconnect(first)
    driver.quote(98.90, 98.92)
    second = driver.connect(1)
    assert driver.got(second, rs.NextValidId)[0].order_id == 2
    answer = driver.ask(second, rq.ReqExecutions(7))
    assert [type(each).__name__ for each in answer] == ["ExecDetails", "CommissionReport", "ExecDetailsEnd"]
    completed = driver.ask(second, rq.ReqCompletedOrders(api_only=False))
    assert isinstance(completed[0], rs.CompletedOrder) and completed[0].filled_quantity == 100
    other = driver.connect(2)
    assert [type(each).__name__ for each in driver.ask(other, rq.ReqExecutions(7))] == ["ExecDetailsEnd"]


def test_more_orders_on_a_side_than_allowed_are_rejected() -> None:
    driver = Driver(max_orders_per_side=2)
    driver.connect(1)
    for number in (1, 2, 3):
        driver.place(1, number, order("BUY", 1, "LMT", lmt_price="10.00"))
    driver.run()
    assert driver.errors(1) == [(3, 201)]


def test_read_only_refuses_orders() -> None:
    driver = Driver(read_only=True)
    driver.connect(1)
    driver.place(1, 1, order())
    assert driver.errors(1) == [(1, 321)]


def test_day_orders_end_at_midnight_and_gtc_orders_stay(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 1, "LMT", lmt_price="10.00"))
    exchange.place(1, 2, order("BUY", 1, "LMT", lmt_price="10.00", tif="GTC"))
    exchange.run()
    exchange.run(15 * 3600)
    assert exchange.statuses(1, 1)[-1] == "Cancelled"
    assert exchange.statuses(1, 2)[-1] == "Submitted"


def test_the_ledger_counts_an_order_sent_twice(exchange: Driver) -> None:
    for number in (1, 2):
        exchange.place(1, number, order("BUY", 1, order_ref="same"))
    exchange.run()
    truth = exchange.truth()
    assert truth["orders_sent_twice"] == {"same": 2}
    assert truth["counts"]["orders_sent_twice"] == 1
