"""Take orders, changes and cancels, and say no as TWS does; what follows is `order_life.py`.

The choreography follows recordings of TWS: openOrder, orderStatus, then for each fill execDetails, openOrder,
orderStatus, openOrder with the commission, commissionReport; for a cancel orderStatus Cancelled and error 202.

Invariants:
1. Everything received and everything that happened is in the ledger before any client is told.
2. A cancel that has not reached the exchange does not stop a fill: fills beat cancels.
3. Orders outlive sessions. An order id of a client is never accepted for a second new order.

Source: ib-facts A.3, A.4, A.7, A.8, A.13.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from services.simulator.core import order_rules
from services.simulator.core.account import Account
from services.simulator.core.binding import bind, binds_future_orders
from services.simulator.core.combos import as_ordered
from services.simulator.core.conditions import check_conditions
from services.simulator.core.contracts import Instrument, Listing, NotFound
from services.simulator.core.executions import Executions
from services.simulator.core.fills import FillBooker
from services.simulator.core.floor import Floor
from services.simulator.core.hours import Hours
from services.simulator.core.matching import Working
from services.simulator.core.order_book import OrderBook
from services.simulator.core.order_life import OrderLife
from services.simulator.core.orders import BrokerOrder, open_order
from services.simulator.core.sessions import Session
from shared.tws.order import OrderState, TwsOrder, revised
from shared.tws.requests import CancelOrder, PlaceOrder

READ_ONLY = "Error validating request.-'bW' : cause - The API interface is currently in Read-Only mode."
NO_FUNDS = (
    "Order rejected - reason:We are unable to accept your order. Your Available Funds are insufficient to place this "
    "order: available {available} USD, initial margin of the order {needed} USD."
)
ZERO = Decimal(0)
MAX_ORDER_ID = 2**31 - 1


class OrderDesk:
    """The order side of the exchange."""

    def __init__(
        self, floor: Floor, accounts: dict[str, Account], executions: Executions, hours: Hours | None = None
    ) -> None:
        self.floor = self._floor = floor
        self._accounts = accounts
        self.book = OrderBook()
        self.fills = FillBooker(floor, accounts, executions, self.book)
        self.life = OrderLife(floor, self.book, self.fills, hours or Hours())
        self._none_text = floor.config.deltaneutral_none

    # -------------------------------------------------------------------------------------------- requests
    def place(self, session: Session, request: PlaceOrder) -> None:
        """Take a new order, a change, or a what-if."""
        floor = self._floor
        client_id = session.client_id or 0
        known = self.book.of_client(client_id, request.order_id)
        kind = "modify_received" if known is not None else "order_received"
        if request.order.what_if:
            kind = "what_if_received"
        floor.log(
            kind, session=session.session, client_id=client_id, order_id=request.order_id,
            order_ref=request.order.order_ref, symbol=request.contract.symbol or f"#{request.contract.con_id}",
            con_id=request.contract.con_id, action=request.order.action, quantity=request.order.total_quantity,
            order_type=request.order.order_type, limit=request.order.lmt_price, stop=request.order.aux_price,
            tif=request.order.tif, parent_id=request.order.parent_id, account=request.order.account,
        )  # fmt: skip
        if known is None and not request.order.what_if and floor.faults.lose_orders > 0:
            floor.faults.lose_orders -= 1
            floor.log("order_lost", client_id=client_id, order_id=request.order_id, order_ref=request.order.order_ref)
        elif floor.config.read_only:
            self._refuse(session, request, 321, READ_ONLY)
        elif known is None and not 0 <= request.order_id <= MAX_ORDER_ID:
            self._refuse(session, request, 320, f"Error reading request. For input string: {request.order_id}")
        elif floor.faults.is_link_lost and not floor.faults.keeps_orders:
            self._refuse(session, request, 10328, "Connection lost, order data could not be resolved.")
        elif known is not None:
            self._modify(session, known, request)
        elif not request.order.what_if and request.order_id < floor.sessions.next_order_id(client_id):
            self._refuse(session, request, 103, "Duplicate order id")
        else:
            self._take_new(session, client_id, request)

    def cancel(self, session: Session, request: CancelOrder) -> None:
        """Cancel an order of the asking client."""
        floor = self._floor
        client_id = session.client_id or 0
        order = self.book.of_client(client_id, request.order_id)
        floor.log(
            "cancel_received", session=session.session, client_id=client_id, order_id=request.order_id,
            perm_id=order.perm_id if order else 0, order_ref=order.order.order_ref if order else "",
        )  # fmt: skip
        number = request.order_id
        if order is None:
            floor.error(session.session, number, 10147, f"OrderId {number} that needs to be cancelled is not found.")
        elif order.is_done:
            text = f"OrderId {number} that needs to be cancelled cannot be cancelled, state: {order.status}."
            floor.error(session.session, number, 10148, text)
        elif order.cancel_requested:
            text = f"Cancel attempted when order is not in a cancellable state. Order permId = {order.perm_id}"
            floor.error(session.session, number, 161, text)
        else:
            self.life.request_cancel(order)

    def global_cancel(self, session: Session) -> None:
        """Cancel everything open on the login, whoever placed it."""
        self._floor.log("global_cancel_received", session=session.session, client_id=session.client_id)
        for order in list(self.book.open_orders()):
            if not order.cancel_requested:
                self.life.request_cancel(order)

    def place_by_hand(self, instrument: Instrument, order: TwsOrder, *, is_liquidation: bool = False) -> None:
        """Enter an order in TWS itself: it belongs to no API client, and client 0 sees it with order id 0.

        A liquidation is the broker's own; its executions carry the flag that says so.

        Raises:
            ValueError: TWS would refuse the order.
        """
        floor = self._floor
        floor.watch(instrument)
        complaint = order_rules.check_new(order, self._context(instrument))
        if complaint is not None:
            raise ValueError(complaint[1])
        made = self._make(0, PlaceOrder(0, instrument.contract(), order), Listing(instrument, instrument.route))
        made.is_manual, made.is_liquidation = True, is_liquidation
        floor.log(
            "manual_order", perm_id=made.perm_id, symbol=instrument.symbol, action=order.action,
            quantity=order.total_quantity, reason="liquidation" if is_liquidation else "by hand",
        )  # fmt: skip
        self.book.add(made)
        if binds_future_orders(floor):
            bind(floor, self.book, made)
        self.life.release(made)

    # -------------------------------------------------------------------------------------------- new orders
    def _take_new(self, session: Session, client_id: int, request: PlaceOrder) -> None:
        floor = self._floor
        found = floor.universe.resolve(request.contract)
        if isinstance(found, NotFound):
            self._refuse(session, request, 200, found.text)
            return
        floor.watch(found.instrument)
        complaint = order_rules.check_new(request.order, self._context(found.instrument, session.version))
        complaint = complaint or check_conditions(request.order, floor.universe, floor.config.time_zone)
        if complaint is None and request.order.parent_id:
            complaint = self._check_parent(client_id, request.order.parent_id)
        if complaint is not None:
            self._refuse(session, request, *complaint)
            return
        order = self._make(client_id, request, found)
        if request.order.what_if:
            self._answer_what_if(session, order)
            return
        floor.sessions.use_order_id(client_id, request.order_id)
        self.book.add(order)
        complaint = self._check_limits(order)
        if complaint is not None:
            self.life.reject(order, *complaint)
            return
        if not request.order.transmit:
            order.is_held = True
            self.life.voice.log(order, "Held")
            return
        self.life.release(order)

    def _context(self, instrument: Instrument, version: int = 176) -> order_rules.Context:
        floor, config = self._floor, self._floor.config
        book = floor.book(instrument.con_id)
        return order_rules.Context(
            instrument, config.accounts, book.mid, version, config.time_zone, floor.now_ns, config.precaution_percent,
            config.precaution_size, (book.limit_low, book.limit_high),
        )  # fmt: skip

    def _make(self, client_id: int, request: PlaceOrder, found: Listing) -> BrokerOrder:
        instrument = found.instrument
        account = request.order.account or self._floor.config.accounts[0]
        kind = order_rules.normalised_type(request.order.order_type)
        order = revised(request.order, order_type=kind, account=account)
        is_trail = order.order_type.startswith("TRAIL")
        has_percent = is_trail and (order.trailing_percent or ZERO) > 0
        working = Working(
            side=1 if order.action == "BUY" else -1,
            order_type=order.order_type,
            tif=order.tif or "DAY",
            remaining=order.total_quantity,
            limit=order.lmt_price,
            stop=order.trail_stop_price if is_trail else order.aux_price,
            trail=order.aux_price if is_trail and not has_percent else None,
            trail_percent=order.trailing_percent if has_percent else None,
            limit_offset=order.lmt_price_offset,
            all_or_none=order.all_or_none,
            minimum=Decimal(order.min_qty or 0),
            discretion=order_rules.discretion_of(order),
        )
        return BrokerOrder(
            perm_id=self.book.next_perm_id(),
            client_id=client_id,
            order_id=request.order_id,
            contract=as_ordered(instrument, request.contract, found.exchange)
            if instrument.legs
            else instrument.contract(found.exchange),
            instrument=instrument,
            order=order,
            account=account,
            received_ns=self._floor.now_ns,
            working=working,
        )

    def _check_parent(self, client_id: int, parent_id: int) -> order_rules.Complaint | None:
        parent = self.book.of_client(client_id, parent_id)
        if parent is None:
            return 10006, "Missing parent order."
        if parent.is_done and parent.status != "Filled":
            return 135, f"Can't find order with id = {parent_id}"
        return None

    def _check_limits(self, order: BrokerOrder) -> order_rules.Complaint | None:
        floor = self._floor
        limit = floor.config.max_orders_per_side
        same = sum(
            1
            for each in self.book.working(order.instrument.con_id)
            if each.working.side == order.working.side and each.account == order.account
        )
        if same >= limit:
            return 201, (
                f"Order rejected - reason:Maximum of {limit} orders working on either the buy or sell side of the same "
                "contract."
            )
        if order.order.parent_id:
            return None
        needed, available = self._margin(order)
        if needed > available:
            return 201, NO_FUNDS.format(available=round(available, 2), needed=round(needed, 2))
        return None

    def _margin(self, order: BrokerOrder) -> tuple[Decimal, Decimal]:
        """Return what an order that does not work yet would claim, and what is there for it."""
        fills, account = self.fills, self._accounts[order.account]
        claims = fills.claims(account)
        before = claims.total(fills.mark, fills.rate)
        claims.add(order)
        needed = claims.total(fills.mark, fills.rate) - before
        return needed, account.summary(fills.mark, fills.rate, before).available_funds

    def _check_funds(self, order: BrokerOrder, new: TwsOrder) -> order_rules.Complaint | None:
        """Return why an order may not grow: what it would claim on top is not there."""
        if order.order.parent_id or order.is_held:
            return None
        fills, account = self.fills, self._accounts[order.account]
        claims = fills.claims(account)
        before = claims.total(fills.mark, fills.rate)
        claims.add(order, new.total_quantity - order.order.total_quantity, new.lmt_price)
        needed = claims.total(fills.mark, fills.rate) - before
        available = account.summary(fills.mark, fills.rate, before).available_funds
        if needed > max(available, ZERO):
            return 201, NO_FUNDS.format(available=round(available, 2), needed=round(needed, 2))
        return None

    def _refuse(self, session: Session, request: PlaceOrder, code: int, text: str) -> None:
        self._floor.log(
            "order_refused", client_id=session.client_id, order_id=request.order_id,
            order_ref=request.order.order_ref, code=code, text=text,
        )  # fmt: skip
        self._floor.error(session.session, request.order_id, code, text)

    def _answer_what_if(self, session: Session, order: BrokerOrder) -> None:
        summary = self.fills.summary(self._accounts[order.account])
        needed, _ = self._margin(order)
        fee = self.fills.estimated_commission(order)
        state = OrderState(
            status="PreSubmitted",
            init_margin_before=summary.initial_margin,
            maint_margin_before=summary.maintenance_margin,
            equity_with_loan_before=summary.equity_with_loan,
            init_margin_change=needed,
            maint_margin_change=needed,
            equity_with_loan_change=-fee,
            init_margin_after=summary.initial_margin + needed,
            maint_margin_after=summary.maintenance_margin + needed,
            equity_with_loan_after=summary.equity_with_loan - fee,
            commission=fee,
            commission_currency=order.instrument.currency,
        )
        message = open_order(order, none_text=self._none_text)
        self._floor.send(session.session, replace(message, state=state))

    # -------------------------------------------------------------------------------------------- changes
    def _modify(self, session: Session, order: BrokerOrder, request: PlaceOrder) -> None:
        new = revised(request.order, order_type=order_rules.normalised_type(request.order.order_type))
        if order.status == "Filled":
            self._refuse(session, request, 104, "Cannot modify a filled order.")
            return
        if order.is_done:
            self._refuse(session, request, 103, "Duplicate order id")
            return
        if order.cancel_requested:
            self._refuse(session, request, 2102, "Unable to modify this order as it is still being processed.")
            return
        new = revised(new, account=new.account or order.account, what_if=False)
        complaint = order_rules.check_change(order.order, new, order.filled) or order_rules.check_changed(
            new, self._context(order.instrument, session.version)
        )
        if complaint is not None:
            self._refuse(session, request, *complaint)
            return
        complaint = self._check_funds(order, new)
        if complaint is not None:
            self._refuse(session, request, *complaint)
            return
        if new.parent_id and self._is_gone(order, new.parent_id):
            self._refuse(session, request, 135, f"Can't find order with id = {new.parent_id}")
            return
        if order.is_held:
            order.order = new
            self.life.take_changes(order)
            if new.transmit:
                self.life.release(order)
            return
        if self._floor.faults.is_link_lost and self._floor.faults.double_changes > 0:
            self._double(order, new)
            return
        order.change = revised(new, parent_id=order.order.parent_id)
        self.life.voice.log(order, "Modified")
        self.life.voice.save(order)
        self._floor.later(self._floor.config.ack_delay_ns, lambda: self.life.apply_change(order))

    def _double(self, order: BrokerOrder, new: TwsOrder) -> None:
        """Make a second order of a modify: the first stays live, its owner's ids lead to the second (A.7)."""
        floor = self._floor
        floor.faults.double_changes -= 1
        second = self._make(
            order.client_id, PlaceOrder(order.order_id, order.contract, new),
            Listing(order.instrument, order.contract.exchange),
        )  # fmt: skip
        floor.log("order_doubled", perm_id=order.perm_id, second_perm_id=second.perm_id, order_ref=new.order_ref)
        self.book.add(second)
        self.life.release(second)

    def _is_gone(self, order: BrokerOrder, parent_id: int) -> bool:
        parent = self.book.of_client(order.client_id, parent_id)
        return parent is None or parent.is_done
