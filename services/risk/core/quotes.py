"""Keep the last quote and trade of a contract, and the price that money is counted with.

Floats as they come from ticks; `mark` turns them into Decimal, where they meet orders.
"""

from __future__ import annotations

from decimal import Decimal

from shared.messages.market import DataQuality, TickKind

DELAYED = frozenset((int(DataQuality.DELAYED), int(DataQuality.DELAYED_FROZEN)))
_QUOTE, _TRADE = int(TickKind.QUOTE), int(TickKind.TRADE)
_HIGHEST = 1e12
"""What a price may be; more is no price."""
FROZEN = frozenset((int(DataQuality.FROZEN), int(DataQuality.DELAYED_FROZEN)))


class Quote:
    """The last prices of one contract; 0.0 means "none seen", times are wall ns of the receipt."""

    __slots__ = ("ask", "bid", "is_odd", "known_mark", "last", "quality", "ts_ns")

    def __init__(self) -> None:
        self.bid = 0.0
        self.ask = 0.0
        self.last = 0.0
        self.quality = 0
        self.ts_ns = 0
        self.is_odd = False
        """Delayed, frozen or crossed: what nearly every decision asks first."""
        self.known_mark: Decimal | None = None
        """`mark`, once it was asked for since the last tick."""

    def apply(self, kind: int, quality: int, ts_ns: int, a: float, c: float) -> None:
        """Take one tick record's kind, quality, time and prices (a: bid or trade price, c: ask)."""
        if kind == _QUOTE:
            self.bid = a if 0 < a < _HIGHEST else 0.0  # NaN is not above 0
            self.ask = c if 0 < c < _HIGHEST else 0.0
        elif kind == _TRADE:
            self.last = a if 0 < a < _HIGHEST else 0.0
        else:
            return
        self.known_mark = None
        self.quality = quality
        self.is_odd = quality in DELAYED or quality in FROZEN or 0.0 < self.ask < self.bid
        if ts_ns:  # the newest word counts, also one from a clock that was set back
            self.ts_ns = ts_ns

    @property
    def is_delayed(self) -> bool:
        """Return whether the data are delayed."""
        return self.quality in DELAYED

    @property
    def is_frozen(self) -> bool:
        """Return whether the data are those of a closed market."""
        return self.quality in FROZEN

    @property
    def price(self) -> float:
        """Return the middle of bid and ask, else the last trade, else the one side there is, else 0.0."""
        if self.bid and self.ask:
            return (self.bid + self.ask) / 2
        return self.last or self.bid or self.ask

    @property
    def mark(self) -> Decimal | None:
        """Return `price` as Decimal, None when nothing was seen."""
        if self.known_mark is None:
            price = self.price
            self.known_mark = Decimal(repr(price)) if price else None
        return self.known_mark
