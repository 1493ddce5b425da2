from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.tws import requests as rq
from shared.tws.contract import TwsContract
from shared.tws.responses import encode_response
from tests.unit.services.simulator.exchange_support import Driver, order

SYMBOLS = ("AAPL", "IBM", "BAC")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.integers(1, 3000)),
        st.tuples(
            st.just("place"), st.sampled_from(SYMBOLS), st.sampled_from(["BUY", "SELL"]), st.integers(1, 4000),
            st.sampled_from(["MKT", "LMT", "STP"]), st.integers(-300, 300), st.sampled_from(["DAY", "IOC", "GTC"]),
        ),
        st.tuples(st.just("cancel"), st.integers(1, 30)),
        st.tuples(st.just("subscribe"), st.sampled_from(SYMBOLS)),
        st.tuples(st.just("ask"), st.sampled_from(["executions", "open", "completed", "positions"])),
    ),
    max_size=25,
)  # fmt: skip


def contract(symbol: str) -> TwsContract:
    return TwsContract(symbol=symbol, sec_type="STK", exchange="SMART", currency="USD")


def play(history: list[Any], seed: int, *, cut_time: int = 1) -> Driver:
    driver = Driver(seed=seed, tick_rate=20.0)
    session = driver.connect(1)
    next_id, next_request = 1, 1000
    questions = {
        "executions": rq.ReqExecutions(1), "open": rq.ReqOpenOrders(), "positions": rq.ReqPositions(),
        "completed": rq.ReqCompletedOrders(api_only=False),
    }  # fmt: skip
    for step in history:
        if step[0] == "run":
            for _ in range(cut_time):
                driver.run(step[1] / 1000 / cut_time)
        elif step[0] == "place":
            _, symbol, action, quantity, kind, offset, tif = step
            instrument = driver.engine.floor.universe.by_symbol(symbol)
            assert instrument is not None
            price = str(round(round(instrument.price, 2) + offset / 100, 2))
            fields = {"LMT": {"lmt_price": price}, "STP": {"aux_price": price}}.get(kind, {})
            driver.place(
                session,
                next_id,
                order(action, quantity, kind, tif=tif, order_ref=f"r{next_id}", **fields),
                contract(symbol),
            )
            next_id += 1
        elif step[0] == "cancel":
            driver.ask(session, rq.CancelOrder(step[1]))
        elif step[0] == "subscribe":
            driver.ask(session, rq.ReqMktData(next_request, contract(step[1])))
            next_request += 1
        else:
            driver.ask(session, questions[step[1]])
    driver.run(1.0)
    return driver


def wire(driver: Driver) -> list[bytes]:
    return [encode_response(each, 176) for each in driver.sent[1]]


@given(steps, st.integers(0, 5))
@settings(max_examples=25)
def test_the_same_seed_and_requests_give_the_same_bytes(history, seed: int) -> None:
    """What is sent follows from seed, requests and times, not from how often the engine is called in between."""
    assert wire(play(history, seed)) == wire(play(history, seed, cut_time=4))


@given(steps)
@settings(max_examples=25)
def test_the_exchange_adds_up(history) -> None:
    """Executions make the positions and the cash; no order fills beyond its quantity; everything encodes."""
    driver = play(history, 7)
    wire(driver)
    truth = driver.truth()
    account = truth["accounts"]["DUSIM0001"]
    cash, positions = Decimal(1_000_000), dict[str, Decimal]()
    filled = dict[int, Decimal]()
    for each in truth["executions"]:
        signed = Decimal(each["shares"]) * (1 if each["side"] == "BOT" else -1)
        cash -= signed * Decimal(each["price"]) + Decimal(each["commission"])
        positions[each["symbol"]] = positions.get(each["symbol"], Decimal(0)) + signed
        filled[each["perm_id"]] = filled.get(each["perm_id"], Decimal(0)) + Decimal(each["shares"])
    assert Decimal(account["cash"]["USD"]) == cash
    booked = {each["symbol"]: Decimal(each["quantity"]) for each in account["positions"].values()}
    assert booked == {symbol: quantity for symbol, quantity in positions.items() if quantity}
    for each in truth["orders"]:
        assert filled.get(each["perm_id"], Decimal(0)) == Decimal(each["filled"]) <= Decimal(each["quantity"])
        assert (each["status"] == "Filled") == (Decimal(each["filled"]) == Decimal(each["quantity"]))
    assert len({each["exec_id"] for each in truth["executions"]}) == len(truth["executions"])
    ids = [each["perm_id"] for each in truth["orders"]]
    assert len(ids) == len(set(ids))
