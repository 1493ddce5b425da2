"""The guide's shape of a strategy: a table of bars comes in at an interval, a list of orders goes out.

It suits ideas on daily or minute bars that are looked at now and then. Such a class runs in `LiveStrategyEngine`, in a
backtest, and on workers when the strategies file names it. One that has to react to ticks or remember something derives
from `services.strategy.api.Strategy` instead (docs/how-to/strategies.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Order:
    """What a strategy wants; the arguments of `IBKRBroker.execute_order`."""

    symbol: str
    quantity: int | float
    side: str = "buy"
    order_type: str = "market"
    limit_price: float | None = None
    stop_price: float | None = None
    take_profit: float | None = None
    stop_loss: float | None = None


class DataStrategy:
    """Base of strategies in the guide's shape; override `on_data`.

    `positions` (symbol → signed shares of this strategy) and `working` (symbols in which an order of it may still
    fill) are brought up to date before each call.
    """

    name: str = ""
    """Carried by every order, fill and position; default: the class's name in lower case."""

    def __init__(self) -> None:
        self.name = self.name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()
        self.positions: Mapping[str, float] = {}
        self.working: frozenset[str] = frozenset()

    def on_start(self, symbols: Sequence[str]) -> None:
        """Begin."""

    def on_data(self, timestamp: Any, data: Any) -> list[Order]:
        """Return orders.

        Args:
            timestamp: now, a pandas Timestamp in UTC.
            data: DataFrame by `date` (a bar's opening time, UTC) with symbol, open, high, low, close, volume; oldest
                first. The last row of each symbol is the bar that still grows, closed at the latest price.
        """
        raise NotImplementedError

    def on_stop(self) -> None:
        """End; working orders stay as they are."""
