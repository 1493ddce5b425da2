"""What TWS answers to questions, and one API connection as TWS sees it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from services.gateway.core.evidence import (
    BrokerError,
    BrokerExecution,
    BrokerOrder,
    BrokerOrderStatus,
    BrokerPosition,
)
from services.gateway.shell.ib_sent import utc_text
from shared.errors import DecodeError
from shared.tws import requests as q
from tests.simulation.broker_records import VERSION, SimExecution, SimOrder, seen_request
from tests.simulation.wire import End


class BrokerSide:
    """One API connection, as TWS sees it."""

    def __init__(self, broker: Any, end: End) -> None:
        self.broker = broker
        self.end = end
        self.client_id: int | None = None
        self._is_greeted = False
        end.on_item = self.take
        end.on_closed = self.closed

    def tell(self, *item: Any) -> None:
        """Send one message."""
        self.end.send(item)

    def take(self, payload: bytes) -> None:
        """Read one frame."""
        if not self._is_greeted:
            self._is_greeted = True
            self.tell("version", VERSION)
            return
        try:
            request = seen_request(payload, VERSION)
        except DecodeError as e:
            self.broker.undecodable.append(str(e))
            return
        if self.client_id is None:
            self._start(request)
        else:
            self.broker.request(self, self.client_id, request)

    def _start(self, request: Any) -> None:
        if not isinstance(request, q.StartApi):
            return
        if not self.broker.admit(self, request.client_id):
            self.tell("error", BrokerError(-1, 326, "client id already in use"))
            self.end.close()
            return
        self.client_id = request.client_id
        self.tell("accounts", self.broker.accounts)
        self.tell("next_id", self.broker.next_id(request.client_id))
        if self.broker.is_cut_off:
            self.tell("error", BrokerError(-1, 1100, "connectivity between IB and TWS has been lost"))

    def closed(self) -> None:
        """Note that the connection was read to its end."""
        if self.client_id is not None:
            self.broker.left(self, self.client_id)


class Answers:
    """Tells a session what there is."""

    account: str
    day: int
    orders: list[SimOrder]
    executions: list[SimExecution]
    positions: dict[int, Decimal]
    sessions: dict[int, BrokerSide]

    def __init__(self) -> None:
        self.foreign_executions: list[SimExecution] = []
        """Of a second account of the login: told to whoever asks, and no business of ours."""

    def tell_of_another(self, row: BrokerExecution) -> None:
        """Let the login's other account trade: every session hears of it."""
        self.foreign_executions.append(SimExecution(row, self.day))
        position = BrokerPosition(row.account, row.con_id, row.shares * row.side.sign, row.price, "", "USD")
        for side in list(self.sessions.values()):
            side.tell("execution", -1, row)
            side.tell("position", position)

    def _list_open(self, side: BrokerSide, client_id: int | None) -> None:
        for order in self.orders:
            if order.is_active and order.is_transmitted and not order.is_held and client_id in (None, order.client_id):
                side.tell("order", self._shown(order))
                side.tell("status", self._status(order))
        side.tell("open_end")

    def _list_completed(self, side: BrokerSide, _client_id: int, _request: Any) -> None:
        for order in self.orders:
            if order.ended_ns and order.perm_id and order.ended_day == self.day:
                side.tell("completed", self._shown(order, is_completed=True))
        side.tell("completed_end")

    def _list_executions(self, side: BrokerSide, client_id: int, request: q.ReqExecutions) -> None:
        for execution in (*self.executions, *self.foreign_executions):
            is_wanted = utc_text(execution.row.ts_ns) >= request.time  # both in one form, which sorts as time does
            if execution.day == self.day and execution.row.client_id == client_id and is_wanted:
                side.tell("execution", request.req_id, execution.row)
        side.tell("executions_end", request.req_id)

    def _list_positions(self, side: BrokerSide, _client_id: int, _request: Any) -> None:
        for con_id in self.positions:
            side.tell("position", self._position(con_id))
        for each in (execution.row for execution in self.foreign_executions):
            shares = each.shares * each.side.sign
            side.tell("position", BrokerPosition(each.account, each.con_id, shares, each.price, "", "USD"))
        side.tell("positions_end")

    def _position(self, con_id: int) -> BrokerPosition:
        return BrokerPosition(self.account, con_id, self.positions[con_id], Decimal(100), f"C{con_id}", "USD")

    def _account(self, side: BrokerSide, _client_id: int, request: q.ReqAccountUpdates) -> None:
        if not request.subscribe:
            return
        for tag in ("NetLiquidation", "TotalCashValue", "BuyingPower", "ExcessLiquidity"):
            side.tell("account_value", self.account, tag, "1000000", "USD")
        side.tell("account_end")

    def _shown(self, order: SimOrder, *, is_completed: bool = False) -> BrokerOrder:
        return BrokerOrder(
            perm_id=order.perm_id, con_id=order.con_id, side=order.side, quantity=order.quantity,
            order_type=order.terms.order_type, order_ref=order.ref, account=self.account, limit_price=order.limit,
            stop_price=order.stop, tif=order.terms.tif, order_id=0 if is_completed else order.order_id,
            client_id=0 if is_completed else order.client_id, parent_id=order.terms.parent_id, status=order.status,
            filled=order.filled if is_completed else None, is_completed=is_completed,
        )  # fmt: skip

    def _status(self, order: SimOrder) -> BrokerOrderStatus:
        return BrokerOrderStatus(
            order.order_id, order.client_id, order.perm_id, order.status, order.filled, order.remaining,
            order.paid / order.filled if order.filled else None,
        )  # fmt: skip
