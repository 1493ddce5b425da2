from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from copilot_quant.backtest.contracts import CALENDAR, contracts_of, day_of, exchange_hours, midnight_ns, universe_of
from services.simulator.core.hours import Hours
from shared.errors import BadInput
from shared.messages.market import ContractInfo
from shared.sessions import SessionCalendar


def test_hours_follow_the_calendar_half_days_and_holidays_too() -> None:
    hours = exchange_hours(date(2013, 11, 27), date(2013, 11, 29))
    info = contracts_of(["IBM"], hours, {"IBM": 180.0}, {})["IBM"].info
    assert "20131128:CLOSED" in info.liquid_hours
    assert "20131129:0930-20131129:1300" in info.liquid_hours
    assert "20131129:0400-20131129:1700" in info.trading_hours
    calendar = SessionCalendar(info.time_zone, info.liquid_hours)
    assert not calendar.is_open(midnight_ns(date(2013, 11, 28)) + 12 * 3600 * 10**9)
    assert [day_of(each.open_ns) for each in hours.calendars[CALENDAR]].count(date(2013, 11, 28)) == 0


def test_a_listed_stock_keeps_its_conid_and_any_other_gets_one_of_its_own() -> None:
    hours = exchange_hours(date(2013, 10, 8), date(2013, 10, 8))
    found = contracts_of(["IBM", "ZZZQ"], hours, {"IBM": 180.0, "ZZZQ": 5.0}, {})
    assert found["IBM"].info.con_id == 8314 and found["IBM"].instrument.price == 180.0
    other = found["ZZZQ"]
    assert other.info.con_id > 0 and other.info.min_tick == Decimal("0.01") and other.info.name == "ZZZQ"
    assert universe_of(found).by_id(other.info.con_id) is not None
    again = contracts_of(["ZZZQ"], hours, {"ZZZQ": 6.0}, {})
    assert again["ZZZQ"].info.con_id == other.info.con_id


def test_what_is_neither_listed_nor_a_stock_is_refused() -> None:
    with pytest.raises(BadInput, match="only stocks can do without"):
        contracts_of(["FX:XAU.XAG"], Hours(), {"FX:XAU.XAG": 1.0}, {})


def test_what_the_broker_said_in_a_recording_wins() -> None:
    info = ContractInfo(con_id=4711, name="ODD", symbol="ODD", sec_type="STK", exchange="SMART", currency="USD")
    found = contracts_of(["ODD"], Hours(), {"ODD": 3.0}, {"ODD": info})
    assert found["ODD"].info is info and found["ODD"].instrument.con_id == 4711
