from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from services.simulator.core.commission import commission_currency, order_commission
from services.simulator.core.universe import default_universe

UNIVERSE = default_universe(date(2026, 11, 23))


@pytest.mark.parametrize(
    ("name", "quantity", "value", "fixed", "tiered"),
    [
        ("AAPL", "100", "23200", "1", "0.37"),
        ("AAPL", "1000", "232000", "5", "3.7"),
        ("F", "10", "5", "0.05", "0.052"),
        ("14204", "100", "22200", "11.1", "11.1"),
        ("14204", "10", "2220", "3", "1.25"),
        ("EUR.USD", "20000", "21700", "2", "2"),
        ("EUR.USD", "1000000", "1085000", "21.7", "21.7"),
        ("BTC.USD", "0.1", "9700", "17.46", "17.46"),
    ],
)
def test_schedules(name: str, quantity: str, value: str, fixed: str, tiered: str) -> None:
    instrument = UNIVERSE.named(name)
    assert order_commission(instrument, Decimal(quantity), Decimal(value)) == Decimal(fixed)
    assert order_commission(instrument, Decimal(quantity), Decimal(value), schedule="tiered") == Decimal(tiered)


@pytest.mark.parametrize(("premium", "each"), [("0.04", "0.25"), ("0.06", "0.50"), ("2", "0.65")])
def test_cheap_options_cost_less_on_the_tiered_list(premium: str, each: str) -> None:
    option = next(one for one in UNIVERSE if one.sec_type == "OPT")
    value = Decimal(premium) * 100 * 10
    assert order_commission(option, Decimal(10), value) == Decimal("6.5")
    assert order_commission(option, Decimal(10), value, schedule="tiered") == Decimal(each) * 10


def test_nothing_traded_costs_nothing_and_pairs_pay_in_dollars() -> None:
    assert order_commission(UNIVERSE.named("AAPL"), Decimal(0), Decimal(0)) == 0
    assert commission_currency(UNIVERSE.named("USD.JPY")) == "USD"
    assert commission_currency(UNIVERSE.named("14204")) == "EUR"


def test_a_rate_stands_in_for_the_price_lists() -> None:
    stock = UNIVERSE.named("AAPL")
    assert order_commission(stock, Decimal(1), Decimal(232), schedule="tiered", rate=Decimal("0.001")) == Decimal(
        "0.232"
    )
    assert order_commission(stock, Decimal(1), Decimal(232), rate=Decimal(0)) == 0
