"""The guide's words for orders mean one thing, and a wrong one is a sentence that says which argument."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.strategy.core.guide_orders import checked_prices, one_of, positive
from shared.errors import BadInput
from shared.messages.orders import Side


def test_each_type_has_its_prices_however_it_is_written() -> None:
    assert checked_prices("Market", {"limit_price": None}) == {}
    assert checked_prices("stop-limit", {"limit_price": 10.5, "stop_price": "10"}) == {
        "limit_price": Decimal("10.5"), "stop_price": Decimal(10),
    }  # fmt: skip
    assert list(checked_prices("bracket", {"stop_loss": 9})) == ["stop_loss"]
    assert one_of(Side, "side", " buy ") is Side.BUY


@pytest.mark.parametrize(
    "order_type, prices, said",
    [
        ("iceberg", {}, "order_type 'iceberg': choose from market, limit"),
        ("limit", {}, "a limit order needs limit_price"),
        ("market", {"limit_price": 1}, "a market order takes no limit_price"),
        ("limit", {"limit_price": 1, "stop_loss": 1}, "a limit order takes no stop_loss"),
        ("bracket", {"limit_price": 1}, "a bracket order needs take_profit, stop_loss or both"),
        ("stop", {"stop_price": "low"}, "stop_price 'low' is no number"),
    ],
)
def test_what_cannot_be_an_order_is_a_sentence(order_type: str, prices: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        checked_prices(order_type, prices)


def test_words_and_quantities_are_checked_too() -> None:
    with pytest.raises(BadInput, match="side 'long': choose from BUY, SELL"):
        one_of(Side, "side", "long")
    with pytest.raises(BadInput, match="quantity -3 has to be a positive number"):
        positive("quantity", -3)
