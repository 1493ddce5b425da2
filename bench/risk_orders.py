"""Draw the orders that both risk gates are asked about: ours in `bench/risk.py`, the other in `bench/nautilus_risk.py`.

50 contracts, each with a position of 100 that one of 20 strategies holds. Half of the orders enter: any strategy, any
contract. Half leave: the holder sells part of what it holds. Every fifth goes to the market, the rest carry a limit.
Orders of ours rest in every contract, buys in the even ones and sells in the odd ones. None goes to the market against
them: ours would warn, which is another piece of work, and the other gate does not look for it.
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


def rests_buys(contract: int) -> bool:
    """Return whether buys of ours rest in a contract, else sells do."""
    return contract % 2 == 0


def orders() -> list[Asked]:
    """Return the orders, the same each time."""
    chance, made = random.Random(5), []
    for number in range(INTENTS):
        is_exit, contract = chance.random() < 0.5, chance.randint(1, CONTRACTS)
        is_market = number % 5 == 4
        if is_market and is_exit is rests_buys(contract):
            contract = contract % CONTRACTS + 1
        strategy = holder(contract) if is_exit else number % STRATEGIES
        price = None if is_market else "100.10" if is_exit else "99.90"
        made.append(Asked(contract, strategy, is_exit, chance.randint(1, 20), price))
    return made
