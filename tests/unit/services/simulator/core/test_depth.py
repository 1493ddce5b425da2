from __future__ import annotations

from dataclasses import replace

import pytest

from services.simulator.core.depth import ASK, BID, ladder
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import TwsContract
from tests.unit.services.simulator.exchange_support import AAPL, Driver

ES = TwsContract(symbol="ES", sec_type="FUT", exchange="CME", last_trade_date="202612")
SPX = TwsContract(symbol="SPX", sec_type="IND", exchange="CBOE", currency="USD")


def rows_of(messages: list[rs.Response]) -> dict[int, list[tuple[float, float]]]:
    """Apply the operations as a client does."""
    sides: dict[int, list[tuple[float, float]]] = {ASK: [], BID: []}
    for each in messages:
        if not isinstance(each, rs.MarketDepth | rs.MarketDepthL2):
            continue
        rows = sides[each.side]
        if each.operation == 0:
            rows.insert(each.position, (each.price, each.size))
        elif each.operation == 1:
            rows[each.position] = (each.price, each.size)
        else:
            del rows[each.position]
    return sides


def test_a_client_that_applies_the_operations_has_the_book() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktDepth(5, AAPL, 5, is_smart_depth=True))
    notice = driver.got(session, rs.ErrorMessage)[-1]
    assert (notice.id, notice.code) == (5, 2152)
    for bid, ask, size in ((100.0, 100.02, 300), (99.99, 100.02, 500), (0.02, 0.05, 200), (100.1, 100.2, 100)):
        driver.quote(bid, ask, size, size)
        book = rows_of(driver.sent[session])
        instrument = driver.engine.floor.universe.by_id(265598)
        assert instrument is not None
        for side, price in ((BID, bid), (ASK, ask)):
            expected = ladder(instrument, price, size, side, 5)
            assert book[side] == [(row[0], row[1]) for row in expected]
            assert book[side][0] == (price, size)
    assert all(each.is_smart_depth for each in driver.got(session, rs.MarketDepthL2))


def test_futures_have_no_market_makers() -> None:
    driver = Driver()
    session = driver.connect(1)
    answer = driver.ask(session, rq.ReqMktDepth(5, ES, 3))
    assert len([each for each in answer if isinstance(each, rs.MarketDepth)]) == 6


def test_refusals_and_limits() -> None:
    driver = Driver()
    session = driver.connect(1)
    names = ("AAPL", "MSFT", "AMZN", "META")
    contracts = [TwsContract(symbol=name, sec_type="STK", exchange="SMART", currency="USD") for name in names]
    driver.ask(session, rq.ReqMktDepth(1, AAPL))  # SMART has no depth of its own
    driver.ask(session, rq.ReqMktDepth(2, SPX))
    driver.ask(session, rq.ReqMktDepth(3, AAPL, 0, is_smart_depth=True))
    for number, contract in enumerate(contracts, 10):
        driver.ask(session, rq.ReqMktDepth(number, contract, 5, is_smart_depth=True))
    driver.ask(session, rq.ReqMktDepth(10, contracts[0], 5, is_smart_depth=True))
    assert driver.errors(session) == [(1, 10092), (2, 10092), (3, 321), (13, 309), (10, 322)]
    driver.ask(session, rq.CancelMktDepth(10, is_smart_depth=True))
    driver.ask(session, rq.CancelMktDepth(10, is_smart_depth=True))
    driver.ask(session, rq.ReqMktDepth(13, contracts[3], 5, is_smart_depth=True))
    assert driver.errors(session)[5:] == [(10, 310)]


@pytest.mark.parametrize("exchange", ["NASDAQ", "ARCA"])
def test_one_exchange_alone(exchange: str) -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktDepth(5, replace(AAPL, exchange=exchange), 5))
    assert driver.errors(session) == []
    assert not any(each.is_smart_depth for each in driver.got(session, rs.MarketDepthL2))
