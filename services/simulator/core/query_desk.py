"""Answer questions about orders and executions: who may see what, with every end marker.

Source: ib-facts A.3.
"""

from __future__ import annotations

from services.simulator.core.binding import bind
from services.simulator.core.executions import Executions
from services.simulator.core.floor import Floor
from services.simulator.core.order_book import OrderBook
from services.simulator.core.order_desk import READ_ONLY
from services.simulator.core.orders import BrokerOrder, completed_order, open_order, order_status
from services.simulator.core.sessions import Session
from services.simulator.core.times import midnight_ns
from shared.tws.requests import ReqAutoOpenOrders, ReqCompletedOrders, ReqExecutions
from shared.tws.responses import CompletedOrdersEnd, ExecDetailsEnd, OpenOrderEnd


class QueryDesk:
    """The read side of orders and executions."""

    def __init__(self, floor: Floor, book: OrderBook, executions: Executions) -> None:
        self._floor = floor
        self._book = book
        self._executions = executions

    def open_orders(self, session: Session) -> None:
        """Answer reqOpenOrders: the client's own working orders; client 0 sees manual ones too, and binds them."""
        client_id = session.client_id
        own = [o for o in self._book.open_orders() if o.client_id == client_id or (client_id == 0 and o.is_manual)]
        if client_id == 0:
            for order in own:
                bind(self._floor, self._book, order)
        self._send_open(session, own)

    def all_open_orders(self, session: Session) -> None:
        """Answer reqAllOpenOrders: every working order of the accounts."""
        self._send_open(session, list(self._book.open_orders()))

    def auto_open_orders(self, session: Session, request: ReqAutoOpenOrders) -> None:
        """Bind future manual orders; only client 0 may."""
        if session.client_id != 0:
            self._floor.error(
                session.session, -1, 327, "Only the default client (i.e 0) can auto bind orders to its client ID."
            )
            return
        if request.auto_bind and self._floor.config.read_only:
            self._floor.error(session.session, -1, 321, READ_ONLY)
            return
        session.auto_bind = request.auto_bind

    def completed_orders(self, session: Session, request: ReqCompletedOrders) -> None:
        """Answer reqCompletedOrders: today's orders that can not change any more."""
        floor, config = self._floor, self._floor.config
        client_id = session.client_id or 0
        since_ns = midnight_ns(floor.now_ns, config.time_zone)
        sees_all = (
            config.completed_orders_for_all
            or client_id == 0
            or floor.sessions.sees_all(client_id, config.master_client_id)
        )
        for order in self._book.by_perm.values():
            is_visible = sees_all or order.client_id == client_id
            if (
                order.is_done
                and order.done_ns >= since_ns
                and is_visible
                and not (request.api_only and order.is_manual)
            ):
                message = completed_order(order, config.time_zone, none_text=config.deltaneutral_none)
                floor.send(session.session, message)
        floor.send(session.session, CompletedOrdersEnd())

    def executions(self, session: Session, request: ReqExecutions) -> None:
        """Answer reqExecutions; each execution is followed by its commission."""
        floor, config = self._floor, self._floor.config
        client_id = session.client_id or 0
        sees_all = floor.sessions.sees_all(client_id, config.master_client_id)
        try:
            found = self._executions.find(
                request, client_id, floor.now_ns, config.time_zone, sees_all=sees_all, days=config.execution_days
            )
        except ValueError as e:
            floor.error(session.session, request.req_id, 321, f"Error validating request.-'c0' : cause - {e}")
            return
        for each in found:
            details = each.details(request.req_id, config.time_zone, zone_name=config.execution_zone_name)
            floor.send(session.session, details)
        for each in found:
            if each.has_report:
                floor.send(session.session, each.report())
        floor.send(session.session, ExecDetailsEnd(request.req_id))

    def _send_open(self, session: Session, orders: list[BrokerOrder]) -> None:
        none_text = self._floor.config.deltaneutral_none
        for order in orders:
            if order.is_active:
                self._floor.send(session.session, open_order(order, none_text=none_text))
                self._floor.send(session.session, order_status(order))
        self._floor.send(session.session, OpenOrderEnd())
