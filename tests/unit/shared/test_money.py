from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.money import decimal_of, is_on_tick, notional, round_to_tick

PRICES = st.decimals("0.01", "10000", places=4)
TICKS = st.sampled_from([Decimal(text) for text in ("0.0001", "0.005", "0.01", "0.05", "0.25", "1")])


@given(price=PRICES, tick=TICKS)
def test_a_rounded_price_is_on_the_tick_and_on_the_passive_side(price: Decimal, tick: Decimal) -> None:
    bid, ask = round_to_tick(price, tick, side="BUY"), round_to_tick(price, tick, side="SELL")
    assert is_on_tick(bid, tick) and is_on_tick(ask, tick)
    assert bid <= price <= ask and ask - bid <= tick
    assert abs(round_to_tick(price, tick) - price) * 2 <= tick


def test_a_float_becomes_what_it_prints() -> None:
    assert decimal_of(0.1) == Decimal("0.1")
    for bad in ("x", float("nan"), float("inf"), ""):
        with pytest.raises(ValueError, match="number"):
            decimal_of(bad)
    with pytest.raises(ValueError, match="positive"):
        round_to_tick(Decimal(1), Decimal(0))


def test_money_is_a_product_and_an_unknown_factor_is_never_one() -> None:
    known = (Decimal(-2), Decimal("4500.25"), Decimal(50), Decimal(1), Decimal("0.9"))
    assert notional(*known) == Decimal("-405022.50")
    assert notional(Decimal(100), Decimal(250), Decimal(1), Decimal(100), Decimal(1)) == Decimal(250)
    for position in range(1, 5):
        factors: list[Decimal | None] = list(known)
        factors[position] = None
        assert notional(Decimal(1), *factors[1:]) is None
