"""Name what the gateway measures."""

from __future__ import annotations

from collections.abc import Sequence

from shared.messages.control import LinkState
from shared.messages.orders import OrderState
from shared.metrics import counter, gauge, histogram

LINK_UP = gauge("cq_gateway_link_up", "1 while the session is READY", ["session"])
LINK_STATE = gauge("cq_gateway_link_info", "1 for the state this gateway is in now, else 0", ["state"])
LINK_CHANGES = counter("cq_gateway_link_changes_total", "state changes of the trading link", ["state"])
BROKEN_FARMS = gauge("cq_gateway_broken_farms_entries", "data farms of IB's that are broken now")
CLAIMS = counter("cq_gateway_claims_total", "claims by result", ["result"])
ORDERS_SENT = counter("cq_gateway_orders_sent_total", "orders written to the broker", ["kind"])
ORDER_EVENTS = counter("cq_gateway_order_events_total", "order events published", ["state"])
FILLS = counter("cq_gateway_fills_total", "executions published, by how they were found", ["how"])
ORDERS_UNKNOWN = gauge("cq_gateway_unknown_orders", "orders in state unknown now")
ORDERS_OPEN = gauge("cq_gateway_open_orders", "orders that are not final now")
REOPENED = counter("cq_gateway_reopened_total", "orders that appeared after they had been declared absent")
DUPLICATES = counter("cq_gateway_duplicates_total", "second orders of the broker under one orderRef")
BROKER_ERRORS = counter("cq_gateway_broker_errors_total", "error messages by kind", ["kind"])
UNREADABLE = counter("cq_gateway_unreadable_total", "broker messages that did not decode")
TICKS = counter("cq_gateway_ticks_total", "ticks published")
TICKS_DROPPED = counter("cq_gateway_ticks_dropped_total", "ticks lost because Redis was slower than the market")
TICKS_REJECTED = counter("cq_gateway_ticks_rejected_total", "ticks that were not valid")
SUBSCRIPTIONS = gauge("cq_gateway_subscriptions_entries", "contracts subscribed now")
CLAIM_SECONDS = histogram("cq_gateway_claim_seconds", "from reading a command to writing its orders to the socket")
ACK_SECONDS = histogram("cq_gateway_ack_seconds", "from writing an order to the broker's first word on it")
BOOKS_UNEXPLAINED = gauge("cq_gateway_unexplained_entries", "contracts whose position our books cannot account for")
QUERIES = counter("cq_gateway_queries_total", "queries answered, by result", ["result"])
TAKEOVER_SECONDS = histogram("cq_gateway_takeover_seconds", "from winning the lease to consuming commands")


def show_state(now: LinkState) -> None:
    """Show the one state that a gateway is in."""
    for state in LinkState:
        LINK_STATE.labels(str(state)).set(state is now)


def show_orders(states: Sequence[OrderState]) -> None:
    """Show how many orders are open, and how many of them in doubt."""
    ORDERS_OPEN.set(len(states))
    ORDERS_UNKNOWN.set(states.count(OrderState.UNKNOWN))
