from __future__ import annotations

from services.simulator.core.engine import Engine
from shared.tws import requests as rq
from shared.tws import responses as rs
from tests.unit.services.simulator.exchange_support import AAPL, Driver, order


def by_hand(driver: Driver) -> int:
    """Enter a sell order far from the market in TWS; return its permId."""
    driver.fault("manual_order", symbol="AAPL", action="SELL", order_type="LMT", limit="900.00", quantity=10)
    driver.run(1)
    return max(driver.engine.orders.book.by_perm)


def test_client_0_binds_what_is_open_and_may_then_cancel_it() -> None:
    driver = Driver()
    zero, other = driver.connect(0), driver.connect(7)
    perm_id = by_hand(driver)
    assert [each.order_id for each in driver.got(zero, rs.OpenOrder)][:1] == [0]
    driver.ask(other, rq.ReqOpenOrders())
    driver.ask(other, rq.ReqAllOpenOrders())
    assert driver.got(other, rs.OrderBound) == []
    answer = driver.ask(zero, rq.ReqOpenOrders())
    assert answer[0] == rs.OrderBound(perm_id, 0, -1)
    assert [each.order_id for each in answer if isinstance(each, rs.OpenOrder)] == [-1]
    driver.ask(zero, rq.ReqOpenOrders())
    assert len(driver.got(zero, rs.OrderBound)) == 1
    driver.ask(other, rq.CancelOrder(-1))
    driver.ask(zero, rq.CancelOrder(-1))
    driver.run(1)
    assert driver.errors(other) == [(-1, 10147)]
    assert driver.statuses(zero, -1)[-1] == "Cancelled"


def test_a_bound_order_can_be_changed() -> None:
    driver = Driver()
    zero = driver.connect(0)
    by_hand(driver)
    driver.ask(zero, rq.ReqOpenOrders())
    driver.place(zero, -1, order("SELL", 10, "LMT", lmt_price="901.00"))
    driver.run(1)
    assert driver.errors(zero) == []
    assert str(driver.got(zero, rs.OpenOrder)[-1].order.lmt_price) == "901.00"


def test_future_orders_are_bound_on_request() -> None:
    driver = Driver()
    zero = driver.connect(0)
    driver.ask(zero, rq.ReqAutoOpenOrders(auto_bind=True))
    perm_id = by_hand(driver)
    assert driver.got(zero, rs.OrderBound) == [rs.OrderBound(perm_id, 0, -1)]
    assert {each.order_id for each in driver.got(zero, rs.OpenOrder)} == {-1}
    assert rs.OrderBound(by_hand(driver), 0, -2) in driver.got(zero, rs.OrderBound)


def test_only_client_0_and_not_in_read_only_mode() -> None:
    driver = Driver(read_only=True)
    zero, other = driver.connect(0), driver.connect(7)
    driver.ask(other, rq.ReqAutoOpenOrders(auto_bind=True))
    driver.ask(zero, rq.ReqAutoOpenOrders(auto_bind=True))
    by_hand(driver)
    driver.ask(zero, rq.ReqOpenOrders())
    assert driver.errors(other) == [(-1, 327)] and driver.errors(zero) == [(-1, 321)]
    assert driver.got(zero, rs.OrderBound) == []


def test_a_bound_id_survives_a_restart_and_is_not_used_again() -> None:
    driver = Driver()
    zero = driver.connect(0)
    by_hand(driver)
    driver.ask(zero, rq.ReqOpenOrders())
    again = Driver()
    again.engine = Engine(driver.engine.floor.config, driver.now_ns)
    for (kind, key), value in driver.saved.items():
        again.engine.restore(kind, key, value)
    zero = again.connect(0)
    by_hand(again)
    answer = again.ask(zero, rq.ReqOpenOrders())
    assert {each.order_id for each in answer if isinstance(each, rs.OpenOrder)} == {-1, -2}


def test_orders_of_the_api_are_not_bound() -> None:
    driver = Driver()
    zero = driver.connect(0)
    driver.place(zero, 1, order("SELL", 10, "LMT", lmt_price="900.00"), AAPL)
    driver.run(1)
    driver.ask(zero, rq.ReqOpenOrders())
    assert driver.got(zero, rs.OrderBound) == []
