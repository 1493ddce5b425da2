from __future__ import annotations

from decimal import Decimal

import pytest

from shared.tws import requests as rq
from shared.tws import responses as rs
from tests.unit.services.simulator.exchange_support import AAPL, Driver, order


@pytest.fixture
def exchange() -> Driver:
    driver = Driver()
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02, ask_size=100, bid_size=100)
    return driver


def test_the_minimum_commission_is_for_the_whole_order(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 300, "LMT", lmt_price="100.02"))
    exchange.run()
    for _ in range(2):
        exchange.quote(100.00, 100.02, ask_size=100)
    fees = [each.commission for each in exchange.got(1, rs.CommissionReport)]
    assert len(fees) == 3 and fees[0] == 1 and sum(fees) == Decimal("1.5")


def test_profit_comes_with_the_commission_of_what_closes(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100))
    exchange.run()
    exchange.quote(101.00, 101.02)
    exchange.place(1, 2, order("SELL", 100))
    exchange.run()
    opened, closed = exchange.got(1, rs.CommissionReport)
    assert opened.realized_pnl is None
    assert closed.realized_pnl == Decimal("101.00") * 100 - Decimal("100.02") * 100 - 2


def test_tiered_commissions() -> None:
    driver = Driver(commissions="tiered")
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    driver.place(1, 1, order("BUY", 100))
    driver.run()
    assert driver.got(1, rs.CommissionReport)[0].commission == Decimal("0.37")


def test_the_ledger_has_the_execution_before_anybody_is_told(exchange: Driver) -> None:
    exchange.fault("stall", seconds=10)
    exchange.place(1, 1, order("BUY", 100, order_ref="a"))
    exchange.run()
    assert exchange.got(1, rs.ExecDetails) == []
    assert exchange.truth()["counts"]["execution"] == 1


def test_a_currency_is_worth_its_rate_either_way_round(exchange: Driver) -> None:
    fills = exchange.engine.orders.fills
    assert fills.rate("USD") == 1
    assert Decimal("1.0") < fills.rate("EUR") < Decimal("1.2"), "EUR.USD"
    assert Decimal("0.005") < fills.rate("JPY") < Decimal("0.008"), "one over USD.JPY"
