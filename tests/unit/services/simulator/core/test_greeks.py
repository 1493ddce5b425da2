from __future__ import annotations

import pytest

from services.simulator.core.greeks import greeks, implied_volatility
from services.simulator.core.market import option_price


@pytest.mark.parametrize("right", ["C", "P"])
@pytest.mark.parametrize("strike", [90.0, 100.0, 115.0])
def test_greeks_are_the_slopes_of_the_price(right: str, strike: float) -> None:
    under, years, volatility = 100.0, 0.5, 0.3
    found = greeks(under, strike, years, volatility, right)
    step = 0.01

    def price(at: float = under, left: float = years, sigma: float = volatility) -> float:
        return option_price(at, strike, left, sigma, right)

    assert found.price == pytest.approx(price())
    assert found.delta == pytest.approx((price(at=under + step) - price(at=under - step)) / (2 * step), abs=1e-5)
    bend = (price(at=under + step) - 2 * price() + price(at=under - step)) / step**2
    assert found.gamma == pytest.approx(bend, abs=1e-4)
    assert found.vega == pytest.approx((price(sigma=0.301) - price(sigma=0.299)) / 0.2, abs=1e-4)
    assert found.theta == pytest.approx((price(left=years - 1 / 365) - price()), abs=2e-4)


@pytest.mark.parametrize("right", ["C", "P"])
def test_the_implied_volatility_gives_the_price_back(right: str) -> None:
    price = option_price(100, 105, 0.25, 0.42, right)
    assert implied_volatility(price, 100, 105, 0.25, right) == pytest.approx(0.42, abs=1e-6)


def test_what_cannot_be_computed_is_said_so() -> None:
    assert implied_volatility(200, 100, 105, 0.25, "C") == -1.0
    assert implied_volatility(0, 100, 105, 0.25, "C") == -1.0
    expired = greeks(110, 100, 0, 0.3, "C")
    assert (expired.price, expired.delta, expired.gamma) == (10.0, -2.0, -2.0)
    assert greeks(0, 100, 1, 0.3, "C").price == -1.0
