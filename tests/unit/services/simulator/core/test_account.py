from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from services.simulator.core.account import Account, money, order_margin
from services.simulator.core.account_values import SUMMARY_TAGS, base_values, currency_values
from services.simulator.core.commission import commission_currency, order_commission
from services.simulator.core.contracts import Instrument
from services.simulator.core.universe import default_universe

UNIVERSE = default_universe(date(2026, 11, 23))
D = Decimal


def listed(symbol: str, sec_type: str = "STK", currency: str = "USD") -> Instrument:
    found = UNIVERSE.by_symbol(symbol, sec_type, currency)
    assert found is not None
    return found


AAPL, SAP, EURUSD, ES = listed("AAPL"), listed("SAP", currency="EUR"), listed("EUR", "CASH"), listed("ES", "FUT")


def funded(**cash: int) -> Account:
    account = Account("DUSIM0001")
    for currency, amount in (cash or {"USD": 1_000_000}).items():
        account.deposit(D(amount), currency)
    return account


def rates(currency: str) -> Decimal:
    return {"USD": D(1), "EUR": D("1.1")}[currency]


def test_a_round_trip_realises_price_less_commissions() -> None:
    account = funded()
    assert account.apply_fill(AAPL, 1, D(100), D(100), D(1)) is None
    assert account.holdings[AAPL.con_id].average_cost == D("100.01")
    assert account.apply_fill(AAPL, -1, D(100), D(110), D(1)) == D(998)
    assert account.cash["USD"] == D(1_000_998)


def test_crossing_zero_realises_one_part_and_opens_the_other() -> None:
    account = funded()
    account.apply_fill(AAPL, 1, D(100), D(100), D(0))
    realized = account.apply_fill(AAPL, -1, D(150), D(110), D(3))
    assert realized == D(998)
    holding = account.holdings[AAPL.con_id]
    assert holding.quantity == -50 and holding.average_cost == D("109.98")


def test_short_positions_profit_from_falling_prices() -> None:
    account = funded()
    account.apply_fill(AAPL, -1, D(100), D(100), D(0))
    assert account.holdings[AAPL.con_id].unrealized(D(90)) == D(1000)
    assert account.apply_fill(AAPL, 1, D(100), D(90), D(0)) == D(1000)


def test_futures_cost_margin_not_money() -> None:
    account = funded()
    account.apply_fill(ES, 1, D(2), D(6000), D("4.5"))
    assert account.cash["USD"] == D("999995.5")
    summary = account.summary(lambda _: D(6010), rates)
    assert summary.initial_margin == 33_000 and summary.unrealized == 1000
    assert summary.net_liquidation == D("1000995.5")
    assert account.apply_fill(ES, -1, D(2), D(6010), D("4.5")) == D("995.5")
    assert account.cash["USD"] == D("1000991")


def test_a_currency_trade_moves_both_currencies() -> None:
    account = funded()
    account.apply_fill(EURUSD, 1, D(10_000), D("1.1"), D(2))
    assert account.cash == {"USD": D("988998.0"), "EUR": D(10_000)}
    assert account.summary(lambda _: D("1.1"), rates).net_liquidation == D("999998.0")


def test_foreign_stocks_are_valued_in_the_base_currency() -> None:
    account = funded(USD=1000, EUR=100_000)
    account.apply_fill(SAP, 1, D(100), D(200), D(10))
    summary = account.summary(lambda _: D(210), rates)
    assert summary.stock_value == D("23100.0")
    assert summary.net_liquidation == D(1000) + (D(100_000) - D(20_010)) * D("1.1") + D("23100")


def test_buying_power_is_four_times_available_funds() -> None:
    account = funded()
    summary = account.summary(lambda _: D(100), rates)
    assert summary.buying_power == 4_000_000
    account.apply_fill(AAPL, 1, D(10_000), D(100), D(0))
    summary = account.summary(lambda _: D(100), rates)
    assert summary.available_funds == 750_000 and summary.regt_margin == 500_000


def test_the_margin_of_an_order_counts_what_it_closes() -> None:
    account = funded()
    assert order_margin(account, AAPL, 1, D(100), D(100)) == 2500
    account.apply_fill(AAPL, 1, D(100), D(100), D(0))
    assert order_margin(account, AAPL, -1, D(100), D(100)) == -2500


@pytest.mark.parametrize(
    ("instrument", "quantity", "value", "fee"),
    [
        (AAPL, 100, 10_000, "1"),
        (AAPL, 1000, 100_000, "5"),
        (AAPL, 10, 5, "0.05"),
        (SAP, 100, 20_000, "10"),
        (EURUSD, 10_000, 11_000, "2"),
        (EURUSD, 1_000_000, 1_100_000, "22"),
        (ES, 2, 600_000, "4.5"),
        (AAPL, 0, 0, "0"),
    ],
)
def test_commissions(instrument: Instrument, quantity: int, value: int, fee: str) -> None:
    assert order_commission(instrument, D(quantity), D(value)) == D(fee)


def test_commission_currencies() -> None:
    assert (commission_currency(SAP), commission_currency(listed("USD", "CASH", "JPY"))) == ("EUR", "USD")


def test_values_have_the_tags_of_ib() -> None:
    account = funded(USD=1000, EUR=10)
    summary = account.summary(lambda _: D(1), rates)
    tags = {tag for tag, _, _ in base_values(account, summary)}
    wanted = (
        "NetLiquidation",
        "TotalCashValue",
        "BuyingPower",
        "AvailableFunds",
        "ExcessLiquidity",
        "GrossPositionValue",
    )
    assert tags >= set(wanted)
    assert tags >= set(SUMMARY_TAGS) - {"Currency"}
    by_currency = {
        (tag, currency): value for tag, value, currency in currency_values(account, summary, rates, lambda _: D(1))
    }
    assert by_currency[("CashBalance", "EUR")] == "10.00" and by_currency[("ExchangeRate", "EUR")] == "1.100000"
    assert by_currency[("CashBalance", "BASE")] == "1011.00"


def test_money_has_two_places_and_a_new_day_forgets_profits() -> None:
    assert money(D("1.005")) == "1.01" and money(D("1E+3")) == "1000.00"
    account = funded()
    account.apply_fill(AAPL, 1, D(1), D(100), D(0))
    account.apply_fill(AAPL, -1, D(1), D(110), D(0))
    account.new_day()
    assert account.holdings[AAPL.con_id].realized_today == 0 and account.holdings[AAPL.con_id].realized == 10
