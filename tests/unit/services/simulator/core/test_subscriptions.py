from __future__ import annotations

import pytest

from services.simulator.core.hours import TradingSession
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import TwsContract
from tests.unit.services.simulator.exchange_support import AAPL, AAPL_ID, Driver

EURUSD = TwsContract(symbol="EUR", sec_type="CASH", exchange="IDEALPRO", currency="USD")


def stock(name: str) -> TwsContract:
    return TwsContract(symbol=name, sec_type="STK", exchange="SMART", currency="USD")


def test_tick_by_tick_limits() -> None:
    driver = Driver(history_pacing=False)
    session = driver.connect(1)
    names = ("AAPL", "MSFT", "AMZN", "META", "GOOGL", "AMD")
    for number, name in enumerate(names):
        driver.ask(session, rq.ReqTickByTick(number, stock(name), "BidAsk"))
    driver.ask(session, rq.ReqTickByTick(20, EURUSD, "Last"))
    assert driver.errors(session) == [(5, 10190), (20, 10189)]
    driver.ask(session, rq.CancelTickByTick(0))
    driver.ask(session, rq.ReqTickByTick(5, stock("AMD"), "BidAsk"))
    assert len(driver.errors(session)) == 2


def test_the_same_tape_again_within_15_seconds() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqTickByTick(1, AAPL, "Last"))
    driver.ask(session, rq.ReqTickByTick(2, AAPL, "Last"))
    driver.ask(session, rq.ReqTickByTick(3, AAPL, "BidAsk"))
    driver.run(15)
    driver.ask(session, rq.ReqTickByTick(4, AAPL, "Last"))
    assert driver.errors(session) == [(2, 10189)]


def test_sizes_can_be_ignored() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqTickByTick(1, AAPL, "BidAsk", ignore_size=True))
    before = len(driver.got(session, rs.TickByTick))
    driver.quote(100, 100.1, 10, 10)
    driver.quote(100, 100.1, 20, 10)
    driver.quote(100, 100.2, 20, 10)
    assert len(driver.got(session, rs.TickByTick)) - before == 2


def test_five_second_bars_share_the_pacing_of_history() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqRealTimeBars(1, AAPL))
    driver.ask(session, rq.CancelRealTimeBars(1))
    driver.ask(session, rq.ReqRealTimeBars(2, AAPL))
    driver.ask(session, rq.ReqRealTimeBars(3, EURUSD))
    assert driver.errors(session) == [(2, 420), (3, 420)]


@pytest.mark.parametrize(("what", "close"), [("TRADES", 101.0), ("BID", 100.0), ("ASK", 100.2), ("MIDPOINT", 100.1)])
def test_bars_of_every_kind(what: str, close: float) -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqRealTimeBars(1, AAPL, what_to_show=what))
    driver.run(5)  # the bar with the market's own first trade
    driver.quote(100.0, 100.2)
    driver.trade(101.0, 30, AAPL_ID)
    driver.run(5)
    bar = driver.got(session, rs.RealTimeBar)[-1]
    assert bar.close == close
    assert (bar.volume, bar.wap) == ((30.0, 101.0) if what == "TRADES" else (-1, -1))


@pytest.mark.parametrize(
    ("kind", "message"),
    [("Last", rs.HistoricalTicksLast), ("BidAsk", rs.HistoricalTicksBidAsk), ("MidPoint", rs.HistoricalTicks)],
)
def test_past_ticks_come_first_if_asked_for(kind: str, message: type) -> None:
    driver = Driver()
    session = driver.connect(1)
    answer = driver.ask(session, rq.ReqTickByTick(1, AAPL, kind, number_of_ticks=7))
    assert isinstance(answer[0], message)
    assert len(answer[0].ticks) == 7  # type: ignore[attr-defined]


def test_no_bars_of_a_closed_market() -> None:
    driver = Driver()
    later = driver.now_ns + 3600 * 1_000_000_000
    driver.engine.hours.calendars["XNYS"] = [TradingSession(later, later + 3600 * 1_000_000_000)]
    session = driver.connect(1)
    driver.ask(session, rq.ReqRealTimeBars(1, AAPL))
    driver.run(20)
    assert driver.got(session, rs.RealTimeBar) == []
    driver.run(3600)
    assert driver.got(session, rs.RealTimeBar)
