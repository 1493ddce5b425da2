"""Text and objects must be the same bytes: two exchanges live through the same, one writes its market data itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.simulator.core.config import ExchangeConfig
from services.simulator.core.engine import Engine
from services.simulator.core.market import MarketEvent, Quote, Trade
from services.simulator.core.tick_text import is_usual_price, is_whole
from services.simulator.shell.quick_ticks import quick_frames
from shared.tws import requests as rq
from shared.tws.contract import TwsContract
from shared.tws.framing import encode_frame
from shared.tws.responses import Response, encode_response
from tests.unit.services.simulator.exchange_support import AAPL, AAPL_ID, START_NS

MS = 1_000_000
CALL = TwsContract(symbol="SPY", sec_type="OPT", exchange="SMART", last_trade_date="20261218", strike=600.0, right="C")


class Pair:
    """Two exchanges, the bytes that their clients got, and how many messages were written as text."""

    def __init__(self, version: int = 176, **config: object) -> None:
        self.version = version
        self.engines = [
            Engine(ExchangeConfig(pacing="off", **config), START_NS, writes_ticks=writes)  # type: ignore[arg-type]
            for writes in (False, True)
        ]
        self.now_ns = START_NS
        self.received: list[dict[int, bytes]] = [{}, {}]
        self.texts = 0

    def slow(self, response: Response) -> bytes:
        return encode_frame(encode_response(response, self.version))

    def all(self, act: object) -> None:
        for engine, received in zip(self.engines, self.received, strict=True):
            turn = act(engine)  # type: ignore[operator]
            for session, responses in turn.sends.items():
                self.texts += sum(isinstance(each, str) for each in responses)
                received[session] = received.get(session, b"") + quick_frames(responses, self.slow)

    def connect(self, session: int, *requests: rq.Request) -> None:
        self.all(lambda engine: engine.open_session(session, self.version, self.now_ns))
        for request in (rq.StartApi(session), *requests):
            self.all(lambda engine, each=request: engine.receive(session, each, self.now_ns))

    def run(self, ms: int) -> None:
        self.now_ns += ms * MS
        self.all(lambda engine: engine.advance(self.now_ns))

    def happen(self, event: MarketEvent) -> None:
        for engine in self.engines:
            engine._on_market(event)
        self.run(0)

    def are_equal(self) -> bool:
        return self.received[0] == self.received[1] and bool(self.received[0])


@pytest.mark.parametrize("version", [157, 163, 176])
@pytest.mark.parametrize("permission", ["live", "delayed"])
def test_a_busy_market_is_the_same_both_ways(version: int, permission: str) -> None:
    pair = Pair(version, tick_rate=400.0, data_permission=permission)
    kind = rq.ReqMarketDataType(3)
    pair.connect(1, kind, rq.ReqMktData(1, AAPL), rq.ReqMktData(70_000, CALL))
    pair.connect(
        2, kind, rq.ReqMktData(9, AAPL), rq.ReqMktData(10, TwsContract(symbol="EUR", sec_type="CASH", currency="USD"))
    )
    pair.connect(3, kind, rq.ReqMktData(1, AAPL, generic_ticks="233,165"), rq.ReqMktData(2, AAPL, snapshot=True))
    for _ in range(40):
        pair.run(50)
    assert pair.are_equal() and pair.texts > 500


def test_a_fault_takes_the_long_way_and_the_session_goes_on() -> None:
    pair = Pair(tick_rate=200.0)
    pair.connect(1, rq.ReqMktData(1, AAPL))
    pair.run(500)
    pair.all(lambda engine: engine.inject_fault("slow", {"seconds": 1, "delay_ms": 50}, pair.now_ns))
    before = pair.texts
    for _ in range(8):
        pair.run(100)
    assert pair.texts == before
    for _ in range(8):
        pair.run(100)
    pair.all(lambda engine: engine.close_session(1, pair.now_ns))
    pair.run(100)
    assert pair.are_equal() and pair.texts > before


sizes = st.one_of(st.integers(0, 10**7).map(float), st.floats(0, 1e7, allow_subnormal=False))
prices = st.one_of(st.integers(1, 10**6).map(lambda each: each / 100), st.floats(0.01, 1e6))
events = st.one_of(
    st.tuples(prices, sizes, st.floats(0.01, 10), sizes).map(
        lambda each: Quote(AAPL_ID, START_NS, each[0], each[1], each[0] + each[2], each[3])
    ),
    st.tuples(prices, sizes).map(lambda each: Trade(AAPL_ID, START_NS, *each)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(events, max_size=30))
def test_any_events_are_the_same_both_ways(happened: list[MarketEvent]) -> None:
    pair = Pair(tick_rate=1e-9)
    pair.connect(1, rq.ReqMktData(1, AAPL))
    pair.connect(2, rq.ReqMktData(2**31 - 1, AAPL, generic_ticks="221"))
    for number, event in enumerate(happened):
        event.ts_ns += number * 300 * MS
        pair.happen(event)
    assert pair.are_equal()


def test_what_is_usual() -> None:
    assert is_whole(100.0) and is_whole(0.0) and not is_whole(0.5)
    assert not any(is_whole(each) for each in (float("nan"), float("inf"), 1e16))
    assert is_usual_price(-1.0) and not is_usual_price(float("inf")) and not is_usual_price(float("nan"))
