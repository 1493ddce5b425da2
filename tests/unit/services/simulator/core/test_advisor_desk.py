from __future__ import annotations

from xml.etree import ElementTree

import pytest

from shared.tws import requests as rq
from shared.tws import responses as rs
from tests.unit.services.simulator.exchange_support import AAPL, Driver, order

GROUP = "<ListOfGroups><Group><name>Mine</name></Group></ListOfGroups>"


def advisor(version: int = 176) -> Driver:
    driver = Driver(is_advisor=True, accounts=("DUSIM0001", "DUSIM0002"))
    driver.connect(1, version)
    return driver


def test_an_advisor_has_groups_profiles_and_aliases() -> None:
    driver = advisor()
    for kind in (1, 2, 3):
        driver.ask(1, rq.RequestFA(kind))
    answers = driver.got(1, rs.ReceiveFA)
    assert [each.fa_type for each in answers] == [1, 2, 3]
    roots = [ElementTree.fromstring(each.xml.encode()) for each in answers]
    assert [each.text for each in roots[0].iter("String")] == ["DUSIM0001", "DUSIM0002"]
    assert [each.text for each in roots[2].iter("account")] == ["DUSIM0001", "DUSIM0002"]


def test_what_is_replaced_comes_back() -> None:
    driver = advisor()
    driver.ask(1, rq.ReplaceFA(1, GROUP, 7))
    driver.ask(1, rq.RequestFA(1))
    assert driver.got(1, rs.ReplaceFAEnd)[0].req_id == 7
    assert driver.got(1, rs.ReceiveFA)[0].xml == GROUP


@pytest.mark.parametrize(
    "xml", ["", "<ListOfGroups>", "<Other/>", "x" * 1_000_001, '<!DOCTYPE a [<!ENTITY b "c">]><ListOfGroups/>']
)
def test_a_bad_configuration_is_refused(xml: str) -> None:
    driver = advisor()
    driver.ask(1, rq.ReplaceFA(1, xml, 7))
    assert driver.errors(1) == [(7, 321)]


def test_there_are_no_profiles_from_177_on() -> None:
    driver = advisor(178)
    driver.ask(1, rq.RequestFA(2))
    driver.ask(1, rq.RequestFA(9))
    assert driver.errors(1) == [(-1, 585), (-1, 321)]


def test_others_are_refused_and_so_are_orders_by_group() -> None:
    driver = Driver()
    driver.connect(1)
    driver.ask(1, rq.RequestFA(1))
    driver.ask(1, rq.ReplaceFA(1, GROUP, 7))
    driver.place(1, 1, order(fa_group="All"), AAPL)
    assert driver.errors(1) == [(-1, 321), (7, 321), (1, 321)]
