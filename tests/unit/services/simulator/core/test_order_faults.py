from __future__ import annotations

import pytest

from services.simulator.core.commands import BadFault
from shared.tws import requests as rq
from shared.tws import responses as rs
from tests.unit.services.simulator.exchange_support import AAPL, Driver, order


@pytest.fixture
def exchange() -> Driver:
    driver = Driver()
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    return driver


def perm_id(driver: Driver, order_ref: str) -> int:
    return next(each["perm_id"] for each in driver.truth()["orders"] if each["order_ref"] == order_ref)


def test_a_lost_order_is_never_answered(exchange: Driver) -> None:
    exchange.fault("lose_orders")
    exchange.place(1, 1, order(order_ref="a"))
    exchange.place(1, 2, order(order_ref="b"))
    exchange.run()
    assert exchange.statuses(1, 1) == [] and exchange.statuses(1, 2)[-1] == "Filled"
    assert [each["order_ref"] for each in exchange.truth()["orders"]] == ["b"]


def test_a_modify_in_an_outage_makes_a_second_order(exchange: Driver) -> None:
    exchange.fault("double_perm_id")
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="90.00", order_ref="a"))
    exchange.run()
    exchange.fault("outage", seconds=2)
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="91.00", order_ref="a"))
    exchange.run(3)
    exchange.ask(1, rq.ReqAllOpenOrders())
    shown = {(each.perm_id, str(each.order.lmt_price)) for each in exchange.got(1, rs.OpenOrder)}
    assert {limit for _, limit in shown} == {"90.00", "91.00"} and len({number for number, _ in shown}) == 2
    exchange.ask(1, rq.CancelOrder(1))
    exchange.run()
    states = [each["status"] for each in exchange.truth()["orders"]]
    assert states == ["Submitted", "Cancelled"], "the cancel hit only one"
    exchange.quote(89.97, 89.99)
    assert [each["status"] for each in exchange.truth()["orders"]] == ["Filled", "Cancelled"]


def test_fills_by_hand(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="90.00", order_ref="a"))
    exchange.run()
    exchange.fault("manual_fill", perm_id=perm_id(exchange, "a"), quantity="40", price="89.95")
    exchange.fault("manual_fill", perm_id=perm_id(exchange, "a"))
    fills = [(str(each.shares), each.price) for each in exchange.got(1, rs.ExecDetails)]
    assert fills == [("40", 89.95), ("60", 100.02)]
    assert exchange.statuses(1, 1)[-1] == "Filled"
    with pytest.raises(BadFault, match="works"):
        exchange.fault("manual_fill", perm_id=perm_id(exchange, "a"))


def test_the_broker_cancels_and_rejects(exchange: Driver) -> None:
    for number, ref in ((1, "a"), (2, "b")):
        exchange.place(1, number, order("BUY", 100, "LMT", lmt_price="90.00", order_ref=ref))
    exchange.run()
    exchange.fault("cancel_order", perm_id=perm_id(exchange, "a"))
    exchange.fault("reject_order", perm_id=perm_id(exchange, "b"))
    assert exchange.errors(1) == [(1, 202), (2, 201)]
    assert [exchange.statuses(1, each)[-1] for each in (1, 2)] == ["Cancelled", "Inactive"]
    with pytest.raises(BadFault):
        exchange.fault("cancel_order", perm_id=1)


def test_ids_go_back(exchange: Driver) -> None:
    exchange.place(1, 10, order())
    exchange.fault("rollback_order_ids", client_id=1, by=3)
    exchange.ask(1, rq.ReqIds())
    assert exchange.got(1, rs.NextValidId)[-1].order_id == 8
