"""Tell of orders: openOrder, orderStatus and errors to those who may see them, states to the ledger.

Source: ib-facts A.2, A.3, A.8.
"""

from __future__ import annotations

from services.simulator.core.floor import Floor
from services.simulator.core.order_book import OrderBook
from services.simulator.core.orders import BrokerOrder, open_order, order_status


class OrderVoice:
    """What is said of an order."""

    def __init__(self, floor: Floor, book: OrderBook) -> None:
        self._floor = floor
        self._book = book
        self._none_text = floor.config.deltaneutral_none

    def _watchers(self, order: BrokerOrder) -> list[int]:
        floor = self._floor
        return floor.sessions.watchers(order.client_id, floor.config.master_client_id, is_manual=order.is_manual)

    def open(self, order: BrokerOrder) -> None:
        """Send openOrder, and have the order stored."""
        for session in self._watchers(order):
            self._floor.send_broker(session, open_order(order, none_text=self._none_text))
        self.save(order)

    def status(self, order: BrokerOrder) -> None:
        """Send orderStatus."""
        for session in self._watchers(order):
            self._floor.send_broker(session, order_status(order))

    def error(self, order: BrokerOrder, code: int, text: str) -> None:
        """Send an error to the client that placed the order."""
        for session in self._watchers(order)[:1]:
            self._floor.error(session, order.order_id, code, text)

    def log(self, order: BrokerOrder, state: str = "", **more: object) -> None:
        """Write an order's state, or what happened to it, to the ledger."""
        self._floor.log(
            "order_state", state=state or order.status, perm_id=order.perm_id, client_id=order.client_id,
            order_id=order.order_id, order_ref=order.order.order_ref, filled=order.filled, remaining=order.remaining,
            **more,
        )  # fmt: skip

    def save(self, order: BrokerOrder) -> None:
        """Have the order's new state stored with this turn."""
        self._book.dirty[order.perm_id] = order
