from __future__ import annotations

from dataclasses import replace

import pytest

from services.simulator.core.history import has_kind, parse_duration, parse_period
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import TwsContract
from tests.unit.services.simulator.exchange_support import AAPL, Driver

EURUSD = TwsContract(symbol="EUR", sec_type="CASH", exchange="IDEALPRO", currency="USD")


@pytest.mark.parametrize(("text", "seconds"), [("3600 S", 3600), ("2 D", 172800), ("1W", 604800), ("1 Y", 31536000)])
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(("text", "seconds"), [("3 days", 259200), ("1 week", 604800), ("90 seconds", 90)])
def test_periods(text: str, seconds: int) -> None:
    assert parse_period(text) == seconds


@pytest.mark.parametrize("text", ["", "0 days", "3", "three days", "1 fortnight"])
def test_what_is_no_period(text: str) -> None:
    with pytest.raises(ValueError, match="period"):
        parse_period(text)


def test_kinds_by_contract() -> None:
    universe = Driver().engine.floor.universe
    apple, euro = universe.by_symbol("AAPL"), universe.find(EURUSD)[0].instrument
    assert apple is not None
    coin = replace(apple, sec_type="CRYPTO")
    assert has_kind(apple, "FEE_RATE") and has_kind(apple, "TRADES") and not has_kind(apple, "AGGTRADES")
    assert has_kind(euro, "BID_ASK") and not has_kind(euro, "TRADES") and not has_kind(euro, "FEE_RATE")
    assert has_kind(coin, "AGGTRADES") and not has_kind(coin, "NONSENSE")


def test_a_bid_ask_bar_is_mean_bid_highest_ask_lowest_bid_mean_ask() -> None:
    driver = Driver(history_pacing=False)
    session = driver.connect(1)
    bars = {}
    for what in ("BID", "ASK", "BID_ASK"):
        [answer] = driver.ask(session, rq.ReqHistoricalData(3, AAPL, duration="3600 S", what_to_show=what))
        assert isinstance(answer, rs.HistoricalData)
        bars[what] = answer.bars
    for bid, ask, both in zip(bars["BID"], bars["ASK"], bars["BID_ASK"], strict=True):
        assert (both.high, both.low) == (ask.high, bid.low)
        assert bid.low <= both.open <= bid.high and ask.low <= both.close <= ask.high


def test_a_histogram_covers_its_period() -> None:
    driver = Driver(history_pacing=False)
    session = driver.connect(1)
    volumes = []
    for period in ("1 day", "1 week"):
        [answer] = driver.ask(session, rq.ReqHistogramData(3, AAPL, period=period))
        assert isinstance(answer, rs.HistogramData)
        volumes.append(sum(each.count for each in answer.entries))
    assert volumes[1] > 3 * volumes[0]
    driver.ask(session, rq.ReqHistogramData(4, AAPL, period="soon"))
    assert driver.errors(session) == [(4, 321)]
