from __future__ import annotations

import pytest

from services.simulator.core.generic_ticks import LEGAL, legal_text, parse_generic_ticks
from shared.tws import requests as rq
from shared.tws import responses as rs
from tests.unit.services.simulator.exchange_support import AAPL, Driver


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", set()), ("233", {233}), ("100, 101,mdoff", {100, 101}), ("292:BRFG+DJNL,233", {292, 233})],
)
def test_lists(text: str, numbers: set[int]) -> None:
    assert parse_generic_ticks(text) == numbers


@pytest.mark.parametrize("text", ["1", "233,x", "-100", "99999", "\u0661\u0660\u0660"])
def test_what_is_not_legal(text: str) -> None:
    assert parse_generic_ticks(text) is None
    assert "Legal ones for (STK) are: 100(Option Volume)" in legal_text(text, "STK")


def test_all_of_a_stock() -> None:
    driver = Driver()
    session = driver.connect(1)
    answer = driver.ask(session, rq.ReqMktData(5, AAPL, generic_ticks=",".join(map(str, LEGAL))))
    ticks = {each.tick_type: each for each in answer if isinstance(each, rs.TickSize | rs.TickGeneric | rs.TickString)}
    assert {21, 23, 24, 27, 28, 29, 30, 46, 58, 59, 87, 89} <= set(ticks)
    prices = {each.tick_type: each.price for each in answer if isinstance(each, rs.TickPrice)}
    assert prices[19] <= prices[17] <= prices[15] <= prices[16] <= prices[18] <= prices[20]
    assert prices[37] == pytest.approx(driver.engine.floor.book(265598).mark)


def test_trades_move_what_depends_on_them() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(5, AAPL, generic_ticks="233,293,375,232"))
    before = len(driver.sent[session])
    driver.quote(101.0, 101.1)
    driver.trade(101.05, 30)
    after = driver.sent[session][before:]
    assert {each.tick_type for each in after if isinstance(each, rs.TickString)} >= {48, 77}
    assert [each.value for each in after if isinstance(each, rs.TickGeneric) and each.tick_type == 54] == [2.0]
    assert [each.price for each in after if isinstance(each, rs.TickPrice) and each.tick_type == 37][-1] == 101.05


def test_an_illegal_list_is_refused() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(5, AAPL, generic_ticks="233,9998"))
    assert driver.errors(session) == [(5, 321)]
