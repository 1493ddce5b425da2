from __future__ import annotations

import pytest

from services.simulator.core.hours import TradingSession
from shared.tws import requests as rq
from tests.unit.services.simulator.exchange_support import AAPL, START_NS, Driver, order

NS = 1_000_000_000
HOUR = 3600 * NS


def opened(*sessions: TradingSession) -> Driver:
    """Return an exchange whose stocks trade in these sessions only, with a client and a first price."""
    driver = Driver(pnl_period_ns=3600 * NS)
    driver.engine.hours.calendars["XNYS"] = list(sessions)
    driver.engine.days.arm()
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    driver.trade(100.02, 100)
    return driver


TODAY = TradingSession(START_NS - HOUR, START_NS + HOUR, START_NS - 2 * HOUR, START_NS + 3 * HOUR)
TOMORROW = TradingSession(START_NS + 23 * HOUR, START_NS + 25 * HOUR, START_NS + 22 * HOUR, START_NS + 27 * HOUR)


def test_closing_orders_trade_in_the_auction_only() -> None:
    driver = opened(TODAY, TOMORROW)
    driver.place(1, 1, order("BUY", 100, "MOC"))
    driver.place(1, 2, order("BUY", 100, "LOC", lmt_price="100.50"))
    driver.place(1, 3, order("BUY", 100, "LOC", lmt_price="99.00"))
    driver.run(1)
    driver.quote(99.97, 99.98)
    driver.run(1)
    assert [driver.statuses(1, each)[-1] for each in (1, 2, 3)] == ["PreSubmitted"] * 3
    driver.quote(100.10, 100.12)
    driver.trade(100.11, 10)
    driver.run(3600)
    assert [driver.statuses(1, each)[-1] for each in (1, 2, 3)] == ["Filled", "Filled", "Cancelled"]
    prices = {each["order_id"]: each["price"] for each in driver.truth()["executions"]}
    assert prices == {1: "100.11", 2: "100.11"}


def test_opening_orders_wait_for_the_open() -> None:
    driver = opened(TODAY, TOMORROW)
    driver.run(2 * 3600)
    driver.place(1, 1, order("BUY", 100, "MKT", tif="OPG"))
    driver.place(1, 2, order("BUY", 100, "LMT", lmt_price="90.00", tif="OPG"))
    driver.run(1)
    assert driver.errors(1) == [], "orders for the opening go to the exchange before it"
    driver.run(22 * 3600)
    assert driver.statuses(1, 1)[-1] == "Filled"
    assert driver.statuses(1, 2)[-1] == "Cancelled"


def test_day_orders_end_at_the_close_and_extended_ones_after_it() -> None:
    driver = opened(TODAY, TOMORROW)
    driver.place(1, 1, order("BUY", 100, "LMT", lmt_price="90.00"))
    driver.place(1, 2, order("BUY", 100, "LMT", lmt_price="90.00", outside_rth=True))
    driver.place(1, 3, order("BUY", 100, "LMT", lmt_price="90.00", tif="GTC"))
    driver.run(3601)
    assert [driver.statuses(1, each)[-1] for each in (1, 2, 3)] == ["Cancelled", "Submitted", "Submitted"]
    assert (1, 202) in driver.errors(1)
    driver.quote(89.97, 89.99)
    driver.run()
    assert driver.statuses(1, 2)[-1] == "Filled", "after hours it trades"
    assert driver.statuses(1, 3)[-1] == "Submitted", "an order for regular hours does not"
    driver.run(22.5 * 3600)
    driver.quote(89.97, 89.99)
    driver.run()
    assert driver.statuses(1, 3)[-1] == "Filled", "good till cancelled over the night"


def test_a_day_order_of_the_evening_is_for_the_next_day() -> None:
    driver = opened(TODAY, TOMORROW)
    driver.run(2 * 3600)
    driver.place(1, 1, order("BUY", 100, "LMT", lmt_price="90.00"))
    driver.run(1)
    assert driver.errors(1) == [(1, 399)]
    driver.run(20 * 3600)
    assert driver.statuses(1, 1)[-1] == "PreSubmitted", "midnight and the end of the evening do not end it"
    driver.run(1.5 * 3600)
    assert driver.statuses(1, 1)[-1] == "Submitted"
    driver.run(2 * 3600)
    assert driver.statuses(1, 1)[-1] == "Cancelled"


def test_a_good_till_date_order_ends_at_its_time() -> None:
    driver = Driver()
    driver.connect(1)
    driver.place(1, 1, order("BUY", 100, "LMT", lmt_price="90.00", tif="GTD", good_till_date="20261123-15:00:30"))
    driver.run(29)
    assert driver.statuses(1, 1)[-1] == "Submitted"
    later = order("BUY", 100, "LMT", lmt_price="90.00", tif="GTD", good_till_date="20261123-15:01:00")
    driver.place(1, 1, later)
    driver.run(5)
    assert driver.statuses(1, 1)[-1] == "Submitted", "the later date counts"
    driver.run(27)
    assert driver.statuses(1, 1)[-1] == "Cancelled"


def test_good_after_time_holds_an_order_back() -> None:
    driver = Driver()
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    driver.place(1, 1, order("BUY", 100, good_after_time="20261123-15:00:30"))
    driver.run(20)
    assert driver.statuses(1, 1) == ["PreSubmitted"] and driver.errors(1) == []
    driver.run(11)
    assert driver.statuses(1, 1)[-1] == "Filled"


@pytest.mark.parametrize("kind", ["MOC", "LOC"])
def test_without_a_calendar_the_day_closes_at_midnight(kind: str) -> None:
    driver = Driver(pnl_period_ns=3600 * NS)
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    fields = {"lmt_price": "101"} if kind == "LOC" else {}
    driver.place(1, 1, order("BUY", 100, kind, **fields))
    driver.run(13 * 3600)
    assert driver.statuses(1, 1)[-1] == "PreSubmitted"
    driver.run(3600)
    assert driver.statuses(1, 1)[-1] == "Filled"
