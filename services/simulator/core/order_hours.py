"""Say when an order may trade and when it ends by itself.

Source: ib-facts A.4 (399, 2109), A.8, A.13.
"""

from __future__ import annotations

from services.simulator.core.hours import Hours
from services.simulator.core.orders import BrokerOrder
from services.simulator.core.times import parse_tws_time
from shared.tws.order import TwsOrder

REGULAR_ONLY = frozenset({"MKT", "MOC", "LOC", "MIDPRICE"})
"""Types for which TWS ignores outsideRth (2109)."""
IGNORED_TEXT = (
    "Order Event Warning:Attribute 'Outside Regular Trading Hours' is ignored based on the order type and destination. "
    "PlaceOrder is now being processed."
)


def ignores_outside_rth(order: BrokerOrder) -> bool:
    """Return whether the order's outsideRth flag has no effect."""
    return order.order.outside_rth and (order.order.order_type in REGULAR_ONLY or order.order.tif == "OPG")


class OrderHours:
    """The clock of orders."""

    def __init__(self, hours: Hours, zone: str) -> None:
        self._hours = hours
        self._zone = zone

    def _is_extended(self, order: BrokerOrder) -> bool:
        return order.order.outside_rth and not ignores_outside_rth(order)

    def may_trade(self, order: BrokerOrder, now_ns: int) -> bool:
        """Return whether the market is open for this order."""
        if not self._hours.calendars:
            return True
        return self._hours.is_open(order.instrument, now_ns, extended=self._is_extended(order))

    def begins_ns(self, order: BrokerOrder, now_ns: int) -> int:
        """Return when the order can be placed at the exchange; `now_ns` if it can be now.

        Orders for the opening auction go there before it, whenever they come.
        """
        if order.order.tif == "OPG":
            return max(now_ns, order.starts_ns)
        opens_ns = self._hours.next_open_ns(order.instrument, now_ns, extended=self._is_extended(order))
        return max(opens_ns, order.starts_ns)

    def set_times(self, order: BrokerOrder, now_ns: int) -> None:
        """Set when an order begins and ends, from its time in force."""
        own = order.order
        order.starts_ns = parse_tws_time(own.good_after_time, self._zone) or 0
        order.expires_ns = self._expiry_ns(order, own, max(now_ns, order.starts_ns))

    def _expiry_ns(self, order: BrokerOrder, own: TwsOrder, from_ns: int) -> int:
        tif = own.tif or "DAY"
        if tif == "GTD":
            return parse_tws_time(own.good_till_date, self._zone) or 0
        if tif in ("DAY", "IOC", "FOK"):
            return self._hours.close_ns(order.instrument, from_ns, extended=self._is_extended(order))
        return 0
