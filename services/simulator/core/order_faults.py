"""Commands that touch orders: lost on the way, doubled, placed or filled by hand, cancelled by the broker.

Source: ib-facts A.5, A.7, A.10, D.4.
"""

from __future__ import annotations

from collections.abc import Callable

from services.simulator.core.market import NS_PER_S
from services.simulator.core.matching import REMOVED, Fill, price_of
from services.simulator.core.message_faults import amount
from services.simulator.core.order_desk import OrderDesk
from services.simulator.core.orders import BrokerOrder
from shared.tws.order import TwsOrder


class OrderFaults:
    """What can happen to orders beside what their owner asked for."""

    def __init__(self, orders: OrderDesk) -> None:
        self._floor = orders.floor
        self._orders = orders

    def acts(self) -> list[Callable[..., None]]:
        """Return the commands."""
        return [
            self.lose_orders, self.double_perm_id, self.rollback_order_ids, self.manual_order, self.manual_fill,
            self.cancel_order, self.reject_order,
        ]  # fmt: skip

    def lose_orders(self, *, count: int = 1) -> None:
        """Let the next new orders vanish on their way: TWS never answers, and the broker never gets them."""
        self._floor.faults.lose_orders = max(0, count)

    def double_perm_id(self, *, count: int = 1) -> None:
        """Let the next modifies that come during an outage make a second live order with a permId of its own."""
        self._floor.faults.double_changes = max(0, count)

    def rollback_order_ids(self, *, client_id: int, by: int = 5) -> None:
        """Let nextValidId of a client go back, as seen after restarts."""
        sessions = self._floor.sessions
        sessions.next_order_ids[client_id] = max(1, sessions.next_order_id(client_id) - by)

    def lose_in_flight(self, lose_s: float) -> None:
        """Forget the unfilled orders received within the last seconds, and give their ids out again."""
        since_ns = self._floor.now_ns - int(lose_s * NS_PER_S)
        for order in list(self._orders.book.open_orders()):
            if order.received_ns >= since_ns and not order.filled:
                self._orders.life.lose(order)
                sessions = self._floor.sessions
                next_id = sessions.next_order_id(order.client_id)
                sessions.next_order_ids[order.client_id] = min(next_id, order.order_id)

    def manual_order(
        self,
        *,
        symbol: str,
        action: str = "BUY",
        quantity: str = "100",
        order_type: str = "MKT",
        limit: str | None = None,
        stop: str | None = None,
        tif: str = "DAY",
        account: str = "",
    ) -> None:
        """Enter an order by hand in TWS, as a person would; no API client owns it."""
        order = TwsOrder(
            action=action,
            total_quantity=amount(quantity),
            order_type=order_type,
            lmt_price=None if limit is None else amount(limit),
            aux_price=None if stop is None else amount(stop),
            tif=tif,
            account=account or self._floor.config.accounts[0],
        )
        self._orders.place_by_hand(self._floor.universe.named(symbol), order)

    def manual_fill(self, *, perm_id: int, quantity: str = "", price: str = "") -> None:
        """Fill a working order by hand, in whole or in part, at a price or at the market."""
        order = self._working(perm_id)
        wanted = amount(quantity) if quantity else order.remaining
        at = amount(price) if price else price_of(self._floor.mark(order.instrument))
        if not 0 < wanted <= order.remaining or at <= 0:
            raise ValueError(f"the order has {order.remaining} left; quantity and price must be positive")
        order.waits_for_parent = order.is_held = False
        self._orders.life.fill(order, Fill(wanted, at, REMOVED))

    def cancel_order(self, *, perm_id: int, reason: str = "Cancelled by the broker.") -> None:
        """Cancel a working order at the broker, without anybody's request (202)."""
        self._orders.life.cancel_by_broker(self._working(perm_id), reason)

    def reject_order(self, *, perm_id: int, reason: str = "The exchange rejected the order.") -> None:
        """Let the exchange reject a working order: error 201, and it is Inactive."""
        self._orders.life.reject(self._working(perm_id), 201, f"Order rejected - reason:{reason}")

    def _working(self, perm_id: int) -> BrokerOrder:
        order = self._orders.book.by_perm.get(perm_id)
        if order is None or order.is_done:
            raise ValueError(f"no order with permId {perm_id} works")
        return order
