"""Decide what an order trades when it arrives, when the quote changes, and when others trade.

Invariants:
1. No fill is worse than the limit and the discretion beyond it, slippage included; a resting order fills at its limit,
   or at the price within its discretion that it takes.
2. Fills never exceed what is left of the order, nor what the market shows: size taken at a price is gone until the
   next quote, and a trade's size is shared in time order.
3. A stop does nothing before it is triggered; a fill-or-kill order fills in whole or not at all;
   an order with a minimum quantity has no first fills of less than that together.

The model: a marketable order takes the displayed size, then up to `DEPTH_LEVELS` further levels, one tick apart and
as deep as the top; what is left waits for the next quote. A resting order stands behind the size displayed at its
price when it came, and moves up as others trade there. `Model` says how kind the market is to our orders.
Pegged orders (REL, MIDPRICE) follow the quote and lose their place in the queue with each move.

Known limit: orders of this exchange's own clients do not meet each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from services.simulator.core.book import Book

DEPTH_LEVELS = 3
ADDED, REMOVED = 1, 2
TRIGGERED_TYPES = frozenset({"STP", "STP LMT", "MIT", "LIT", "TRAIL", "TRAIL LIMIT"})
LIMIT_TYPES = frozenset({"LMT", "STP LMT", "LIT", "LOC", "TRAIL LIMIT"})
PEGGED_TYPES = frozenset({"REL", "MIDPRICE"})
AUCTION_TYPES = frozenset({"MOC", "LOC"})


@dataclass(frozen=True, slots=True)
class Model:
    """How the market treats our orders.

    `participation` is the share of displayed and traded size that one order may have; `slippage_ticks` is added to the
    price of everything that removes liquidity, and `slippage`, a fraction of that price, which may lie between ticks;
    `depth_levels` is how many levels there are behind the top.
    """

    participation: float = 1.0
    slippage_ticks: int = 0
    depth_levels: int = DEPTH_LEVELS
    slippage: Decimal = Decimal(0)


KIND = Model()


@dataclass(frozen=True, slots=True)
class Fill:
    """A part of an order traded; `liquidity` is 1 for added, 2 for removed."""

    quantity: Decimal
    price: Decimal
    liquidity: int


@dataclass(slots=True)
class Working:
    """An order as the matching sees it.

    `side` is 1 for buy and -1 for sell. `queue_ahead` is the size that stands before it at its price.
    `trail` is the distance that a trailing stop keeps.
    """

    side: int
    order_type: str
    tif: str
    remaining: Decimal
    limit: Decimal | None = None
    stop: Decimal | None = None
    trail: Decimal | None = None
    trail_percent: Decimal | None = None
    limit_offset: Decimal | None = None
    is_triggered: bool = False
    is_resting: bool = False
    queue_ahead: float = 0.0
    all_or_none: bool = False
    minimum: Decimal = Decimal(0)
    """What the first fill must be at least; 0 once there was one."""
    discretion: Decimal = Decimal(0)
    """How far beyond its limit a limit order takes what is shown, without showing that it would."""
    peg: Decimal | None = None
    """Where a pegged order stands now; None until there was a quote."""

    @property
    def waits_for_auction(self) -> bool:
        """Return whether the order trades in the opening (OPG) or closing auction (MOC, LOC) only."""
        return self.order_type in AUCTION_TYPES or self.tif == "OPG"

    @property
    def is_pegged(self) -> bool:
        """Return whether the order follows the quote."""
        return self.order_type in PEGGED_TYPES

    @property
    def waits_for_trigger(self) -> bool:
        """Return whether the order is held until its stop is reached."""
        return self.order_type in TRIGGERED_TYPES and not self.is_triggered

    @property
    def effective_limit(self) -> Decimal | None:
        """Return the limit that applies now, None for a market order."""
        if self.order_type in PEGGED_TYPES:
            return self.peg
        return self.limit if self.order_type in LIMIT_TYPES else None

    @property
    def reach(self) -> Decimal | None:
        """Return the worst price that the order takes, None for a market order."""
        limit = self.effective_limit
        return limit if limit is None else limit + self.discretion * self.side

    @property
    def least(self) -> Decimal:
        """Return what has to trade at once for the order to trade at all."""
        if self.tif == "FOK" or self.all_or_none:
            return self.remaining
        return min(self.minimum, self.remaining)


def price_of(value: float) -> Decimal:
    """Return a market price as an exact Decimal."""
    return Decimal(repr(round(value, 6)))


def check_trigger(order: Working, book: Book, *, on_quotes: bool) -> bool:
    """Return whether a held order is triggered by the book as it is now, and mark it.

    Stocks are triggered by the last price, currency pairs by the quote (IB's default trigger methods).
    """
    if not order.waits_for_trigger:
        return False
    seen = (book.ask if order.side > 0 else book.bid) if on_quotes else book.last
    if seen <= 0:
        return False
    _follow(order, price_of(seen))
    if order.stop is None:
        return False
    price = price_of(seen)
    rises = order.side > 0 if order.order_type not in ("MIT", "LIT") else order.side < 0
    if (price >= order.stop) if rises else (price <= order.stop):
        order.is_triggered = True
        if order.order_type == "TRAIL LIMIT" and order.limit_offset is not None:
            order.limit = order.stop + order.limit_offset * order.side
    return order.is_triggered


def _follow(order: Working, price: Decimal) -> None:
    """Move a trailing stop after the price, never back."""
    if order.order_type not in ("TRAIL", "TRAIL LIMIT"):
        return
    distance = order.trail if order.trail is not None else price * (order.trail_percent or Decimal(0)) / 100
    level = price + distance * order.side
    better = order.stop is None or (level < order.stop if order.side > 0 else level > order.stop)
    if better:
        order.stop = level


def reprice(order: Working, book: Book, tick: Decimal) -> bool:
    """Let a pegged order follow the quote; True if it moved.

    A relative order stands at its own side's best price plus its offset towards the other side, a midprice order in
    the middle; both never beyond their limit.
    """
    if not order.is_pegged or not book.has_quote:
        return False
    if order.order_type == "REL":
        own = price_of(book.bid if order.side > 0 else book.ask)
        level = own + (order.stop or Decimal(0)) * order.side
        level = (level / tick).to_integral_value() * tick
    else:
        level = (price_of(book.bid) + price_of(book.ask)) / 2
    if order.limit is not None and order.limit > 0:
        level = min(level, order.limit) if order.side > 0 else max(level, order.limit)
    moved, order.peg = level != order.peg, level
    return moved


def take(order: Working, book: Book, tick: Decimal, model: Model = KIND) -> list[Fill]:
    """Let an active order trade against the displayed book; what it takes is gone from the book."""
    if order.waits_for_trigger or order.remaining <= 0 or book.is_halted:
        return []
    limit, reach = order.effective_limit, order.reach
    if order.is_pegged and limit is None:
        return []
    levels = _levels(order, book, tick, reach, model)
    if order.least > 0 and sum((size for _, size, _ in levels), Decimal(0)) < order.least:
        return []
    fills: list[Fill] = []
    for price, size, is_top in levels:
        quantity = min(order.remaining, size)
        if quantity <= 0:
            break
        if order.is_resting and limit is not None and (price - limit) * order.side <= 0:
            fills.append(Fill(quantity, limit, ADDED))
        else:
            fills.append(Fill(quantity, _slipped(order, price, tick, reach, model), REMOVED))
        order.remaining -= quantity
        order.minimum = Decimal(0)
        if is_top:
            _consume(book, order.side, float(quantity))
        if order.remaining <= 0:
            break
    return fills


def _slipped(order: Working, price: Decimal, tick: Decimal, limit: Decimal | None, model: Model) -> Decimal:
    if not model.slippage_ticks and not model.slippage:
        return price
    worse = price + tick * model.slippage_ticks * order.side
    if model.slippage:
        worse += round(abs(worse) * model.slippage, 6) * order.side
    if price > 0:
        worse = max(tick, worse)
    if limit is None:
        return worse
    return min(worse, limit) if order.side > 0 else max(worse, limit)


def _levels(
    order: Working, book: Book, tick: Decimal, limit: Decimal | None, model: Model
) -> list[tuple[Decimal, Decimal, bool]]:
    if order.side > 0:
        touch, left, shown = book.ask, book.ask_left, book.ask_size
    else:
        touch, left, shown = book.bid, book.bid_left, book.bid_size
    if touch <= 0 and not (book.is_signed and book.has_quote):
        return []
    top = price_of(touch)
    levels: list[tuple[Decimal, Decimal, bool]] = []
    depth = 1 if order.is_resting else 1 + model.depth_levels
    kept_back = shown * (1.0 - model.participation)
    for number in range(depth):
        price = top + tick * number * order.side
        if (price <= 0 and not book.is_signed) or (
            limit is not None and (price > limit if order.side > 0 else price < limit)
        ):
            break
        if book.is_beyond_limits(float(price)):
            break
        available = left if number == 0 else shown
        size = _part(available, max(0.0, available - kept_back))
        if size > 0:
            levels.append((price, size, number == 0))
    return levels


def _part(size: float, part: float) -> Decimal:
    """Return a part of a size, in whole units where the size is one unit or more."""
    return Decimal(int(part)) if size >= 1 else price_of(part)


def _consume(book: Book, side: int, quantity: float) -> None:
    if side > 0:
        book.ask_left = max(0.0, book.ask_left - quantity)
    else:
        book.bid_left = max(0.0, book.bid_left - quantity)


def rest(order: Working, book: Book) -> None:
    """Put what is left of a limit order into the queue at its price.

    What is left of an order that reaches beyond the other side does not rest: it goes on taking what comes.
    """
    limit = order.effective_limit
    order.is_resting = limit is not None
    if limit is None:
        return
    best, size, other = (book.bid, book.bid_size, book.ask) if order.side > 0 else (book.ask, book.ask_size, book.bid)
    if (other > 0 or book.is_signed) and (limit >= price_of(other) if order.side > 0 else limit <= price_of(other)):
        order.is_resting = False
        return
    if best <= 0 and not book.is_signed:
        return
    is_inside = limit > price_of(best) if order.side > 0 else limit < price_of(best)
    order.queue_ahead = 0.0 if is_inside else size


def on_trade(order: Working, price: float, size_left: float, model: Model = KIND) -> tuple[Fill | None, float]:
    """Let a resting order take part in a trade of others; return its fill and what is left of the trade's size."""
    limit = order.effective_limit
    if not order.is_resting or limit is None or order.remaining <= 0 or size_left <= 0:
        return None, size_left
    traded = price_of(price)
    if traded == limit:
        passed = min(order.queue_ahead, size_left)
        order.queue_ahead -= passed
        size_left -= passed
    elif traded > limit if order.side > 0 else traded < limit:
        return None, size_left
    quantity = min(order.remaining, _part(size_left, size_left * model.participation))
    if quantity <= 0 or quantity < order.least:
        return None, size_left
    order.remaining -= quantity
    order.minimum = Decimal(0)
    return Fill(quantity, limit, ADDED), size_left - float(quantity)
