"""Say what becomes of an option when its underlying splits, as the Options Clearing Corporation adjusts.

1. A whole split of a standard option, 2 for 1 or 20 for 1: as many more contracts, the strike divided and rounded to
   a cent, 100 shares each as before.
2. Any other (3 for 2, a reverse split), or one of an option that was adjusted before: contracts, strike and multiplier
   stay, and a contract delivers another number of shares; its class gets a number, AAPL1. What a contract pays for
   them, strike times multiplier, stays too.

Known limit: no new standard series is listed after an adjustment of the second kind.

Source: OCC's interpretation of its by-laws on adjustments since 2007.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from services.simulator.core.contracts import Instrument


def adjusted(option: Instrument, new: int, old: int) -> tuple[Instrument, int]:
    """Return the option after a split of `new` shares for `old` ones, and how many contracts one becomes."""
    if new % old == 0 and option.deliverable == option.multiplier:
        factor = new // old
        strike = round(option.strike / factor, 2)
        local_symbol = f"{option.local_symbol[:-8]}{round(strike * 1000):08d}"
        return replace(option, strike=strike, local_symbol=local_symbol), factor
    adjusted_class = _next_class(option)
    return replace(
        option,
        shares=option.deliverable * new / old,
        trading_class=adjusted_class,
        local_symbol=f"{adjusted_class:<6}{option.local_symbol[6:]}",
    ), 1


def renamed(option: Instrument, to: str) -> Instrument:
    """Return the option after its underlying has another symbol."""
    number = option.trading_class[len(option.symbol) :]
    new_class = f"{to}{number}"
    return replace(option, symbol=to, trading_class=new_class, local_symbol=f"{new_class:<6}{option.local_symbol[6:]}")


def delivery(option: Instrument, contracts: Decimal) -> tuple[Decimal, Decimal]:
    """Return how many shares come with that many contracts, and the price of each: both whole for standard ones."""
    return contracts * option.deliverable, Decimal(str(option.strike)) * option.multiplier / option.deliverable


def _next_class(option: Instrument) -> str:
    number = option.trading_class[len(option.symbol) :]
    return f"{option.symbol}{int(number or 0) + 1}"
