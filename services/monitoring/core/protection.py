"""How much of a position the stops at the broker would close: one answer for the page, alerts, `cq` and the checklist.

A stop of which the broker has not said that it works protects nothing; one that adds to a position does not either.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from shared.messages.account import PositionReport
from shared.messages.orders import OrderEvent, OrderState, Side

STOPS = frozenset({"STP", "STP LMT", "TRAIL", "TRAIL LIMIT"})


def protected_quantity(report: PositionReport, orders: Iterable[OrderEvent]) -> Decimal:
    """Return how much of a position working stops would close, at most all of it."""
    closing = Side.SELL if report.position > 0 else Side.BUY
    stops = [
        event.quantity - event.filled
        for event in orders
        if event.con_id == report.con_id
        and event.side is closing
        and event.order_type in STOPS
        and event.state is OrderState.WORKING
    ]
    return min(abs(report.position), sum(stops, Decimal(0)))


def is_protected(report: PositionReport, orders: Iterable[OrderEvent]) -> bool:
    """Return whether working stops would close all of a position."""
    return protected_quantity(report, orders) >= abs(report.position)
