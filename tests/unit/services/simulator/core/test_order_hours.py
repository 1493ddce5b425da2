from __future__ import annotations

from dataclasses import replace

import pytest

from services.simulator.core.hours import Hours, TradingSession
from services.simulator.core.order_hours import OrderHours, ignores_outside_rth
from services.simulator.core.orders import BrokerOrder
from shared.tws.order import TwsOrder
from tests.unit.services.simulator.exchange_support import AAPL, START_NS, Driver, order

HOUR = 3600 * 1_000_000_000
OPEN, CLOSE = START_NS + HOUR, START_NS + 2 * HOUR
CLOCK = OrderHours(Hours({"XNYS": [TradingSession(OPEN, CLOSE, OPEN - HOUR // 2, CLOSE + HOUR)]}), "America/New_York")


def taken(placed: TwsOrder) -> BrokerOrder:
    driver = Driver()
    session = driver.connect(1)
    driver.place(session, 1, replace(placed, transmit=False), AAPL)
    [held] = driver.engine.orders.book.by_perm.values()
    return held


@pytest.mark.parametrize(
    ("placed", "begins_ns", "expires_ns"),
    [
        (order(), OPEN, CLOSE),
        (order(kind="LMT", lmt_price="90", outside_rth=True), OPEN - HOUR // 2, CLOSE + HOUR),
        (order(outside_rth=True), OPEN, CLOSE),
        (order(tif="GTC"), OPEN, 0),
        (order(tif="OPG"), START_NS, 0),
        (order(tif="GTD", good_till_date="20261123-19:00:00"), OPEN, START_NS + 4 * HOUR),
        (order(good_after_time="20261123-16:30:00"), OPEN + HOUR // 2, CLOSE),
    ],
)
def test_begin_and_end(placed: TwsOrder, begins_ns: int, expires_ns: int) -> None:
    one = taken(placed)
    CLOCK.set_times(one, START_NS)
    assert (CLOCK.begins_ns(one, START_NS), one.expires_ns) == (begins_ns, expires_ns)


def test_only_orders_with_the_flag_trade_in_the_evening() -> None:
    regular, wide = taken(order(kind="LMT", lmt_price="90")), taken(order(kind="LMT", lmt_price="90", outside_rth=True))
    assert CLOCK.may_trade(regular, OPEN) and CLOCK.may_trade(wide, OPEN)
    assert not CLOCK.may_trade(regular, CLOSE) and CLOCK.may_trade(wide, CLOSE)
    assert not CLOCK.may_trade(wide, CLOSE + HOUR)


def test_the_flag_means_nothing_for_market_orders_and_the_opening() -> None:
    assert ignores_outside_rth(taken(order(outside_rth=True)))
    assert ignores_outside_rth(taken(order(kind="LMT", lmt_price="90", tif="OPG", outside_rth=True)))
    assert not ignores_outside_rth(taken(order(kind="LMT", lmt_price="90", outside_rth=True)))
    assert not ignores_outside_rth(taken(order()))
