"""Open and close the days of orders: the opening and closing auctions, and the end of what was good for the day.

Invariants:
1. At a close the auction comes first, then the end of DAY orders; at an open only the auction.
2. What an auction does not fill is cancelled: MOC, LOC and OPG orders never live on.

The auction's price is the last price within the quote; our orders are small beside its size.
"""

from __future__ import annotations

from services.simulator.core.floor import Floor
from services.simulator.core.hours import Hours
from services.simulator.core.matching import ADDED, AUCTION_TYPES, Fill, price_of
from services.simulator.core.order_life import OrderLife
from services.simulator.core.orders import BrokerOrder

END_OF_DAY = "End of day."
EXPIRED = "Good till date has passed."


class OrderDays:
    """The exchange's bell."""

    def __init__(self, floor: Floor, hours: Hours, life: OrderLife) -> None:
        self._floor = floor
        self._hours = hours
        self._life = life
        self._armed_ns = 0

    def arm(self) -> None:
        """Ring at the next begin or end of a session; call again when the hours change."""
        floor = self._floor
        due_ns = self._hours.next_boundary_ns(floor.now_ns)
        if due_ns == self._armed_ns:
            return
        self._armed_ns = due_ns
        floor.later(due_ns - floor.now_ns, lambda: self._ring(due_ns))

    def _ring(self, at_ns: int) -> None:
        if self._armed_ns != at_ns:  # armed anew meanwhile
            return
        for order in self._life.book.open_orders():
            if order.is_held or order.is_done:
                continue
            if order.working.order_type in AUCTION_TYPES and self._hours.is_closing(order.instrument, at_ns):
                self._auction(order, "Closing auction: not filled.")
            elif order.order.tif == "OPG" and self._hours.is_opening(order.instrument, at_ns):
                self._auction(order, "Opening auction: not filled.")
        self.expire_due()
        self.arm()

    def expire_due(self) -> None:
        """End every order whose time has passed."""
        now_ns = self._floor.now_ns
        for order in self._life.book.open_orders():
            if order.is_active and 0 < order.expires_ns <= now_ns:
                self._life.cancel_by_broker(order, EXPIRED if order.order.tif == "GTD" else END_OF_DAY)

    def _auction(self, order: BrokerOrder, reason: str) -> None:
        if order.waits_for_parent or not order.is_at_exchange:
            return
        book = self._floor.book(order.instrument.con_id)
        price = price_of(book.mark)
        # An LMT order for the opening auction keeps its limit; MKT and MOC have none.
        limit = order.order.lmt_price if order.working.order_type in ("LMT", "LOC") else None
        side = order.working.side
        is_fair = price > 0 and (limit is None or price * side <= limit * side)
        if is_fair and not book.is_halted and not book.is_beyond_limits(float(price)):
            self._life.fill(order, Fill(order.remaining, price, ADDED))
        else:
            self._life.cancel_by_broker(order, reason)
