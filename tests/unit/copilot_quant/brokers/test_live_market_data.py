from __future__ import annotations

from decimal import Decimal

import pytest

from copilot_quant.access import Access
from copilot_quant.brokers import live_market_data
from copilot_quant.brokers.live_market_data import IBKRLiveDataFeed, price_of, quote_of
from shared.clock import NS_PER_S, SYSTEM_CLOCK
from shared.errors import BadInput, BrokerUnavailable
from shared.messages.requests import HistoryBar
from tests.support import eventually_sync
from tests.unit.copilot_quant.brokers.desks import an_access, do


@pytest.fixture
def access() -> Access:
    return an_access()


@pytest.fixture
def feed(access: Access, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_market_data, "open_access", lambda **_: access)
    with IBKRLiveDataFeed(paper_trading=True) as one:
        yield one


def show(access: Access, price: float, *, ago_s: int = 0) -> None:
    """Be marketdata: write the last price of AAPL."""
    fields = {"last": str(price), "bid": "1", "ask": "3", "ts_ns": str(SYSTEM_CLOCK.wall_ns() - ago_s * NS_PER_S)}
    do(access.desk.bus.hash_set(access.desk.keys.last(265598), fields))


def test_prices_are_asked_for_and_told(feed: IBKRLiveDataFeed, access: Access) -> None:
    told: list[tuple[str, float]] = []
    assert feed.subscribe(["AAPL"], lambda symbol, price, _: told.append((symbol, price))) == {"AAPL": True}
    assert do(access.desk.bus.hash_get_all(access.desk.keys.watches)).keys() == {"265598"}
    assert feed.subscriptions == ["AAPL"] and feed.contracts()["AAPL"].con_id == 265598
    show(access, 216.5)
    assert feed.get_latest_price("AAPL") == 216.5
    show(access, 216.75)
    eventually_sync(lambda: told == [("AAPL", 216.5), ("AAPL", 216.75)], 5)
    feed.unsubscribe("AAPL")
    assert feed.subscriptions == []


def test_no_price_is_none_after_the_wait_and_an_old_one_is_no_price(feed: IBKRLiveDataFeed, access: Access) -> None:
    show(access, 100.0, ago_s=3600)
    began_ns = SYSTEM_CLOCK.monotonic_ns()
    assert feed.get_latest_price("AAPL", timeout=0.4) is None
    assert SYSTEM_CLOCK.monotonic_ns() - began_ns >= 0.4 * NS_PER_S


def test_history_takes_the_guide_s_arguments_in_both_ways(
    feed: IBKRLiveDataFeed, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    async def history(con_id: int, *, bar_size: str, span_s: int, use_rth: bool, **_: object) -> list[HistoryBar]:
        asked.append((con_id, bar_size, span_s, use_rth))
        ten = Decimal(10)
        return [HistoryBar(ts_ns=NS_PER_S, open=ten, high=ten, low=ten, close=ten)]

    monkeypatch.setattr(access.desk, "history", history)
    assert len(feed.get_historical_bars("AAPL", "1 M", "1 day")) == 1
    assert len(feed.get_historical_bars(symbol="AAPL", duration="1 M", bar_size="1 day")) == 1
    assert asked == [(265598, "1 day", 30 * 86_400, True)] * 2
    for duration, size, end in (("a while", "1 day", None), ("1 M", "1 fortnight", None), ("1 M", "1 day", "soon")):
        with pytest.raises(BadInput):
            feed.get_historical_bars("AAPL", duration, size, end=end)


def test_without_connect_it_says_so() -> None:
    with pytest.raises(BrokerUnavailable, match="connect"):
        IBKRLiveDataFeed().subscribe("AAPL")


@pytest.mark.parametrize(
    "snapshot, expected",
    [
        ({"ts_ns": "10", "last": "5", "bid": "1", "ask": "3"}, 5.0),
        ({"ts_ns": "10", "last": "", "bid": "1", "ask": "3"}, 2.0),
        ({"ts_ns": "10", "bid": "1", "ask": "-1"}, None),
        ({"ts_ns": "4", "last": "5"}, None),
        ({}, None),
    ],
)
def test_the_latest_price_is_the_trade_else_the_middle(snapshot: dict[str, str], expected: float | None) -> None:
    quote = quote_of(snapshot, 5)
    assert (None if quote is None else price_of(quote)) == expected
