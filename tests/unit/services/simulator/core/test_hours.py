from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from services.simulator.core.hours import Hours, TradingSession
from services.simulator.core.times import local
from services.simulator.core.universe import default_universe
from shared.tws import requests as rq
from shared.tws import responses as rs
from tests.unit.services.simulator.exchange_support import AAPL, START_NS, Driver, order

NS = 1_000_000_000
APPLE = next(each for each in default_universe(date(2026, 11, 23)) if each.symbol == "AAPL")
TOMORROW = Hours({"XNYS": [TradingSession(START_NS + 3600 * NS, START_NS + 7200 * NS)]})


def test_without_a_calendar_it_is_always_open() -> None:
    assert Hours().is_open(APPLE, 0) and Hours().next_open_ns(APPLE, 5) == 5
    assert Hours().text(APPLE, START_NS, 2) == "20261123:0000-20261123:2359;20261124:0000-20261124:2359"


def test_a_calendar_opens_and_closes() -> None:
    assert not TOMORROW.is_open(APPLE, START_NS)
    assert TOMORROW.next_open_ns(APPLE, START_NS) == START_NS + 3600 * NS
    assert TOMORROW.is_open(APPLE, START_NS + 3600 * NS) and not TOMORROW.is_open(APPLE, START_NS + 7200 * NS)
    assert TOMORROW.next_open_ns(APPLE, START_NS + 8000 * NS) > START_NS + 8000 * NS
    assert TOMORROW.text(APPLE, START_NS, 2) == "20261123:1100-20261123:1200;20261124:CLOSED"


def test_extended_hours_are_for_stocks() -> None:
    hour = 3600 * NS
    wide = Hours({"XNYS": [TradingSession(START_NS, START_NS + hour, START_NS - hour, START_NS + 2 * hour)]})
    option = next(each for each in default_universe(date(2026, 11, 23)) if each.sec_type == "OPT")
    assert wide.is_open(APPLE, START_NS - 1, extended=True) and not wide.is_open(APPLE, START_NS - 1)
    assert not wide.is_open(option, START_NS - 1, extended=True)
    assert wide.close_ns(APPLE, START_NS) == START_NS + hour
    assert wide.close_ns(APPLE, START_NS, extended=True) == START_NS + 2 * hour
    assert wide.text(APPLE, START_NS, 1, extended=True) == "20261123:0900-20261123:1200"
    assert wide.next_boundary_ns(START_NS - 2 * hour) == START_NS - hour
    assert wide.next_boundary_ns(START_NS) == START_NS + hour


def test_trading_is_busy_at_both_ends_of_the_day() -> None:
    hour = 3600 * NS
    hours = Hours({"XNYS": [TradingSession(START_NS, START_NS + 6 * hour)]})
    first, middle, last = (hours.activity(APPLE, START_NS + each) for each in (0, 3 * hour, 6 * hour - NS))
    assert first > 3 * middle and last > 3 * middle and hours.activity(APPLE, START_NS - 1) < middle
    assert Hours().activity(APPLE, START_NS) == 1.0


def test_days_end_at_midnight_also_when_the_clocks_change() -> None:
    for start in (1_793_500_000, 1_772_900_000):  # around 2026-11-01 and 2026-03-08
        for step in range(0, 48 * 3600, 1800):
            now_ns = (start + step) * NS
            assert now_ns < Hours().day_end_ns(now_ns) <= now_ns + 25 * 3600 * NS


def test_an_order_in_the_closed_market_waits_for_the_open() -> None:
    driver = Driver()
    driver.engine.hours.calendars.update(TOMORROW.calendars)
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(9, AAPL))
    driver.place(session, 1, order())
    driver.run()
    assert driver.statuses(session, 1) == ["PreSubmitted"]
    assert driver.errors(session) == [(1, 399)]
    driver.run(3601)
    driver.quote(100.00, 100.02)
    driver.run()
    assert driver.statuses(session, 1)[-1] == "Filled"
    assert driver.got(session, rs.ExecDetails)


def test_sessions_of_a_day() -> None:
    monday = local(START_NS, APPLE.time_zone)
    assert Hours().of_day(APPLE, monday) == [("20261123-09:30:00", "20261123-16:00:00")]
    assert Hours().of_day(APPLE, monday + timedelta(days=5)) == []
    euro = replace(APPLE, sec_type="CASH")
    assert Hours().of_day(euro, monday + timedelta(days=5)) == [("20261128-00:00:00", "20261128-23:59:59")]
    assert TOMORROW.of_day(APPLE, monday) == [("20261123-11:00:00", "20261123-12:00:00")]
    assert TOMORROW.of_day(APPLE, monday + timedelta(days=1)) == []


def test_history_follows_a_calendar_where_there_is_one() -> None:
    day = 86_400 * NS
    week = [TradingSession(START_NS - back * day, START_NS - back * day + 3600 * NS) for back in (7, 6, 4, 3, 0)]
    driver = Driver(history_pacing=False)
    driver.engine.hours.calendars["XNYS"] = week
    session = driver.connect(1)
    [days] = driver.ask(session, rq.ReqHistoricalData(1, AAPL, bar_size="1 day", duration="5 D", use_rth=True))
    assert isinstance(days, rs.HistoricalData)
    assert [each.date for each in days.bars] == ["20261116", "20261117", "20261119", "20261120", "20261123"]
    driver.run(1800)
    [hours] = driver.ask(session, rq.ReqHistoricalData(2, AAPL, bar_size="30 mins", duration="1 D", use_rth=True))
    assert isinstance(hours, rs.HistoricalData) and len(hours.bars) == 1
