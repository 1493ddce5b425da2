"""The strategy that is measured: two exponential means of each symbol's price, an order where they cross.

Every program runs exactly this, in Python, once per event: price (the middle of a quote, else the trade's), two means,
a comparison; where the sign changed, a market order that turns 100 shares around. Only how the event comes and how the
order leaves is each program's own.
"""

from __future__ import annotations

FAST, SLOW = 2.0 / 401, 2.0 / 4001
WARM = 4000
"""Events of a symbol before the first order."""
SHARES = 100


class Crossing:
    """The means of one symbol."""

    __slots__ = ("fast", "seen", "sign", "slow")

    def __init__(self) -> None:
        self.fast = self.slow = 0.0
        self.seen = 0
        self.sign = 0

    def add(self, price: float) -> int:
        """Take a price; return +1 or -1 where the position has to become long or short, else 0."""
        if not self.seen:
            self.fast = self.slow = price
        self.seen += 1
        self.fast += (price - self.fast) * FAST
        self.slow += (price - self.slow) * SLOW
        sign = 1 if self.fast > self.slow else -1
        if sign == self.sign or self.seen < WARM:
            return 0
        self.sign = sign
        return sign
