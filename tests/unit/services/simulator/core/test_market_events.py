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
    driver.trade(100.01, 100)
    return driver


def halted(driver: Driver) -> list[float]:
    return [each.value for each in driver.got(1, rs.TickGeneric) if each.tick_type == 49]


def test_a_halt_stops_everything_and_ends_by_itself(exchange: Driver) -> None:
    exchange.fault("halt", symbol="AAPL", seconds=5)
    before = len(exchange.got(1, rs.TickPrice))
    exchange.place(1, 1, order("BUY", 100))
    exchange.quote(99.00, 99.02)
    exchange.run()
    assert len(exchange.got(1, rs.TickPrice)) == before and exchange.got(1, rs.ExecDetails) == []
    exchange.run(5)
    exchange.quote(99.00, 99.02)
    assert exchange.got(1, rs.ExecDetails)[0].price == 99.02
    assert halted(exchange) == [0.0, 1.0, 0.0]


def test_trading_resumes_by_command(exchange: Driver) -> None:
    exchange.fault("halt", symbol="AAPL")
    exchange.run(3600)
    exchange.fault("resume_trading", symbol="AAPL")
    assert halted(exchange)[-1] == 0.0


def test_nothing_trades_beyond_the_price_limits(exchange: Driver) -> None:
    exchange.fault("price_limits", symbol="AAPL", low=95, high=100.01)
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="100.05"))
    assert exchange.errors(1) == [(1, 201)]
    exchange.place(1, 2, order("BUY", 100))
    exchange.run()
    assert exchange.got(1, rs.ExecDetails) == [], "the offer stands above the limit"
    exchange.quote(99.98, 100.00)
    assert exchange.got(1, rs.ExecDetails)[0].price == 100.00
    exchange.fault("price_limits", symbol="AAPL")
    exchange.place(1, 3, order("BUY", 100, "LMT", lmt_price="100.05"))
    exchange.run()
    assert exchange.statuses(1, 3)[-1] == "Filled"


def test_a_jump_moves_the_synthetic_price(exchange: Driver) -> None:
    prices, apple = exchange.engine.floor.prices, exchange.engine.floor.universe.named("AAPL")
    before = prices.mid(apple, exchange.now_ns)
    exchange.fault("price_jump", symbol="AAPL", percent=-10)
    assert prices.mid(apple, exchange.now_ns) == pytest.approx(before * 0.9)


def test_short_sales_wait_while_a_stock_is_hard_to_borrow(exchange: Driver) -> None:
    exchange.fault("hard_to_borrow", symbol="AAPL", seconds=3)
    exchange.place(1, 1, order("SELL", 100))
    exchange.run()
    assert exchange.errors(1) == [(1, 404)]
    exchange.fault("hard_to_borrow", symbol="AAPL", seconds=0)
    exchange.run(3)
    assert exchange.statuses(1, 1)[-1] == "Filled"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("halt", {"symbol": "NOPE"}),
        ("halt", {"symbol": "AAPL", "seconds": -1}),
        ("price_limits", {"symbol": "AAPL", "low": 5, "high": 4}),
        ("price_jump", {"symbol": "AAPL", "percent": -100}),
        ("hard_to_borrow", {"symbol": "AAPL", "seconds": -1}),
    ],
)
def test_bad_parameters(exchange: Driver, name: str, parameters: dict[str, object]) -> None:
    with pytest.raises(BadFault):
        exchange.fault(name, **parameters)
