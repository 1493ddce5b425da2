"""A unit's result is its book's, less commissions, per currency, with what cannot be priced named."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from copilot_quant.local.unit_profits import price_in, profit_of, profit_text
from shared.messages.market import ContractInfo
from shared.messages.orders import Commission

FUTURE = ContractInfo(
    con_id=7, name="ES", symbol="ES", sec_type="FUT", exchange="CME", currency="USD", multiplier=Decimal(50)
)
PENCE = ContractInfo(
    con_id=8, name="VOD", symbol="VOD", sec_type="STK", exchange="LSE", currency="GBP", price_magnifier=Decimal(100)
)
INFOS = {7: FUTURE, 8: PENCE}


def row(**positions: tuple[str, str, str]) -> dict[str, Any]:
    names = ("position", "average_price", "realized")
    return {
        "strategy": "s", "contracts": [7, 8], "names": ["ES", "VOD"],
        "positions": {name: dict(zip(names, held, strict=True)) for name, held in positions.items()},
    }  # fmt: skip


def charge(con_id: int, amount: str, strategy: str = "s") -> Commission:
    return Commission(
        exec_id="e", strategy=strategy, account="A", con_id=con_id, commission=Decimal(amount), currency="USD"
    )


def test_multipliers_and_pence_are_money_and_currencies_stay_apart() -> None:
    held = row(ES=("2", "5000", "3"), VOD=("-100", "80", "0"))
    result = profit_of(held, INFOS, {7: Decimal(5001), 8: Decimal(75)}, [charge(7, "4.2"), charge(7, "9", "other")])
    dollars, pounds = result.by_currency["USD"], result.by_currency["GBP"]
    assert (dollars.realized, dollars.unrealized, dollars.commissions) == (150, 100, Decimal("4.2"))
    assert pounds.net == 5
    assert profit_text(result.as_json()) == "+245.80 USD, +5.00 GBP"


def test_what_has_no_price_is_named_and_counts_nothing() -> None:
    result = profit_of(row(ES=("2", "5000", "0")), INFOS, {}, [])
    assert result.unpriced == ["ES"] and result.by_currency["USD"].net == 0
    assert "no price: ES" in profit_text(result.as_json())


def test_a_flat_unit_needs_no_price_and_one_that_stopped_before_it_began_has_no_result() -> None:
    assert profit_of(row(ES=("0", "0", "-1")), INFOS, {}, []).by_currency["USD"].net == -50
    assert profit_of({"strategy": "s"}, INFOS, {}, [charge(7, "1")]).by_currency == {}


@pytest.mark.parametrize(
    "last, price",
    [
        ({"bid": "10", "ask": "11", "last": "9"}, "10.5"), ({"bid": "10", "last": "9"}, "9"), ({}, None),
        ({"bid": "nan", "ask": "x", "last": "-1"}, None),
    ],
)  # fmt: skip
def test_the_price_is_the_middle_of_the_quote_else_the_last_trade(last: dict[str, str], price: str | None) -> None:
    assert price_in(last) == (None if price is None else Decimal(price))
