"""Draw the orders that both risk gates are asked about: ours in `bench/risk.py`, the other in `bench/nautilus_risk.py`.

50 contracts, each with a position of 100 that one of 20 strategies holds. Half of the orders enter: any strategy, any
contract. Half leave: the holder sells part of what it holds. Every fifth goes to the market, the rest carry a limit.
"""

from __future__ import annotations

import random
from typing import NamedTuple

CONTRACTS, STRATEGIES, WORKING, INTENTS = 50, 20, 200, 2000


class Asked(NamedTuple):
    """One order: contracts count from 1, strategies from 0; an exit is a sell, an entry a buy; None is no limit."""

    contract: int
    strategy: int
    is_exit: bool
    quantity: int
    price: str | None


def holder(contract: int) -> int:
    """Return the strategy that holds the position in a contract."""
    return contract % STRATEGIES


def orders() -> list[Asked]:
    """Return the orders, the same each time."""
    chance, made = random.Random(5), []
    for number in range(INTENTS):
        is_exit, contract = chance.random() < 0.5, chance.randint(1, CONTRACTS)
        strategy = holder(contract) if is_exit else number % STRATEGIES
        price = None if number % 5 == 4 else "100.10" if is_exit else "99.90"
        made.append(Asked(contract, strategy, is_exit, chance.randint(1, 20), price))
    return made
