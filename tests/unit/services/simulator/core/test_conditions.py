from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from services.simulator.core.conditions import check_conditions
from services.simulator.core.hours import TradingSession
from services.simulator.core.orders import BrokerOrder
from services.simulator.core.universe import default_universe
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import TwsContract
from shared.tws.order import (
    ExecutionCondition,
    MarginCondition,
    OrderCondition,
    PercentChangeCondition,
    PriceCondition,
    TimeCondition,
    VolumeCondition,
)
from tests.unit.services.simulator.exchange_support import AAPL, AAPL_ID, Driver, order

MSFT = TwsContract(symbol="MSFT", sec_type="STK", exchange="SMART", currency="USD")
MSFT_ID = 272093
UNIVERSE = default_universe(date(2026, 11, 23))


def price(level: float, con_id: int = MSFT_ID, **fields: Any) -> PriceCondition:
    return PriceCondition(price=Decimal(str(level)), con_id=con_id, exchange="SMART", **fields)


def waiting(*conditions: OrderCondition, **fields: Any) -> tuple[Driver, int]:
    """Return an exchange with a marketable order that waits, quotes of 100/101 for both stocks."""
    driver = Driver()
    session = driver.connect(1)
    driver.engine._watch(next(each for each in UNIVERSE if each.con_id == MSFT_ID))
    for con_id in (AAPL_ID, MSFT_ID):
        driver.engine._watch(next(each for each in UNIVERSE if each.con_id == con_id))
        driver.quote(100, 101, con_id=con_id)
        driver.trade(100, 10, con_id=con_id)
    driver.place(session, 1, order(conditions=conditions, **fields))
    driver.run()
    return driver, session


def is_filled(driver: Driver, session: int, order_id: int = 1) -> bool:
    driver.run()
    return "Filled" in driver.statuses(session, order_id)


def test_an_order_waits_for_a_price_and_then_trades() -> None:
    driver, session = waiting(price(105))
    assert set(driver.statuses(session, 1)) == {"PreSubmitted"}
    assert driver.got(session, rs.OpenOrder)[-1].order.conditions == (price(105),)
    driver.trade(104.99, 10, con_id=MSFT_ID)
    assert not is_filled(driver, session)
    driver.trade(105, 10, con_id=MSFT_ID)
    assert is_filled(driver, session)
    kinds = [json.loads(each).get("state") for each in driver.engine.floor.ledger.lines]
    assert kinds.index("ConditionsMet") < kinds.index("Filled")
    assert not driver.engine.orders.life.conditions.by_contract


@pytest.mark.parametrize(
    ("method", "is_more", "quotes", "trades", "expected"),
    [
        (0, True, [(110, 111)], [], False),  # a stock's last price counts
        (2, True, [], [110], True),
        (2, False, [], [90], True),
        (3, True, [], [110], False),
        (3, True, [], [110, 111], True),
        (3, True, [], [110, 104, 111], False),
        (4, True, [(105, 106)], [], True),
        (4, True, [(104, 106)], [], False),
        (4, False, [(88, 90)], [], True),
        (1, True, [(105, 106)], [], False),
        (1, True, [(105, 106), (106, 107)], [], True),
        (7, True, [(105, 106)], [], True),
        (7, True, [], [105], True),
        (8, True, [(104, 106)], [], True),
        (8, True, [(104, 105)], [], False),
    ],
)
def test_trigger_methods(method: int, is_more: bool, quotes: Any, trades: Any, expected: bool) -> None:
    driver, session = waiting(price(105 if is_more else 90, is_more=is_more, trigger_method=method))
    for bid, ask in quotes:
        driver.quote(bid, ask, con_id=MSFT_ID)
    for each in trades:
        driver.trade(each, 10, con_id=MSFT_ID)
    assert is_filled(driver, session) is expected


def test_a_time_is_waited_for() -> None:
    later = TimeCondition(time="20261123 10:00:30 US/Eastern")
    driver, session = waiting(later)
    driver.run(25)
    assert not is_filled(driver, session)
    driver.run(5)
    assert is_filled(driver, session)
    driver, session = waiting(TimeCondition(time="20261123 10:00:30 US/Eastern", is_more=False))
    assert is_filled(driver, session)


def test_volume_and_percent_change() -> None:
    driver, session = waiting(VolumeCondition(volume=10_000, con_id=MSFT_ID))
    driver.trade(100, 9000, con_id=MSFT_ID)
    assert not is_filled(driver, session)
    driver.trade(100, 1000, con_id=MSFT_ID)
    assert is_filled(driver, session)
    driver, session = waiting(PercentChangeCondition(change_percent=Decimal(3), con_id=MSFT_ID))
    close = driver.engine.floor.book(MSFT_ID).close
    driver.trade(round(close * 1.029, 2), 10, con_id=MSFT_ID)
    assert not is_filled(driver, session)
    driver.trade(round(close * 1.031, 2), 10, con_id=MSFT_ID)
    assert is_filled(driver, session)


def test_a_trade_in_the_account() -> None:
    wanted = ExecutionCondition(sec_type="STK", exchange="SMART", symbol="MSFT")
    driver, session = waiting(wanted)
    driver.place(session, 2, order(quantity=1), AAPL)
    assert is_filled(driver, session, 2) and not is_filled(driver, session, 1)
    driver.place(session, 3, order(quantity=1), MSFT)
    assert is_filled(driver, session, 3) and is_filled(driver, session, 1)


def test_the_margin_cushion() -> None:
    driver, session = waiting(MarginCondition(is_more=False, percent=50), quantity=1)
    driver.run(3)
    assert not is_filled(driver, session)
    driver.engine.accounts["DUSIM0001"].deposit(Decimal(-999_000), "USD")
    driver.place(session, 2, order(quantity=10), MSFT)
    driver.run(2)
    assert 60 < driver.engine.orders.fills.cushion("DUSIM0001") < 90 and not is_filled(driver, session)
    driver.place(session, 3, order(quantity=15), MSFT)
    driver.run(2)
    assert driver.engine.orders.fills.cushion("DUSIM0001") < 50 and is_filled(driver, session)


@pytest.mark.parametrize(
    ("first", "second", "conjunction", "expected"),
    [(True, True, "a", True), (True, False, "a", False), (False, True, "o", True), (False, False, "o", False)],
)
def test_conjunctions_join_from_left_to_right(first: bool, second: bool, conjunction: str, expected: bool) -> None:
    def now(holds: bool, joined: str = "a") -> TimeCondition:
        return TimeCondition(joined, is_more=holds, time="20200101 10:00:00 US/Eastern")

    driver, session = waiting(now(first, conjunction), now(second))
    assert is_filled(driver, session) is expected
    driver, session = waiting(now(first, conjunction), now(second, "o"), now(True))
    assert is_filled(driver, session)


def test_conditions_may_end_an_order_instead() -> None:
    driver, session = waiting(price(105), kind="LMT", lmt_price=90, conditions_cancel_order=True)
    assert driver.statuses(session, 1)[-1] == "Submitted"
    driver.trade(106, 10, con_id=MSFT_ID)
    assert driver.statuses(session, 1)[-1] == "Cancelled"
    assert (1, 202) in driver.errors(session)


def test_a_cancelled_order_waits_no_more() -> None:
    driver, session = waiting(price(105), TimeCondition("a", time="20261123 10:00:30 US/Eastern"))
    driver.ask(session, rq.CancelOrder(1))
    driver.run(60)
    driver.trade(106, 10, con_id=MSFT_ID)
    assert driver.statuses(session, 1)[-1] == "Cancelled" and not is_filled(driver, session)
    assert not driver.engine.orders.life.conditions.by_contract


def test_a_child_with_conditions_waits_for_both() -> None:
    driver, session = waiting(price(105), kind="LMT", lmt_price=101, transmit=False)
    driver.place(session, 2, order("SELL", 100, "MKT", parent_id=1, conditions=(price(104),)))
    driver.run()
    driver.trade(104, 10, con_id=MSFT_ID)
    assert not is_filled(driver, session, 2)
    driver.trade(105, 10, con_id=MSFT_ID)
    assert is_filled(driver, session, 1) and is_filled(driver, session, 2)


def test_outside_of_regular_hours_nothing_comes_true_unless_it_may() -> None:
    for ignores, expected in ((False, "PreSubmitted"), (True, "Cancelled")):
        driver, session = waiting(
            price(105), kind="LMT", lmt_price=90, conditions_ignore_rth=ignores, conditions_cancel_order=True,
            tif="GTC",
        )  # fmt: skip
        opens = driver.now_ns + 3600 * 10**9
        session_times = TradingSession(opens, opens + 10**13)
        driver.engine.hours.calendars["XNYS"] = [session_times]
        driver.engine.floor.book(MSFT_ID).last = 106
        driver.engine.orders.life.conditions.on_market(MSFT_ID)
        driver.run(0)
        assert (driver.statuses(session, 1)[-1] == "Cancelled") is (expected == "Cancelled")


def test_a_conditional_order_survives_the_exchange() -> None:
    driver, _ = waiting(price(900), tif="GTC")
    again = Driver()
    for (kind, key), value in driver.saved.items():
        again.engine.restore(kind, key, value)
    session = again.connect(1)
    again.quote(100, 101)
    again.run()
    (kept,) = again.engine.orders.book.open_orders()
    assert isinstance(kept, BrokerOrder) and kept.waits_for_conditions and not kept.are_conditions_met
    again.trade(906, 10, con_id=MSFT_ID)
    assert is_filled(again, session)


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        (price(105, con_id=1), 321),
        (price(105, trigger_method=9), 321),
        (price(105, conjunction="x"), 321),
        (PriceCondition(con_id=MSFT_ID), 321),
        (VolumeCondition(con_id=MSFT_ID), 321),
        (MarginCondition(), 321),
        (ExecutionCondition(), 321),
        (TimeCondition(time="soon"), 343),
        (TimeCondition(), 343),
    ],
)
def test_conditions_that_cannot_be_are_refused(condition: OrderCondition, code: int) -> None:
    complaint = check_conditions(order(conditions=(condition,)), UNIVERSE, "America/New_York")
    assert complaint is not None and complaint[0] == code
    driver = Driver()
    session = driver.connect(1)
    driver.place(session, 1, order(conditions=(condition,)))
    assert driver.errors(session) == [(1, code)]
