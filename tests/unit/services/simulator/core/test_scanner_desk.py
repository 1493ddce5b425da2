from __future__ import annotations

from decimal import Decimal
from xml.etree import ElementTree

import pytest

from services.simulator.core.scanner_desk import CODES, parameters_xml
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.fields import TagValue
from tests.unit.services.simulator.exchange_support import Driver


def scan(number: int = 3, **fields: object) -> rq.ReqScannerSubscription:
    fields = {"instrument": "STK", "location_code": "STK.US.MAJOR", "scan_code": "MOST_ACTIVE", **fields}
    return rq.ReqScannerSubscription(number, **fields)  # type: ignore[arg-type]


def test_a_scan_ranks_and_comes_again() -> None:
    driver = Driver()
    session = driver.connect(1)
    [answer] = driver.ask(session, scan(number_of_rows=5))
    assert isinstance(answer, rs.ScannerData) and [row.rank for row in answer.rows] == [0, 1, 2, 3, 4]
    assert {row.contract.sec_type for row in answer.rows} == {"STK"}
    driver.run(31)
    assert len(driver.got(session, rs.ScannerData)) == 2
    driver.ask(session, rq.CancelScannerSubscription(3))
    driver.run(61)
    assert len(driver.got(session, rs.ScannerData)) == 2
    assert driver.errors(session) == [(3, 162)]


def test_filters_and_opposite_scans() -> None:
    driver = Driver()
    session = driver.connect(1)
    [cheap] = driver.ask(session, scan(1, below_price=Decimal(100)))
    [dear] = driver.ask(session, scan(2, above_price=Decimal(100)))
    assert isinstance(cheap, rs.ScannerData) and isinstance(dear, rs.ScannerData)
    ids = [{row.contract.con_id for row in each.rows} for each in (cheap, dear)]
    assert ids[0] and ids[1] and not ids[0] & ids[1]
    [gain] = driver.ask(session, scan(4, scan_code="TOP_PERC_GAIN"))
    [loss] = driver.ask(session, scan(5, scan_code="TOP_PERC_LOSE"))
    assert isinstance(gain, rs.ScannerData) and isinstance(loss, rs.ScannerData)
    assert gain.rows[0].contract == loss.rows[-1].contract


def test_refusals_and_the_end_of_a_session() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, scan(1, scan_code="NONSENSE"))
    for number in range(2, 13):
        driver.ask(session, scan(number))
    driver.ask(session, scan(2))
    assert driver.errors(session) == [(1, 162), (12, 162), (2, 322)]
    driver.disconnect(session)
    driver.run(40)
    assert driver.engine.scanner._scans == {}


def test_the_parameters_are_xml_and_name_what_is_taken() -> None:
    codes = [each.text for each in ElementTree.fromstring(parameters_xml()).iter("scanCode")]
    assert "TOP_PERC_GAIN" in codes and len(codes) == len(set(codes))


def test_display_groups_follow_each_other() -> None:
    driver = Driver()
    first, second = driver.connect(1), driver.connect(2)
    assert driver.ask(first, rq.SubscribeToGroupEvents(3, 1)) == [rs.DisplayGroupUpdated(3, "none")]
    driver.ask(second, rq.SubscribeToGroupEvents(4, 1))
    driver.ask(first, rq.UpdateDisplayGroup(3, "265598@SMART"))
    assert driver.got(second, rs.DisplayGroupUpdated)[-1] == rs.DisplayGroupUpdated(4, "265598@SMART")
    driver.ask(second, rq.UnsubscribeFromGroupEvents(4))
    driver.ask(second, rq.UpdateDisplayGroup(4, "none"))
    assert driver.errors(second) == [(4, 322)]


def rows(driver: Driver, **fields: object) -> list[str]:
    fields = {"instrument": "STK", "location_code": "STK.US.MAJOR", "scan_code": "MOST_ACTIVE"} | fields
    number = 101
    answer = driver.ask(1, rq.ReqScannerSubscription(number, **fields))  # type: ignore[arg-type]
    found = [each for each in answer if isinstance(each, rs.ScannerData)]
    driver.ask(1, rq.CancelScannerSubscription(number))
    return [row.contract.local_symbol for each in found for row in each.rows]


def test_filters_leave_out_what_they_name() -> None:
    driver = Driver()
    driver.connect(1)
    everything = rows(driver)
    etfs, shares = rows(driver, stock_type_filter="ETF"), rows(driver, stock_type_filter="STOCK")
    assert "SPY" in etfs and "AAPL" in shares and not set(etfs) & set(shares)
    assert set(rows(driver, location_code="STK.NYSE")) < set(everything) and "IBM" in rows(
        driver, location_code="STK.NYSE"
    )
    assert "INTC" not in rows(driver, above_price=Decimal(100)) and "INTC" in rows(driver, below_price=Decimal(100))
    by_name = rows(driver, filter_options=(TagValue("priceAbove", "100"), TagValue("priceBelow", "300")))
    assert "AAPL" in by_name and "MSFT" not in by_name and "INTC" not in by_name
    large = rows(driver, market_cap_above=Decimal(1_000_000))
    assert 0 < len(large) < len(everything)
    up = rows(driver, filter_options=(TagValue("changePercAbove", "0"),))
    down = rows(driver, filter_options=(TagValue("changePercBelow", "0"),))
    assert up and down and not set(up) & set(down)
    assert 0 < len(rows(driver, average_option_volume_above=35_000)) < len(everything)


def test_bonds_are_filtered_by_what_bonds_have() -> None:
    driver = Driver()
    driver.connect(1)
    kind = {"instrument": "BOND", "location_code": "BOND.US", "scan_code": "HIGH_COUPON_RATE"}
    ordered = rows(driver, **kind)
    assert len(ordered) == 4 and ordered[0] == "IBCID710000040"
    assert rows(driver, **kind, coupon_rate_below=Decimal("4.1")) == ["IBCID710000020"]
    assert rows(driver, **kind, maturity_date_above="20400101") == ["IBCID710000010"]
    assert rows(driver, **kind, moody_rating_above="AA3") == ["IBCID710000030", "IBCID710000010", "IBCID710000020"]
    assert rows(driver, **kind, sp_rating_below="A+") == [
        "IBCID710000040", "IBCID710000010", "IBCID710000020",
    ], "what is not rated is worse than anything"  # fmt: skip
    assert rows(driver, coupon_rate_above=Decimal(1)) == [], "stocks have no coupons"


@pytest.mark.parametrize(
    "fields",
    [
        {"filter_options": (TagValue("moonPhase", "1"),)}, {"filter_options": (TagValue("priceAbove", "x"),)},
        {"stock_type_filter": "REIT"}, {"location_code": "STK.MARS"}, {"scan_code": "LUCKY"},
    ],
)  # fmt: skip
def test_an_unknown_filter_is_refused_and_not_passed_over(fields: dict[str, object]) -> None:
    driver = Driver()
    driver.connect(1)
    assert rows(driver, **fields) == []
    assert driver.errors(1)[0] == (101, 162)


@pytest.mark.parametrize("code", list(CODES))
def test_every_scan_ranks_something(code: str) -> None:
    driver = Driver()
    driver.connect(1)
    assert rows(driver, scan_code=code)
