"""Give orders that were entered by hand an API order id, so that client 0 may change and cancel them.

Invariants:
1. Bound ids are negative and never used twice, over restarts too; the permId stays.
2. Nothing is bound in read-only mode.

Known limit: TWS cancels and resubmits a bound order at the exchange, which may cost its place in the queue; here it
keeps it.

Source: ib-facts A.2.
"""

from __future__ import annotations

from services.simulator.core.floor import Floor
from services.simulator.core.order_book import OrderBook
from services.simulator.core.orders import BrokerOrder
from shared.tws.responses import OrderBound

CLIENT = 0
"""The only client that binds."""


def bind(floor: Floor, book: OrderBook, order: BrokerOrder) -> None:
    """Bind an order to client 0 and tell it, unless it is bound, is no manual one, or the API may only read."""
    if floor.config.read_only or not order.is_manual or order.order_id:
        return
    book.bind(order)
    floor.log("order_bound", perm_id=order.perm_id, order_id=order.order_id)
    session = floor.sessions.by_client.get(CLIENT)
    if session is not None:
        floor.send_broker(session, OrderBound(order.perm_id, CLIENT, order.order_id))


def binds_future_orders(floor: Floor) -> bool:
    """Return whether client 0 is there and has asked for orders entered by hand from now on."""
    session = floor.sessions.by_session.get(floor.sessions.by_client.get(CLIENT, -1))
    return session is not None and session.auto_bind
