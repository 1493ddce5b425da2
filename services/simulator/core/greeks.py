"""Compute what TWS says about an option beside its price: greeks and implied volatility (Black-Scholes, no interest).

Units as TWS sends them: vega per point of volatility (one percent), theta per calendar day.

Source: ib-facts B.5 (21); -1 and -2 stand for "not computed".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from services.simulator.core.contracts import Instrument
from services.simulator.core.market import NS_PER_S, option_price
from services.simulator.core.times import to_ns

_YEAR_S = 365.0 * 86400.0
_STEPS = 40
_HIGHEST_VOLATILITY = 5.0


@dataclass(frozen=True, slots=True)
class Greeks:
    """Price and sensitivities of one option."""

    price: float
    delta: float = -2.0
    gamma: float = -2.0
    vega: float = -2.0
    theta: float = -2.0


def years_left(option: Instrument, now_ns: int) -> float:
    """Return the time to an option's expiry, 21:00 UTC of its day, in years."""
    expiry = datetime.strptime(option.expiry, "%Y%m%d").replace(hour=21, tzinfo=UTC)
    return (to_ns(expiry) - now_ns) / NS_PER_S / _YEAR_S


def greeks(under: float, strike: float, years: float, volatility: float, right: str) -> Greeks:
    """Return an option's price and greeks; without time or volatility only its inner value."""
    if min(under, strike, years, volatility) <= 0:
        return Greeks(option_price(under, strike, 0.0, 0.0, right) if under > 0 else -1.0)
    root = math.sqrt(years)
    spread = volatility * root
    d1 = math.log(under / strike) / spread + spread / 2
    density = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)
    below = 0.5 * (1.0 + math.erf(d1 / math.sqrt(2.0)))
    return Greeks(
        price=option_price(under, strike, years, volatility, right),
        delta=below if right == "C" else below - 1.0,
        gamma=density / (under * spread),
        vega=under * density * root / 100,
        theta=-under * density * volatility / (2 * root) / 365,
    )


def implied_volatility(price: float, under: float, strike: float, years: float, right: str) -> float:
    """Return the volatility at which an option is worth `price`, -1 if none up to 500 % does."""
    if min(price, under, strike, years) <= 0:
        return -1.0
    low, high = 0.0001, _HIGHEST_VOLATILITY
    is_reachable = (
        option_price(under, strike, years, low, right) <= price <= option_price(under, strike, years, high, right)
    )
    if not is_reachable:
        return -1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if option_price(under, strike, years, middle, right) < price:
            low = middle
        else:
            high = middle
    return (low + high) / 2
