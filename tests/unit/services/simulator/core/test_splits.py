"""Options of a stock that splits: what OCC makes of them, here, in accounts, on the wire and after a restart."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from services.simulator.core.contracts import Instrument
from services.simulator.core.splits import adjusted, delivery, renamed
from services.simulator.shell.store import ORDER_OF_KINDS
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import ComboLeg, TwsContract
from tests.unit.services.simulator.core.test_account_events import ACCOUNT, cash, option, position, trade_option
from tests.unit.services.simulator.exchange_support import AAPL_ID, Driver, order


@pytest.fixture
def exchange() -> Driver:
    driver = Driver()
    driver.connect(1)
    return driver


def listed(driver: Driver, con_id: int) -> Instrument:
    found = driver.engine.floor.universe.by_id(con_id)
    assert found is not None
    return found


def restarted(driver: Driver) -> Driver:
    second = Driver()
    for kind in ORDER_OF_KINDS:
        for (stored, key), value in driver.saved.items():
            if stored == kind and value is not None:
                second.engine.restore(kind, key, value)
    second.connect(1)
    return second


@pytest.mark.parametrize(
    ("new", "old", "count", "strike", "shares", "name"),
    [
        (2, 1, 2, 115.0, 100, "AAPL"),
        (7, 1, 7, 32.86, 100, "AAPL"),
        (4, 2, 2, 115.0, 100, "AAPL"),
        (3, 2, 1, 230.0, 150, "AAPL1"),
        (1, 10, 1, 230.0, 10, "AAPL1"),
    ],
)
def test_a_contract_becomes(
    exchange: Driver, new: int, old: int, count: int, strike: float, shares: int, name: str
) -> None:
    before = option(exchange, 230.0, "C")
    after, factor = adjusted(before, new, old)
    assert (factor, after.strike, after.deliverable, after.trading_class) == (count, strike, shares, name)
    assert after.local_symbol == f"{name:<6}{before.expiry[2:]}C{round(strike * 1000):08d}"
    assert after.multiplier == 100 and after.con_id == before.con_id


def test_one_adjusted_before_keeps_its_contracts_and_its_name_counts_on(exchange: Driver) -> None:
    once, _ = adjusted(option(exchange, 230.0, "C"), 3, 2)
    twice, factor = adjusted(once, 2, 1)
    assert (factor, twice.deliverable, twice.strike, twice.trading_class) == (1, 300, 230.0, "AAPL2")
    assert renamed(twice, "PEAR").trading_class == "PEAR2"
    shares, price = delivery(twice, Decimal(2))
    assert shares == 600 and shares * price == pytest.approx(Decimal(2 * 23_000))


@pytest.mark.parametrize(
    ("new", "old", "contracts", "each"), [(2, 1, "4", 115.0), (3, 2, "2", 230.0), (1, 10, "2", 230.0)]
)
def test_a_position_is_worth_the_same_and_delivers_for_the_same_money(
    exchange: Driver, new: int, old: int, contracts: str, each: float
) -> None:
    call = option(exchange, 230.0, "C")
    trade_option(exchange, call, "BUY", 1)
    prices = exchange.engine.floor.prices
    value = prices.mid(call, exchange.now_ns) * 2
    exchange.fault("split", symbol="AAPL", new=new, old=old)
    now = position(exchange, call.con_id)
    assert now["quantity"] == contracts and listed(exchange, call.con_id).strike == each
    assert prices.mid(call, exchange.now_ns) * float(contracts) == pytest.approx(value, rel=1e-6)
    before = cash(exchange)
    exchange.fault("exercise", contract=str(call.con_id))
    assert cash(exchange) - before == pytest.approx(Decimal(-46_000), abs=Decimal("0.000001"))
    assert Decimal(position(exchange)["quantity"]) == 200 * Decimal(new) / old


def test_a_fraction_of_a_share_is_paid_in_cash(exchange: Driver) -> None:
    call = option(exchange, 230.0, "C")
    trade_option(exchange, call, "BUY", 1)
    exchange.fault("split", symbol="AAPL", new=1, old=7)
    exchange.fault("exercise", contract=str(call.con_id))
    assert position(exchange)["quantity"] == "28", "of 28.57"


def test_orders_for_its_options_end_and_those_for_combinations_of_them(exchange: Driver) -> None:
    low, high = option(exchange, 225.0, "C"), option(exchange, 235.0, "C")
    legs = (ComboLeg(low.con_id, 1, "BUY", "SMART"), ComboLeg(high.con_id, 1, "SELL", "SMART"))
    spread = TwsContract(symbol="AAPL", sec_type="BAG", exchange="SMART", currency="USD", combo_legs=legs)
    exchange.place(1, 1, order("BUY", 1, "LMT", lmt_price="0.05", tif="GTC"), TwsContract(con_id=low.con_id))
    exchange.place(1, 2, order("BUY", 1, "LMT", lmt_price="0.05", tif="GTC"), spread)
    exchange.run()
    exchange.fault("split", symbol="AAPL", new=2)
    assert [exchange.statuses(1, number)[-1] for number in (1, 2)] == ["Cancelled", "Cancelled"]
    exchange.place(1, 3, order("BUY", 1, "LMT", lmt_price="0.05"), spread)
    exchange.run()
    new_low, _ = listed(exchange, exchange.got(1, rs.OpenOrder)[-1].contract.con_id).legs[0]
    assert new_low.strike == 112.5


def test_clients_find_them_under_their_new_strikes_and_classes(exchange: Driver) -> None:
    call = option(exchange, 230.0, "C")
    exchange.fault("split", symbol="AAPL", new=2)
    wanted = TwsContract(
        symbol="AAPL", sec_type="OPT", exchange="SMART", currency="USD", right="C", strike=115.0,
        last_trade_date=call.expiry,
    )  # fmt: skip
    exchange.ask(1, rq.ReqContractDetails(5, wanted))
    assert exchange.got(1, rs.ContractDetails)[-1].contract.con_id == call.con_id
    exchange.fault("split", symbol="AAPL", new=3, old=2)
    exchange.ask(1, rq.ReqSecDefOptParams(6, "AAPL", "", "STK", AAPL_ID))
    chain = exchange.got(1, rs.SecDefOptParams)[-1]
    assert chain.trading_class == "AAPL1" and 115.0 in chain.strikes


def test_adjustments_and_positions_outlive_the_simulator(exchange: Driver) -> None:
    call = option(exchange, 230.0, "C")
    trade_option(exchange, call, "BUY", 1)
    exchange.fault("split", symbol="AAPL", new=2)
    exchange.fault("split", symbol="AAPL", new=3, old=2)
    exchange.fault("symbol_change", symbol="AAPL", to="PEAR")
    second = restarted(exchange)
    now, again = listed(exchange, call.con_id), listed(second, call.con_id)
    assert again == now == replace(now, strike=115.0, shares=Decimal(150), symbol="PEAR", trading_class="PEAR1")
    assert position(second, call.con_id)["quantity"] == "4"
    second.ask(1, rq.ReqPositions())
    held = [each for each in second.got(1, rs.Position) if each.contract.con_id == call.con_id]
    assert [(each.account, each.contract.symbol, each.contract.strike) for each in held] == [(ACCOUNT, "PEAR", 115.0)]
