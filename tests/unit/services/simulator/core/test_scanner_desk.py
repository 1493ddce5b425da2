from __future__ import annotations

from decimal import Decimal
from xml.etree import ElementTree

from services.simulator.core.scanner_desk import parameters_xml
from shared.tws import requests as rq
from shared.tws import responses as rs
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
