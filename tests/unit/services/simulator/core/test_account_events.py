from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from services.simulator.core.commands import BadFault
from services.simulator.core.contracts import Instrument
from services.simulator.shell.store import ORDER_OF_KINDS
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import TwsContract
from tests.unit.services.simulator.exchange_support import AAPL, AAPL_ID, Driver, order

ACCOUNT = "DUSIM0001"


@pytest.fixture
def exchange() -> Driver:
    driver = Driver(pnl_period_ns=86_400 * 10**9, summary_period_ns=86_400 * 10**9)  # some of these run over weeks
    driver.connect(1)
    driver.ask(1, rq.ReqAccountUpdates(True, ACCOUNT))
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.quote(231.99, 232.01)
    return driver


def bought(driver: Driver, quantity: int = 100, order_id: int = 1) -> None:
    driver.place(1, order_id, order("BUY" if quantity > 0 else "SELL", abs(quantity)))
    driver.run()


def cash(driver: Driver, currency: str = "USD") -> Decimal:
    return Decimal(driver.truth()["accounts"][ACCOUNT]["cash"][currency])


def position(driver: Driver, con_id: int = AAPL_ID) -> dict[str, Any]:
    found: dict[str, Any] = driver.truth()["accounts"][ACCOUNT]["positions"].get(str(con_id), {})
    return found


def option(driver: Driver, strike: float, right: str) -> Instrument:
    return next(
        each
        for each in driver.engine.floor.universe
        if each.sec_type == "OPT" and each.symbol == "AAPL" and each.strike == strike and each.right == right
    )


def trade_option(driver: Driver, instrument: Instrument, action: str, order_id: int) -> None:
    contract = TwsContract(con_id=instrument.con_id, exchange="SMART")
    driver.place(1, order_id, order(action, 2), contract)
    driver.quote(5.00, 5.05, con_id=instrument.con_id)
    driver.run()


@pytest.mark.parametrize(
    ("name", "given", "change"),
    [
        ("deposit", "500.50", "500.50"),
        ("deposit", "-20", "-20"),
        ("fee", "1.5", "-1.5"),
        ("interest", "-3.25", "-3.25"),
    ],
)
def test_money_moves_and_is_told(exchange: Driver, name: str, given: str, change: str) -> None:
    before, told = cash(exchange), len(exchange.got(1, rs.AccountValue))
    exchange.fault(name, amount=given)
    assert cash(exchange) - before == Decimal(change)
    new = exchange.got(1, rs.AccountValue)[told:]
    assert any(
        each.key == "CashBalance" and Decimal(each.value) == cash(exchange).quantize(Decimal("0.01")) for each in new
    )
    assert json.loads(exchange.saved[("account", ACCOUNT)]["cash"]["USD"]) == float(cash(exchange))


def test_money_in_another_currency_counts_at_its_rate(exchange: Driver) -> None:
    exchange.fault("deposit", amount="1000", currency="EUR")
    truth = exchange.truth()["accounts"][ACCOUNT]
    assert truth["cash"]["EUR"] == "1000"
    assert Decimal("1000000") + 1050 < Decimal(truth["net_liquidation"]) < Decimal("1000000") + 1130
    with pytest.raises(BadFault, match="no exchange rate"):
        exchange.fault("deposit", amount="1", currency="XXX")
    with pytest.raises(BadFault, match="accounts are DUSIM0001"):
        exchange.fault("deposit", amount="1", account="DU1")


def test_a_dividend_is_paid_to_the_long_and_by_the_short(exchange: Driver) -> None:
    bought(exchange)
    before = cash(exchange)
    exchange.fault("dividend", symbol="AAPL", amount="0.25")
    assert cash(exchange) - before == 25
    bought(exchange, -300, 2)
    before = cash(exchange)
    exchange.fault("dividend", symbol="AAPL", amount="0.25")
    assert cash(exchange) - before == -50


def test_a_dividend_accrues_until_it_is_paid(exchange: Driver) -> None:
    bought(exchange)
    before = cash(exchange)
    exchange.fault("dividend", symbol="AAPL", amount="0.25", pay_after_s=60)
    assert cash(exchange) == before
    accrued = [each.value for each in exchange.got(1, rs.AccountValue) if each.key == "AccruedDividend"]
    assert exchange.engine.accounts[ACCOUNT].accrued_dividend == 25 and accrued
    exchange.run(61)
    assert cash(exchange) - before == 25 and exchange.engine.accounts[ACCOUNT].accrued_dividend == 0


def test_a_dividend_accrued_when_the_exchange_stops_is_paid_after_it_opened_again(exchange: Driver) -> None:
    bought(exchange)
    before = cash(exchange)
    exchange.fault("dividend", symbol="AAPL", amount="0.25", pay_after_s=60)
    exchange.fault("dividend", symbol="AAPL", amount="0.25", pay_after_s=60)
    exchange.fault("dividend", symbol="AAPL", amount="0.1", pay_after_s=3600)
    second = Driver()
    for kind in ORDER_OF_KINDS:
        for (stored, key), value in exchange.saved.items():
            if stored == kind:
                second.engine.restore(kind, key, value)
    account = second.engine.accounts[ACCOUNT]
    assert account.accrued_dividend == 60 and cash(second) == before
    second.run(61)
    assert cash(second) - before == 50 and account.accrued_dividend == 10
    due = {key: value for key, value in exchange.saved.items() if key[0] == "dividend"}
    gone = {key for key, value in second.saved.items() if key[0] == "dividend" and value is None}
    assert len(due) == 3 and len(gone) == 2 and gone < due.keys(), "what is paid is not stored any more"


def test_a_split_changes_shares_and_prices_and_nothing_in_sum(exchange: Driver) -> None:
    bought(exchange, 101)
    exchange.place(1, 2, order("BUY", 10, "LMT", lmt_price="100", tif="GTC"))
    exchange.run()
    before, old = exchange.truth()["accounts"][ACCOUNT], position(exchange)
    mid = exchange.engine.floor.prices.mid(exchange.engine.floor.universe.named("AAPL"), exchange.now_ns)
    exchange.fault("split", symbol="AAPL", new=3, old=2)
    new = position(exchange)
    assert (old["quantity"], new["quantity"]) == ("101", "151")
    assert exchange.statuses(1, 2)[-1] == "Cancelled"
    after = exchange.engine.floor.prices.mid(exchange.engine.floor.universe.named("AAPL"), exchange.now_ns)
    assert after == pytest.approx(mid * 2 / 3)
    value_before = Decimal(before["cash"]["USD"]) + Decimal(old["average_cost"]) * 101
    fraction_profit = Decimal(new["realized"])
    value_after = cash(exchange) + Decimal(new["average_cost"]) * 151
    assert value_after - value_before == pytest.approx(fraction_profit, abs=Decimal("0.000001"))


def test_a_symbol_changes_and_everything_else_stays(exchange: Driver) -> None:
    bought(exchange)
    exchange.place(1, 2, order("SELL", 100, "LMT", lmt_price="400", tif="GTC"))
    exchange.run()
    exchange.fault("symbol_change", symbol="AAPL", to="PEAR")
    exchange.ask(1, rq.ReqOpenOrders())
    assert exchange.got(1, rs.OpenOrder)[-1].contract.symbol == "PEAR"
    assert position(exchange)["symbol"] == "PEAR"
    exchange.ask(1, rq.ReqContractDetails(5, AAPL))
    assert (5, 200) in exchange.errors(1)
    second = Driver()
    for kind in ("listing", "order", "account"):
        for (stored, key), value in exchange.saved.items():
            if stored == kind:
                second.engine.restore(kind, key, value)
    assert second.truth()["accounts"][ACCOUNT]["positions"]["265598"]["symbol"] == "PEAR"
    with pytest.raises(BadFault, match="no free symbol"):
        exchange.fault("symbol_change", symbol="PEAR", to="MSFT")


@pytest.mark.parametrize(
    ("action", "right", "command", "shares", "money"),
    [
        ("BUY", "C", "exercise", 200, -1),
        ("BUY", "P", "exercise", -200, 1),
        ("SELL", "C", "assign", -200, 1),
        ("SELL", "P", "assign", 200, -1),
    ],
)
def test_options_are_delivered_at_the_strike(
    exchange: Driver, action: str, right: str, command: str, shares: int, money: int
) -> None:
    instrument = option(exchange, 230.0, right)
    trade_option(exchange, instrument, action, 1)
    before = cash(exchange)
    exchange.fault(command, contract=instrument.local_symbol)
    assert position(exchange, instrument.con_id) == {}
    assert position(exchange)["quantity"] == str(shares)
    assert cash(exchange) - before == money * 200 * Decimal(230)
    assert len(exchange.got(1, rs.ExecDetails)) == 1, "the exercise is no execution"
    with pytest.raises(BadFault, match="nobody is"):
        exchange.fault(command, contract=str(instrument.con_id))


def test_a_client_exercises(exchange: Driver) -> None:
    instrument = option(exchange, 230.0, "C")
    contract = TwsContract(con_id=instrument.con_id, exchange="SMART")
    exchange.ask(1, rq.ExerciseOptions(77, contract, 1, Decimal(1), ACCOUNT))
    assert exchange.errors(1) == [(77, 322)]
    trade_option(exchange, instrument, "BUY", 1)
    exchange.ask(1, rq.ExerciseOptions(78, contract, 1, Decimal(1), ACCOUNT))
    assert position(exchange)["quantity"] == "100" and position(exchange, instrument.con_id)["quantity"] == "1"


def test_expiry_exercises_what_is_worth_something(exchange: Driver) -> None:
    inside, outside = option(exchange, 210.0, "C"), option(exchange, 255.0, "C")
    trade_option(exchange, inside, "BUY", 1)
    trade_option(exchange, outside, "BUY", 2)
    for each in (inside, outside):
        exchange.fault("expire", contract=each.local_symbol)
    assert position(exchange)["quantity"] == "200"
    assert position(exchange, inside.con_id) == position(exchange, outside.con_id) == {}


def test_a_future_settles_by_itself_after_its_last_day(exchange: Driver) -> None:
    future = next(each for each in exchange.engine.floor.universe if each.symbol == "MES")
    exchange.place(1, 1, order("BUY", 1), TwsContract(con_id=future.con_id, exchange="CME"))
    exchange.quote(5960.00, 5960.25, con_id=future.con_id)
    exchange.run()
    exchange.quote(5970.00, 5970.25, con_id=future.con_id)
    exchange.trade(5970.00, 1, con_id=future.con_id)
    assert position(exchange, future.con_id)["quantity"] == "1"
    before = cash(exchange)
    for _ in range(30):
        exchange.run(86_400)
    assert position(exchange, future.con_id) == {}
    assert cash(exchange) != before


def test_the_broker_liquidates(exchange: Driver) -> None:
    bought(exchange)
    exchange.fault("liquidate", symbol="AAPL")
    exchange.run()
    assert position(exchange) == {}
    assert exchange.truth()["orders"][-1]["is_manual"]
    told = [each.details(-1, "UTC", zone_name=True) for each in exchange.engine.executions.all]
    assert [one.liquidation for one in told] == [0, 1], "IB marks the executions of its own liquidations"
    with pytest.raises(BadFault, match="no such position"):
        exchange.fault("liquidate")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("deposit", {"amount": "much"}),
        ("split", {"symbol": "AAPL", "new": 0}),
        ("split", {"symbol": "EUR.USD", "new": 2}),
        ("dividend", {"symbol": "NOPE", "amount": "1"}),
        ("expire", {"contract": "AAPL"}),
        ("exercise", {"contract": "AAPL"}),
    ],
)
def test_bad_parameters(exchange: Driver, name: str, parameters: dict[str, object]) -> None:
    with pytest.raises(BadFault):
        exchange.fault(name, **parameters)
