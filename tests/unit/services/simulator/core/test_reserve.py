from __future__ import annotations

from decimal import Decimal

import pytest

from services.simulator.core.account import Summary
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.order import TwsOrder
from tests.unit.services.simulator.exchange_support import AAPL, Driver, order

ACCOUNT = "DUSIM0001"


@pytest.fixture
def exchange() -> Driver:
    driver = Driver(cash=Decimal(10_000))
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    return driver


def summary(driver: Driver) -> Summary:
    return driver.engine.orders.fills.summary(driver.engine.accounts[ACCOUNT])


def resting(action: str, quantity: int, price: float, **fields: object) -> TwsOrder:
    return order(action, quantity, "LMT", lmt_price=price, **fields)


def test_a_working_order_claims_its_margin_until_it_ends(exchange: Driver) -> None:
    exchange.place(1, 1, resting("BUY", 100, 90))
    exchange.run()
    assert summary(exchange).initial_margin == Decimal("2500.50")  # at the mark, which is dearer than the limit
    assert summary(exchange).available_funds == 10_000 - Decimal("2500.50")
    assert summary(exchange).maintenance_margin == 0
    exchange.ask(1, rq.CancelOrder(1))
    exchange.run()
    assert summary(exchange).initial_margin == 0


def test_what_working_orders_claim_is_not_there_for_others(exchange: Driver) -> None:
    for number in (1, 2, 3):
        exchange.place(1, number, resting("BUY", 100, 90 + number))
    exchange.run()
    exchange.place(1, 4, resting("BUY", 100, 95))
    assert exchange.errors(1) == [(4, 201)] and exchange.statuses(1, 4) == ["Inactive"]
    exchange.ask(1, rq.CancelOrder(2))
    exchange.run()
    exchange.place(1, 5, resting("BUY", 99, 95))
    exchange.run()
    assert exchange.statuses(1, 5)[-1] == "Submitted"


def test_the_dearer_side_counts_and_what_reduces_claims_nothing(exchange: Driver) -> None:
    exchange.place(1, 1, resting("BUY", 100, 90))
    exchange.place(1, 2, resting("SELL", 100, 110))
    exchange.run()
    assert summary(exchange).initial_margin == 100 * 110 * Decimal("0.30")
    exchange.ask(1, rq.ReqGlobalCancel())
    exchange.run()
    exchange.place(1, 3, order("BUY", 50))
    exchange.run()
    held = summary(exchange).initial_margin
    exchange.place(1, 4, resting("SELL", 50, 110))
    exchange.run()
    assert summary(exchange).initial_margin == held > 0


def test_children_claim_nothing_before_their_parent(exchange: Driver) -> None:
    exchange.place(1, 1, resting("BUY", 100, 90, transmit=False))
    exchange.place(1, 2, resting("SELL", 100, 120, parent_id=1))
    exchange.run()
    assert summary(exchange).initial_margin == Decimal("2500.50")


def test_an_order_may_not_grow_beyond_the_funds(exchange: Driver) -> None:
    exchange.place(1, 1, resting("BUY", 200, 90))
    exchange.run()
    exchange.place(1, 1, resting("BUY", 900, 90))
    exchange.run()
    assert exchange.errors(1) == [(1, 201)]
    (kept,) = exchange.engine.orders.book.open_orders()
    assert kept.order.total_quantity == 200 and kept.status == "Submitted"
    exchange.place(1, 1, resting("BUY", 300, 90))
    exchange.run()
    assert exchange.errors(1) == [(1, 201)] and kept.order.total_quantity == 300


def test_clients_see_it_in_their_account(exchange: Driver) -> None:
    exchange.place(1, 1, resting("BUY", 100, 90))
    exchange.run()
    exchange.ask(1, rq.ReqAccountSummary(7, "All", "InitMarginReq,AvailableFunds"))
    values = {each.tag: each.value for each in exchange.got(1, rs.AccountSummary)}
    assert values == {"InitMarginReq": "2500.50", "AvailableFunds": "7499.50"}


def test_a_what_if_sees_what_is_claimed_already(exchange: Driver) -> None:
    exchange.place(1, 1, resting("BUY", 100, 90))
    exchange.run()
    exchange.place(1, 2, resting("BUY", 100, 90, what_if=True))
    state = next(each.state for each in reversed(exchange.got(1, rs.OpenOrder)) if each.order.what_if)
    assert state.init_margin_before == state.init_margin_change == Decimal("2500.50")
    assert state.init_margin_after == Decimal("5001")
