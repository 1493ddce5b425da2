"""Keep the top of book of each instrument and its day, as a feed shows them.

Size taken by our own orders stays taken until the next quote, so that one displayed share fills one order only.
"""

from __future__ import annotations

from services.simulator.core.market import Quote, Trade

FIRST_COMBO_ID = 1_000_000_000
"""From this conId on contracts are combinations, whose prices may be zero or below."""


class Book:
    """What is known of one instrument now; prices are 0 while unknown, sizes are what is displayed."""

    __slots__ = (
        "ask", "ask_left", "ask_size", "bid", "bid_left", "bid_size", "close", "con_id", "high", "is_halted",
        "is_signed", "last", "last_ns", "last_size", "limit_high", "limit_low", "low", "open", "trades", "updated_ns",
        "volume", "vwap_sum",
    )  # fmt: skip

    def __init__(self, con_id: int) -> None:
        self.con_id = con_id
        self.is_signed = con_id >= FIRST_COMBO_ID
        self.bid = self.bid_size = self.bid_left = 0.0
        self.ask = self.ask_size = self.ask_left = 0.0
        self.last = self.last_size = 0.0
        self.last_ns = self.updated_ns = 0
        self.open = self.high = self.low = self.close = 0.0
        self.volume = self.vwap_sum = 0.0
        self.trades = 0
        self.is_halted = False
        self.limit_low = self.limit_high = 0.0
        """The day's price limits, 0 where there are none."""

    def on_quote(self, quote: Quote) -> None:
        """Take a quote."""
        self.bid, self.bid_size, self.bid_left = quote.bid, quote.bid_size, quote.bid_size
        self.ask, self.ask_size, self.ask_left = quote.ask, quote.ask_size, quote.ask_size
        self.updated_ns = quote.ts_ns

    def on_trade(self, trade: Trade) -> None:
        """Take a trade."""
        price = trade.price
        self.last, self.last_size, self.last_ns = price, trade.size, trade.ts_ns
        self.updated_ns = trade.ts_ns
        self.volume += trade.size
        self.vwap_sum += trade.size * price
        self.trades += 1
        self.open = self.open or price
        self.high = max(self.high, price)
        self.low = min(self.low, price) if self.low else price

    @property
    def has_quote(self) -> bool:
        """Return whether both sides are known."""
        return (self.bid > 0 and self.ask > 0) or (self.is_signed and self.updated_ns > 0)

    def is_beyond_limits(self, price: float) -> bool:
        """Return whether nothing may trade at this price today."""
        return (self.limit_high > 0 and price > self.limit_high) or 0 < price < self.limit_low

    @property
    def mid(self) -> float:
        """Return the middle of the quote, else the last price, else 0."""
        return (self.bid + self.ask) / 2 if self.has_quote else self.last

    @property
    def mark(self) -> float:
        """Return the price positions are valued at: the last trade kept within the quote."""
        if not self.has_quote:
            return self.last
        return min(max(self.last, self.bid), self.ask) if self.last else self.mid
