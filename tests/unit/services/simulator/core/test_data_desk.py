from __future__ import annotations

from dataclasses import replace

import pytest

from services.simulator.core.hours import TradingSession
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import DeltaNeutralContract, TwsContract
from tests.unit.services.simulator.exchange_support import AAPL, Driver

MSFT = TwsContract(symbol="MSFT", sec_type="STK", exchange="SMART", currency="USD")
EURUSD = TwsContract(symbol="EUR", sec_type="CASH", exchange="IDEALPRO", currency="USD")


def test_only_what_changed_is_sent() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(5, AAPL))
    driver.quote(100.00, 100.02, 300, 200)
    before = len(driver.sent[session])
    driver.quote(100.00, 100.03, 400, 200)
    assert driver.sent[session][before:] == [rs.TickSize(5, 0, 400), rs.TickPrice(5, 2, 100.03, 200, 1)]
    before = len(driver.sent[session])
    driver.quote(100.00, 100.03, 400, 200)
    assert driver.sent[session][before:] == []


def test_the_first_answers_of_a_subscription() -> None:
    driver = Driver()
    session = driver.connect(1)
    answer = driver.ask(session, rq.ReqMktData(5, AAPL))
    assert [type(each).__name__ for each in answer[:2]] == ["MarketDataType", "TickReqParams"]
    types = {each.tick_type for each in answer if isinstance(each, rs.TickPrice)}
    assert {1, 2, 4, 6, 7, 9, 14} <= types


def test_trades_carry_time_price_size_and_volume() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(5, AAPL, generic_ticks="233"))
    driver.run(2)
    before = len(driver.sent[session])
    driver.trade(101.50, 70)
    sent = driver.sent[session][before:]
    assert sent[0] == rs.TickString(5, 45, str(driver.now_ns // 1_000_000_000))
    assert rs.TickPrice(5, 4, 101.50, 70) in sent
    assert any(isinstance(each, rs.TickSize) and each.tick_type == 8 for each in sent)
    assert any(isinstance(each, rs.TickString) and each.tick_type == 48 for each in sent)


def test_a_snapshot_ends_by_itself() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(5, AAPL, snapshot=True))
    driver.run(1)
    assert driver.sent[session][-1] == rs.TickSnapshotEnd(5)
    driver.ask(session, rq.CancelMktData(5))
    assert driver.errors(session) == [(5, 300)]


def test_request_ids_lines_and_unknown_contracts() -> None:
    driver = Driver(market_data_lines=1)
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(5, AAPL))
    driver.ask(session, rq.ReqMktData(5, AAPL))
    driver.ask(session, rq.ReqMktData(6, MSFT))
    driver.ask(session, rq.ReqMktData(7, TwsContract(symbol="NOSUCH", sec_type="STK", exchange="SMART")))
    driver.ask(session, rq.ReqMktData(8, AAPL, generic_ticks="233", snapshot=True))
    assert driver.errors(session) == [(5, 322), (6, 101), (7, 200), (8, 414)]
    driver.ask(session, rq.CancelMktData(5))
    driver.ask(session, rq.ReqMktData(6, MSFT))
    assert len(driver.errors(session)) == 4


def test_delayed_data_needs_to_be_asked_for() -> None:
    driver = Driver(data_permission="delayed")
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(5, AAPL))
    assert driver.errors(session) == [(5, 354)]
    driver.ask(session, rq.ReqMarketDataType(3))
    answer = driver.ask(session, rq.ReqMktData(6, AAPL))
    assert driver.errors(session)[-1] == (6, 10167)
    assert rs.MarketDataType(6, 3) in answer
    assert {each.tick_type for each in answer if isinstance(each, rs.TickPrice)} >= {66, 67, 68}
    driver = Driver(data_permission="none")
    session = driver.connect(1)
    driver.ask(session, rq.ReqMarketDataType(3))
    driver.ask(session, rq.ReqMktData(5, AAPL))
    assert driver.errors(session) == [(5, 10168)]


@pytest.mark.parametrize(("kind", "number"), [("Last", 1), ("AllLast", 2), ("BidAsk", 3), ("MidPoint", 4)])
def test_tick_by_tick(kind: str, number: int) -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqTickByTick(5, AAPL, kind))
    driver.quote(100.00, 100.02)
    driver.trade(100.02, 10)
    ticks = driver.got(session, rs.TickByTick)
    assert ticks and {each.tick_type for each in ticks} == {number}


def test_five_second_bars_begin_on_the_five_seconds() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqRealTimeBars(5, AAPL))
    driver.run(1)
    driver.trade(100.00, 10)
    driver.trade(101.00, 20)
    driver.run(9.5)
    bars = driver.got(session, rs.RealTimeBar)
    assert len(bars) == 2 and all(each.time % 5 == 0 for each in bars)
    assert (bars[0].low, bars[0].volume, bars[0].close) == (100.00, 30 + 200, 101.00)  # 200: the opening trade
    assert (bars[1].open, bars[1].close, bars[1].volume) == (101.00, 101.00, 0)


def test_currency_pairs_have_quotes_only() -> None:
    driver = Driver(tick_rate=50)
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(5, EURUSD))
    driver.run(2)
    types = {each.tick_type for each in driver.got(session, rs.TickPrice)}
    assert {1, 2} <= types and 4 not in types


def test_a_session_that_ends_takes_its_subscriptions_along() -> None:
    driver = Driver(tick_rate=50)
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(5, AAPL))
    driver.disconnect(session)
    assert driver.engine.data.subscribed_contracts() == 0
    assert driver.engine._synthetic.next_ns() is None


def test_a_delta_neutral_contract_is_confirmed() -> None:
    driver = Driver()
    session = driver.connect(1)
    wanted = DeltaNeutralContract(265598, 0.5, 100.0)
    driver.ask(session, rq.ReqMktData(5, replace(AAPL, delta_neutral=wanted)))
    assert driver.got(session, rs.DeltaNeutralValidation) == [rs.DeltaNeutralValidation(5, 265598, 0.5, 100.0)]


def test_bars_of_regular_hours_pause_outside_and_others_go_on() -> None:
    driver = Driver(history_pacing=False)
    session = driver.connect(1)
    hour = 3600 * 10**9
    driver.engine.hours.calendars["XNYS"] = [
        TradingSession(driver.now_ns + hour, driver.now_ns + 2 * hour, driver.now_ns - hour, driver.now_ns + 3 * hour)
    ]
    driver.ask(session, rq.ReqRealTimeBars(1, AAPL, what_to_show="TRADES", use_rth=True))
    driver.ask(session, rq.ReqRealTimeBars(2, AAPL, what_to_show="TRADES", use_rth=False))
    driver.run(1)
    driver.trade(100, 10)
    driver.run(9)
    assert {each.req_id for each in driver.got(session, rs.RealTimeBar)} == {2}
    driver.run(3600)
    assert {each.req_id for each in driver.got(session, rs.RealTimeBar)} == {1, 2}
    first = next(each for each in driver.got(session, rs.RealTimeBar) if each.req_id == 1)
    assert first.volume == 0, "what traded before the open is not in it"


def test_a_snapshot_that_lacks_something_ends_after_eleven_seconds() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.engine.hours.calendars["XNYS"] = [TradingSession(driver.now_ns + 10**13, driver.now_ns + 2 * 10**13)]
    driver.ask(session, rq.ReqMktData(5, AAPL, snapshot=True))
    driver.run(10.9)
    assert not driver.got(session, rs.TickSnapshotEnd)
    driver.run(0.2)
    assert driver.got(session, rs.TickSnapshotEnd) == [rs.TickSnapshotEnd(5)]


def test_a_cancel_of_no_profit_stream_is_an_error() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.CancelPnL(5))
    driver.ask(session, rq.CancelPnLSingle(6))
    driver.ask(session, rq.ReqAccountSummary(7, "Nobody", "All"))
    assert driver.errors(session) == [(5, 10185), (6, 10186), (7, 321)]
