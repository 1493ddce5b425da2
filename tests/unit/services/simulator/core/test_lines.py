from __future__ import annotations

import pytest

from services.simulator.core.contracts import Listing
from services.simulator.core.hours import TradingSession
from services.simulator.core.lines import DELAYED, LIVE
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import TwsContract
from tests.unit.services.simulator.exchange_support import AAPL, Driver

NS = 1_000_000_000
CALL = TwsContract(symbol="SPY", sec_type="OPT", exchange="SMART", last_trade_date="20261218", strike=600.0, right="C")


def test_an_option_has_greeks_once_a_second() -> None:
    driver = Driver()
    session = driver.connect(1)
    answer = driver.ask(session, rq.ReqMktData(5, CALL))
    greeks = {each.tick_type: each for each in answer if isinstance(each, rs.TickOptionComputation)}
    assert {10, 11, 13} <= set(greeks)
    model = greeks[13]
    assert 0 < model.delta < 1 and model.gamma > 0 and model.vega > 0 > model.theta
    assert greeks[10].implied_vol < greeks[11].implied_vol
    assert greeks[10].option_price < greeks[11].option_price
    floor = driver.engine.floor
    spy, option = floor.universe.by_symbol("SPY"), floor.universe.resolve(CALL)
    assert spy is not None and isinstance(option, Listing)
    assert model.under_price == pytest.approx(floor.mark(spy), rel=1e-6)
    con_id = option.instrument.con_id
    before = len(driver.got(session, rs.TickOptionComputation))
    driver.run(1.5)
    for price in (20.0, 20.5):
        driver.quote(price, price + 0.1, con_id=con_id)
    assert len(driver.got(session, rs.TickOptionComputation)) - before in (3, 4)


def test_delayed_ticks_have_types_of_their_own() -> None:
    assert set(LIVE) == set(DELAYED) and not set(LIVE.values()) & set(DELAYED.values())
    driver = Driver(data_permission="delayed")
    session = driver.connect(1)
    driver.ask(session, rq.ReqMarketDataType(3))
    answer = driver.ask(session, rq.ReqMktData(5, AAPL))
    assert {each.tick_type for each in answer if isinstance(each, rs.TickPrice)} <= set(DELAYED.values())
    assert any(isinstance(each, rs.TickString) and each.tick_type == 88 for each in answer)


def test_a_stock_says_where_it_is_quoted() -> None:
    driver = Driver()
    session = driver.connect(1)
    answer = driver.ask(session, rq.ReqMktData(5, AAPL))
    assert {32, 33, 84} <= {each.tick_type for each in answer if isinstance(each, rs.TickString)}


@pytest.mark.parametrize(
    ("permission", "wanted", "shown", "has_quote"),
    [("live", 1, 1, False), ("live", 2, 2, True), ("delayed", 3, 3, False), ("delayed", 4, 4, True)],
)
def test_a_closed_market_has_quotes_for_frozen_data_only(
    permission: str, wanted: int, shown: int, has_quote: bool
) -> None:
    driver = Driver(data_permission=permission)
    later = driver.now_ns + 3600 * NS
    driver.engine.hours.calendars["XNYS"] = [TradingSession(later, later + 3600 * NS)]
    session = driver.connect(1)
    driver.ask(session, rq.ReqMarketDataType(wanted))
    answer = driver.ask(session, rq.ReqMktData(5, AAPL))
    assert rs.MarketDataType(5, shown) in answer
    types = LIVE if permission == "live" else DELAYED
    prices = {each.tick_type: each.price for each in answer if isinstance(each, rs.TickPrice)}
    assert (prices[types["bid"]] > 0) == (prices[types["ask"]] > 0) == has_quote
    assert prices[types["last"]] > 0
