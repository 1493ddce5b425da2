"""Model TWS and IB behind it, as far as orders go: who sees what, which ids are taken, what is held or doubled.

What the facts of the API say (docs/explanation, ib-facts A): an order belongs to the client id that placed it; a client
id is taken until its connection was read to its end, and sometimes stuck for longer (326); order ids only rise until
a restart rolls them back; while IB cannot be reached (1100) TWS keeps orders, shows them to nobody and submits them
later; a modify meanwhile may leave two live orders under one orderRef; executions are shown since midnight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from services.gateway.core.evidence import BrokerCommission, BrokerError, BrokerExecution
from shared.messages.orders import Side
from shared.tws import requests as q
from shared.tws.order import TwsOrder
from tests.simulation.broker_answers import Answers, BrokerSide
from tests.simulation.broker_records import ZERO, BrokerFaults, Sent, SimExecution, SimOrder
from tests.simulation.kernel import World
from tests.simulation.wire import End


class Broker(Answers):
    """TWS and IB."""

    def __init__(self, world: World, account: str, faults: BrokerFaults) -> None:
        super().__init__()
        self.world = world
        self.account = account
        self.accounts: tuple[str, ...] = (account,)
        self.faults = faults
        self.is_up = True
        self.is_cut_off = False
        self.is_quiet = False
        """Nothing fills any more: the run is about to be judged."""
        self.is_silent_until = 0
        self._unread: deque[tuple[BrokerSide, int, Any]] = deque()
        self.day = 0
        self.orders: list[SimOrder] = []
        self.executions: list[SimExecution] = []
        self.sent: list[Sent] = []
        self.undecodable: list[str] = []
        self.positions: dict[int, Decimal] = {}
        self.sessions: dict[int, BrokerSide] = {}
        self.stuck: dict[int, int] = {}
        self._connections: list[BrokerSide] = []
        self._used: dict[int, int] = {}
        self._by_id: dict[tuple[int, int], SimOrder] = {}
        self._perm = 700_000
        self._exec = 0
        self._unseen_fills: list[SimOrder] = []
        self.acts: dict[type, Callable[[BrokerSide, int, Any], None]] = {
            q.PlaceOrder: self._place,
            q.CancelOrder: lambda side, client_id, request: self._cancel_request(side, client_id, request.order_id),
            q.ReqGlobalCancel: self._global_cancel,
            q.ReqOpenOrders: lambda side, client_id, _: self._list_open(side, client_id),
            q.ReqAllOpenOrders: lambda side, _id, _: self._list_open(side, None),
            q.ReqCompletedOrders: self._list_completed,
            q.ReqExecutions: self._list_executions,
            q.ReqPositions: self._list_positions,
            q.ReqAccountUpdates: self._account,
            q.ReqCurrentTime: lambda side, _id, _: side.tell("time"),
        }
        self.on_change: list[Callable[[], None]] = []
        self.on_sent: Callable[[Sent], None] = lambda _sent: None

    # -- connections

    def connect(self, end: End) -> None:
        """Take a new connection."""
        self._connections.append(BrokerSide(self, end))

    def admit(self, side: BrokerSide, client_id: int) -> bool:
        """Return whether a client id is free, and take it."""
        if client_id in self.sessions or self.stuck.get(client_id, 0) > self.world.now:
            return False
        self.sessions[client_id] = side
        return True

    def left(self, side: BrokerSide, client_id: int) -> None:
        """Free a client id."""
        if self.sessions.get(client_id) is side:
            del self.sessions[client_id]

    def next_id(self, client_id: int) -> int:
        """Return nextValidId."""
        return self._used.get(client_id, 0) + 1

    def _tell(self, client_id: int, *item: Any) -> None:
        side = self.sessions.get(client_id)
        if side is not None:
            side.tell(*item)

    def _tell_all(self, code: int, text: str) -> None:
        for side in list(self.sessions.values()):
            side.tell("error", BrokerError(-1, code, text))

    # -- faults

    def cut_off(self, duration_ns: int, *, data_lost: bool) -> None:
        """Lose IB's servers for a while (1100, then 1101 or 1102)."""
        if self.is_cut_off:
            return
        self.is_cut_off = True
        self._tell_all(1100, "connectivity between IB and TWS has been lost")

        def restore() -> None:
            if not self.is_cut_off:
                return
            self.is_cut_off = False
            self._catch_up()
            self._tell_all(1101 if data_lost else 1102, "connectivity between IB and TWS has been restored")

        self.world.after(duration_ns, restore)

    def _catch_up(self) -> None:
        """Do what waited for IB: fills nobody is told of, cancels, orders that were kept."""
        waiting, self._unseen_fills = self._unseen_fills, []
        for order in waiting:
            if order.is_active and (whole := min(order.remaining, self._openable(order))) > 0:
                self._execute(order, whole, is_quiet=True)
        for order in self.orders:
            if order.is_held and order.is_transmitted and order.is_active:
                self.world.after(self.world.between(0.0, 0.5), lambda order=order: self._submit(order))  # type: ignore[misc]
            elif order.status == "PendingCancel":
                self.world.after(self.world.between(0.0, 0.5), lambda order=order: self._cancel(order))  # type: ignore[misc]

    def restart(self, down_ns: int, *, roll_back: int) -> None:
        """Restart TWS: every connection drops, order ids may go back, untransmitted and held orders are gone."""
        self.is_up = False
        for side in self._connections:
            side.end.abort()
        self._connections.clear()
        self.sessions.clear()
        if self.is_cut_off:
            self.is_cut_off = False
            self._catch_up()
        gone = [each for each in self.orders if not each.is_transmitted or (each.is_held and not each.perm_id)]
        for each in gone:
            self.orders.remove(each)
        self._used = {client_id: max(0, used - roll_back) for client_id, used in self._used.items()}
        live = {(o.client_id, o.order_id): o for o in self.orders if o.is_active}
        self._by_id = live
        for client_id, order_id in live:
            self._used[client_id] = max(self._used.get(client_id, 0), order_id)

        def begin() -> None:
            self.is_up = True

        self.world.after(down_ns, begin)

    def midnight(self) -> None:
        """Begin a new day: executions and completed orders of the old one are not shown any more."""
        self.day += 1

    # -- requests

    def request(self, side: BrokerSide, client_id: int, request: Any) -> None:
        """Carry one request out, once TWS reads; what it had not read is gone with its restart."""
        self._unread.append((side, client_id, request))
        self.read()

    def read(self) -> None:
        """Carry out what waits, in its order; a silent TWS reads later."""
        while self._unread:
            if self.world.now < self.is_silent_until:
                self.world.at(self.is_silent_until, self.read)
                return
            side, client_id, request = self._unread.popleft()
            act = self.acts.get(type(request))
            if act is not None and side in self._connections:
                act(side, client_id, request)

    def _global_cancel(self, _side: BrokerSide, _client_id: int, _request: Any) -> None:
        for order in [each for each in self.orders if each.is_active]:
            self._cancel(order)

    # -- orders

    def _place(self, side: BrokerSide, client_id: int, request: q.PlaceOrder) -> None:
        known = self._by_id.get((client_id, request.order_id))
        terms = request.order
        note = Sent(
            self.world.now, request.order_id, client_id, terms.order_ref, "new", request.contract.con_id,
            Side(terms.action), terms.total_quantity, terms.lmt_price, terms.what_if, terms.account,
        )  # fmt: skip
        self.sent.append(note)
        if known is not None:
            note.kind = "modify"
            self.on_sent(note)
            self._modify(side, known, request)
        elif request.order_id <= self._used.get(client_id, 0):
            note.kind = "refused"
            side.tell("error", BrokerError(request.order_id, 103, "Duplicate order id"))
        else:
            self._used[client_id] = request.order_id
            order = SimOrder(
                0, client_id, request.order_id, request.contract.con_id, terms, terms.total_quantity,
                terms.lmt_price, terms.aux_price, is_transmitted=terms.transmit, created_ns=self.world.now,
            )  # fmt: skip
            self.orders.append(order)
            self._by_id[client_id, request.order_id] = order
            self.on_sent(note)
            if self.is_cut_off:
                order.is_held = True
            if terms.transmit:
                self._transmit(order)

    def _family(self, order: SimOrder) -> list[SimOrder]:
        parent = order.terms.parent_id or order.order_id
        owner = order.client_id
        return [o for o in self.orders if o.client_id == owner and parent in (o.order_id, o.terms.parent_id)]

    def _transmit(self, order: SimOrder) -> None:
        for member in self._family(order):
            member.is_transmitted = True
            if not member.perm_id and not member.is_held:
                self._perm += 1
                member.perm_id = self._perm
                self.world.after(self.world.between(0.001, 0.3), lambda member=member: self._submit(member))  # type: ignore[misc]

    def _submit(self, order: SimOrder) -> None:
        if order not in self.orders or order.status != "PendingSubmit":
            return
        if self.is_cut_off:
            order.is_held = True
            return
        if not order.perm_id:
            self._perm += 1
            order.perm_id = self._perm
        order.is_held = False
        if self.world.chance(self.faults.reject) and not order.terms.parent_id:
            self._end(order, "Inactive")
            self._tell(order.client_id, "error", BrokerError(order.order_id, 201, "Order rejected - reason: margin"))
            for child in self._family(order):
                if child.is_active:
                    self._cancel(child)
            return
        is_resting = bool(order.terms.parent_id) or order.terms.order_type in ("STP", "STP LMT")
        order.status = "PreSubmitted" if is_resting else "Submitted"
        self._show(order)
        if not is_resting:
            self._plan_fill(order)

    def _plan_fill(self, order: SimOrder) -> None:
        if self.world.chance(self.faults.fill):
            self.world.after(self.world.between(0.0, self.faults.slow_fill_s), lambda: self._fill(order))

    def _fill(self, order: SimOrder) -> None:
        if self.is_quiet or not order.is_active or order.is_held or not order.remaining or order not in self.orders:
            return
        if self.is_cut_off:
            self._unseen_fills.append(order)
            return
        whole = min(order.remaining, self._openable(order))
        if whole <= 0:
            self._plan_fill(order)
            return
        part = (
            whole if self.world.chance(0.6) or whole < 2 else Decimal(1 + int(self.world.rng.random() * int(whole - 1)))
        )
        self._execute(order, part)
        if order.remaining:
            self._plan_fill(order)

    def _openable(self, order: SimOrder) -> Decimal:
        """Return how much of an order may fill: a bracket's exits close what its parent opened, and no more."""
        if not order.terms.parent_id:
            return order.remaining
        family = self._family(order)
        opened = sum((each.filled for each in family if not each.terms.parent_id), ZERO)
        return opened - sum((each.filled for each in family if each.terms.parent_id), ZERO)

    def _execute(self, order: SimOrder, shares: Decimal, *, is_quiet: bool = False) -> None:
        self._exec += 1
        order.filled += shares
        price = order.limit if order.limit is not None else Decimal(100)
        order.paid += shares * price
        self.positions[order.con_id] = self.positions.get(order.con_id, ZERO) + shares * order.side.sign
        row = BrokerExecution(
            exec_id=f"0000e1a7.{self._exec:08x}.01.01", account=self.account, con_id=order.con_id, side=order.side,
            shares=shares, price=price, ts_ns=self.world.wall_ns(), perm_id=order.perm_id, client_id=order.client_id,
            order_id=order.order_id, order_ref=order.ref, currency="USD", cumulative_quantity=order.filled,
            average_price=order.paid / order.filled,
        )  # fmt: skip
        self.executions.append(SimExecution(row, self.day))
        if not order.remaining:
            self._end(order, "Filled")
        if not is_quiet:
            self._report(order, row)
        self._after_fill(order)

    def _report(self, order: SimOrder, row: BrokerExecution) -> None:
        """Tell of an execution, in one of the orders that reality has."""
        status_first = self.world.chance(self.faults.status_first)
        if status_first:
            self._tell(order.client_id, "status", self._status(order))
            self.world.after(self.world.between(0.0, 0.4), lambda: self._tell(order.client_id, "execution", -1, row))
        else:
            self._tell(order.client_id, "execution", -1, row)
            if not self.world.chance(self.faults.lost_status):
                self._tell(order.client_id, "order", self._shown(order))
                self._tell(order.client_id, "status", self._status(order))
        commission = BrokerCommission(row.exec_id, Decimal(1), "USD")
        self.world.after(self.world.between(0.0, 0.5), lambda: self._tell(order.client_id, "commission", commission))
        for side in list(self.sessions.values()):
            side.tell("position", self._position(order.con_id))

    def _after_fill(self, order: SimOrder) -> None:
        for member in self._family(order):
            if member is order or not member.is_active:
                continue
            if member.terms.parent_id == order.order_id:
                if member.status == "PreSubmitted" and member.terms.order_type == "LMT":
                    member.status = "Submitted"
                    self._plan_fill(member)
            elif order.terms.parent_id and member.terms.parent_id == order.terms.parent_id and not order.remaining:
                self._cancel(member)  # the bracket's other exit
        if order.terms.oca_group:
            for other in self.orders:
                if other is not order and other.is_active and other.terms.oca_group == order.terms.oca_group:
                    self._cancel(other)

    def _modify(self, side: BrokerSide, order: SimOrder, request: q.PlaceOrder) -> None:
        if not order.is_active:
            side.tell("error", BrokerError(request.order_id, 104, "Cannot modify a filled order"))
            return
        self.world.after(self.world.between(0.001, 0.3), lambda: self._change(order, request))

    def _change(self, order: SimOrder, request: q.PlaceOrder) -> None:
        if not order.is_active:
            self._tell(order.client_id, "error", BrokerError(request.order_id, 104, "Cannot modify a filled order"))
            return
        if self.is_cut_off:
            if self.world.chance(self.faults.duplicate_on_modify) and order.perm_id:
                self._perm += 1
                twin = SimOrder(
                    self._perm, order.client_id, order.order_id, order.con_id, request.order,
                    request.order.total_quantity, request.order.lmt_price, request.order.aux_price, is_held=True,
                    is_double=True, created_ns=self.world.now,
                )  # fmt: skip
                self.orders.append(twin)
            return
        order.quantity = max(request.order.total_quantity, order.filled)
        order.limit, order.stop = request.order.lmt_price, request.order.aux_price
        self._show(order)
        if not order.remaining:
            self._end(order, "Filled")
            self._tell(order.client_id, "status", self._status(order))

    def _cancel_request(self, side: BrokerSide, client_id: int, order_id: int) -> None:
        live = [o for o in self.orders if (o.client_id, o.order_id) == (client_id, order_id) and o.is_active]
        if not live:
            code = 161 if (client_id, order_id) in self._by_id else 10147
            side.tell("error", BrokerError(order_id, code, "cannot be cancelled"))
            return
        order = live[-1]
        order.status = "PendingCancel"
        self.world.after(self.world.between(0.001, 0.5), lambda: self._cancel(order))

    def _cancel(self, order: SimOrder) -> None:
        if not order.is_active:
            return
        if order.is_held:
            self._end(order, "Cancelled")
            return
        if self.is_cut_off:
            order.status = "PendingCancel"
            return
        was_shown = order.is_transmitted and not order.is_held
        self._end(order, "Cancelled")
        if was_shown:
            self._tell(order.client_id, "status", self._status(order))
            self._tell(order.client_id, "error", BrokerError(order.order_id, 202, "Order Canceled - reason:"))
        for child in self._family(order):
            if child.terms.parent_id == order.order_id and child.is_active and not order.filled:
                self._cancel(child)

    def _end(self, order: SimOrder, status: str) -> None:
        order.status = status
        order.ended_ns, order.ended_day = self.world.now, self.day
        for act in self.on_change:
            act()

    def _show(self, order: SimOrder) -> None:
        self._tell(order.client_id, "order", self._shown(order))
        if not self.world.chance(self.faults.lost_status):
            self._tell(order.client_id, "status", self._status(order))

    def by_hand(self, con_id: int, side: Side, quantity: int) -> None:
        """Take an order that a person gives in TWS."""
        self._perm += 1
        terms = TwsOrder(side.value, Decimal(quantity), "LMT", Decimal(100), account=self.account, tif="DAY")
        order = SimOrder(self._perm, 0, 0, con_id, terms, Decimal(quantity), Decimal(100), None)
        order.order_id = -self._perm
        self.orders.append(order)
        self._submit(order)
