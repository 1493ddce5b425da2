from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.simulator.core.book import Book
from services.simulator.core.combos import leg_prices, legs_of, quote_of, resolve_combo
from services.simulator.core.contracts import Instrument, Listing, NotFound
from services.simulator.core.market import Quote
from services.simulator.core.universe import default_universe
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import ComboLeg, TwsContract
from tests.unit.services.simulator.exchange_support import AAPL_ID, Driver, order

MSFT_ID = 272093
UNIVERSE = default_universe(date(2026, 11, 23))
CALLS = sorted(
    (each for each in UNIVERSE if each.symbol == "AAPL" and each.right == "C" and each.expiry == "20261218"),
    key=lambda each: each.strike,
)


def bag(*legs: tuple[int, int, str]) -> TwsContract:
    return TwsContract(
        symbol="AAPL", sec_type="BAG", exchange="SMART", currency="USD",
        combo_legs=tuple(ComboLeg(con_id, ratio, action, "SMART") for con_id, ratio, action in legs),
    )  # fmt: skip


PAIR = bag((AAPL_ID, 1, "BUY"), (MSFT_ID, 2, "SELL"))
SPREAD = bag((CALLS[8].con_id, 1, "BUY"), (CALLS[10].con_id, 1, "SELL"))
WRITE = bag((AAPL_ID, 100, "BUY"), (CALLS[8].con_id, 1, "SELL"))


def made(contract: TwsContract) -> Instrument:
    found = resolve_combo(default_universe(date(2026, 11, 23)), contract)
    assert isinstance(found, Listing)
    return found.instrument


@pytest.fixture
def exchange() -> Driver:
    driver = Driver()
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, PAIR))
    driver.quote(100.00, 100.02, 500, 700)
    driver.quote(30.00, 30.01, 600, 900, con_id=MSFT_ID)
    return driver


def test_the_same_legs_are_the_same_combination() -> None:
    assert made(PAIR) == made(PAIR) and made(PAIR).con_id != made(SPREAD).con_id
    assert [each.con_id for each in legs_of(made(SPREAD))] == [CALLS[8].con_id, CALLS[10].con_id]
    assert made(SPREAD).multiplier == 100 and made(WRITE).multiplier == 100 and made(PAIR).multiplier == 1


@pytest.mark.parametrize(
    "contract",
    [
        bag(), bag((1, 1, "BUY")), bag((AAPL_ID, 0, "BUY")), bag((AAPL_ID, 1, "HOLD")), bag((AAPL_ID, -1, "BUY")),
        bag((AAPL_ID, 1, "BUY"), (AAPL_ID, 1, "SELL")), bag((AAPL_ID, 10**9, "BUY")),
        bag((AAPL_ID, 1, "BUY"), (14204, 1, "SELL")), bag(*[(AAPL_ID, 1, "BUY")] * 9),
    ],
)  # fmt: skip
def test_what_cannot_be_combined_is_not_found(contract: TwsContract) -> None:
    assert isinstance(resolve_combo(UNIVERSE, contract), NotFound)
    driver = Driver()
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(1, contract))
    driver.place(1, 1, order(), contract)
    assert [code for _, code in driver.errors(1)] == [200, 200]


def test_there_is_an_end_to_them() -> None:
    universe = default_universe(date(2026, 11, 23))
    for ratio in range(1, 5001):
        assert isinstance(resolve_combo(universe, bag((AAPL_ID, ratio, "BUY"), (MSFT_ID, 1, "SELL"))), Listing)
    assert isinstance(resolve_combo(universe, bag((AAPL_ID, 5001, "BUY"), (MSFT_ID, 1, "SELL"))), NotFound)
    assert isinstance(resolve_combo(universe, bag((AAPL_ID, 7, "BUY"), (MSFT_ID, 1, "SELL"))), Listing)


def test_its_quote_is_what_the_legs_cost(exchange: Driver) -> None:
    prices = {each.tick_type: (each.price, each.size) for each in exchange.got(1, rs.TickPrice)}
    assert prices[1] == (39.98, 450) and prices[2] == (40.02, 300)
    exchange.quote(30.05, 30.06, 600, 900, con_id=MSFT_ID)
    assert exchange.got(1, rs.TickPrice)[-1].price == pytest.approx(100.02 - 60.10)


def test_its_price_may_be_below_zero(exchange: Driver) -> None:
    exchange.quote(60.00, 60.01, con_id=MSFT_ID)
    prices = {each.tick_type: each.price for each in exchange.got(1, rs.TickPrice)}
    assert prices[1] == pytest.approx(-20.02) and prices[2] == pytest.approx(-19.98)
    exchange.place(1, 1, order("BUY", 10, "LMT", lmt_price="-19.98"), PAIR)
    exchange.place(1, 2, order("SELL", 10, "LMT", lmt_price="-19.99"), PAIR)
    exchange.run()
    assert exchange.statuses(1, 1)[-1] == "Filled" and exchange.statuses(1, 2)[-1] == "Submitted"
    exchange.quote(59.99, 60.00, con_id=MSFT_ID)
    assert exchange.statuses(1, 2)[-1] == "Submitted", "the bid is -20.00"
    exchange.quote(100.02, 100.04)
    assert exchange.statuses(1, 2)[-1] == "Filled"


def test_a_fill_is_told_as_one_and_for_each_leg(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100), PAIR)
    exchange.run()
    assert exchange.statuses(1, 1)[-1] == "Filled"
    whole, first, second = exchange.got(1, rs.ExecDetails)
    assert (whole.contract.sec_type, whole.shares, whole.price) == ("BAG", 100, 40.02)
    assert (first.contract.symbol, first.side, first.shares) == ("AAPL", "BOT", 100)
    assert (second.contract.symbol, second.side, second.shares) == ("MSFT", "SLD", 200)
    assert first.price - 2 * second.price == pytest.approx(40.02)
    assert [len(each.exec_id.split(".")) for each in (whole, first, second)] == [4, 5, 5]
    assert [each.exec_id for each in exchange.got(1, rs.CommissionReport)] == [first.exec_id, second.exec_id]
    account = exchange.engine.accounts["DUSIM0001"]
    assert account.quantity(AAPL_ID) == 100 and account.quantity(MSFT_ID) == -200
    assert account.cash["USD"] == 1_000_000 - Decimal("4002.00") - account.commissions
    sent = exchange.got(1, rs.OpenOrder)[-1]
    assert sent.contract.combo_legs == PAIR.combo_legs and sent.state.commission == account.commissions
    exchange.ask(1, rq.ReqExecutions(5))
    assert len([each for each in exchange.got(1, rs.ExecDetails) if each.req_id == 5]) == 3
    assert len(exchange.got(1, rs.CommissionReport)) == 4


def test_the_prices_of_options_are_per_share(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 2, "LMT", lmt_price="99"), SPREAD)
    exchange.run()
    assert exchange.statuses(1, 1)[-1] == "Filled"
    _, bought, sold = exchange.got(1, rs.ExecDetails)
    spent = Decimal(1_000_000) - exchange.engine.accounts["DUSIM0001"].cash["USD"]
    fees = exchange.engine.accounts["DUSIM0001"].commissions
    assert float(spent - fees) == pytest.approx(2 * 100 * (bought.price - sold.price))


def test_its_margin_is_that_of_its_legs(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="1"), PAIR)
    exchange.run()
    marks = [exchange.engine.orders.fills.mark(leg) for leg in map(UNIVERSE.by_id, (AAPL_ID, MSFT_ID)) if leg]
    summary = exchange.engine.orders.fills.summary(exchange.engine.accounts["DUSIM0001"])
    assert summary.initial_margin == 100 * marks[0] * Decimal("0.25") + 200 * marks[1] * Decimal("0.30")


def test_a_combination_order_survives_the_exchange(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="1", tif="GTC"), PAIR)
    exchange.run()
    again = Driver()
    for (kind, key), value in exchange.saved.items():
        again.engine.restore(kind, key, value)
    again.run()
    again.quote(50, 50.02)
    again.quote(24.9, 25, con_id=MSFT_ID)
    again.run()
    (kept,) = again.engine.orders.book.by_perm.values()
    assert kept.contract.combo_legs == PAIR.combo_legs and kept.status == "Filled"


def test_its_markets_rest_when_nobody_looks(exchange: Driver) -> None:
    exchange.ask(1, rq.CancelMktData(900))
    exchange.run()
    assert not exchange.engine._synthetic.is_watched(AAPL_ID) and not exchange.engine._synthetic.is_watched(MSFT_ID)


def test_what_combinations_do_not_have(exchange: Driver) -> None:
    exchange.ask(1, rq.ReqTickByTick(1, PAIR, "BidAsk"))
    exchange.ask(1, rq.ReqMktDepth(2, PAIR, 5))
    exchange.ask(1, rq.ReqHistoricalTicks(6, PAIR, number_of_ticks=3, what_to_show="BID_ASK"))
    exchange.ask(1, rq.ReqHistoricalData(7, PAIR, duration="1 D", bar_size="1 hour", what_to_show="TRADES"))
    exchange.ask(1, rq.ReqContractDetails(3, PAIR))
    exchange.place(1, 4, order(kind="MOC"), PAIR)
    assert exchange.errors(1) == [(1, 10189), (2, 10092), (6, 162), (7, 162), (3, 200), (4, 387)]
    bars = exchange.ask(1, rq.ReqHistoricalData(8, PAIR, duration="1 D", bar_size="1 hour", what_to_show="BID"))[0]
    assert isinstance(bars, rs.HistoricalData) and all(each.low <= each.high < 0 for each in bars.bars)
    exchange.place(1, 5, order("BUY", 1), PAIR)
    exchange.run()
    whole = exchange.engine.executions.all[0]
    with pytest.raises(ValueError, match="legs"):
        exchange.engine.orders.fills.correct(whole, Decimal(1), Decimal(1))


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.sampled_from([1, -1]), st.decimals(1, 500, places=2)), min_size=1, max_size=4
    ),
    st.decimals(-100, 100, places=2),
)
def test_leg_prices_add_up(legs: list[tuple[int, int, Decimal]], price: Decimal) -> None:
    combo = made(PAIR)
    object.__setattr__(combo, "legs", tuple((CALLS[n], ratio * side) for n, (ratio, side, _) in enumerate(legs)))
    object.__setattr__(combo, "multiplier", Decimal(100))
    found = leg_prices(combo, price, [mark for _, _, mark in legs])
    total = sum((each * ratio for each, (_, ratio) in zip(found, combo.legs, strict=True)), Decimal(0))
    assert abs(total - price) < Decimal("1e-18")


def test_without_a_leg_there_is_no_quote() -> None:
    books = [Book(AAPL_ID), Book(MSFT_ID)]
    books[0].on_quote(Quote(AAPL_ID, 1, 100, 1, 101, 1))
    assert quote_of(made(PAIR), books, 1) is None
