"""A template: copy it, change it, give it to `LiveStrategyEngine`. It is no advice.

It holds some shares while the mean of the last closes is above that of many, and none otherwise.
"""

from __future__ import annotations

from typing import Any

from copilot_quant.strategies.base import DataStrategy, Order


class MyStrategy(DataStrategy):
    """Two moving averages of closes per symbol, long or flat.

    Args:
        fast: bars of the short mean.
        slow: bars of the long mean; with fewer bars nothing is done.
        quantity: shares to hold.
    """

    def __init__(self, fast: int = 5, slow: int = 15, quantity: int = 10) -> None:
        super().__init__()
        self.fast = fast
        self.slow = slow
        self.quantity = quantity

    def on_data(self, timestamp: Any, data: Any) -> list[Order]:
        """Compare the means of each symbol."""
        del timestamp  # the bars carry their time
        orders: list[Order] = []
        for symbol, bars in data.groupby("symbol", sort=False):
            if len(bars) < self.slow or symbol in self.working:
                continue  # too early, or the last order is not settled yet
            wants_shares = bars["close"].tail(self.fast).mean() > bars["close"].tail(self.slow).mean()
            held = self.positions.get(symbol, 0)
            if wants_shares and held <= 0:
                orders.append(Order(symbol, self.quantity, side="buy"))
            elif not wants_shares and held > 0:
                orders.append(Order(symbol, held, side="sell"))
        return orders
