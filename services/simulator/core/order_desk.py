"""Take orders, changes and cancels, and tell their life to those who may see it.

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
from services.simulator.core.account import Account, order_margin
from services.simulator.core.contracts import Listing, NotFound
from services.simulator.core.executions import Executions
from services.simulator.core.fills import FillBooker
from services.simulator.core.floor import Floor
from services.simulator.core.hours import Hours
from services.simulator.core.market import MarketEvent, Trade
from services.simulator.core.matching import (
    DEPTH_LEVELS,
    Working,
    check_trigger,
    on_trade,
    price_of,
    rest,
    take,
)
from services.simulator.core.order_book import OrderBook
from services.simulator.core.orders import BrokerOrder, open_order, order_status
from services.simulator.core.sessions import Session
from services.simulator.core.times import zoned_text
from shared.tws.order import OrderState
from shared.tws.requests import CancelOrder, PlaceOrder

READ_ONLY = "Error validating request.-'bW' : cause - The API interface is currently in Read-Only mode."
NO_FUNDS = (
    "Order rejected - reason:We are unable to accept your order. Your Available Funds are insufficient to place this "
    "order: available {available} USD, initial margin of the order {needed} USD."
)
ZERO = Decimal(0)
__all__ = ["DEPTH_LEVELS", "OrderDesk"]


class OrderDesk:
    """The order side of the exchange."""

    def __init__(
        self, floor: Floor, accounts: dict[str, Account], executions: Executions, hours: Hours | None = None
    ) -> None:
        self._floor = floor
        self._hours = hours or Hours()
        self._accounts = accounts
        self.book = OrderBook()
        self.fills = FillBooker(floor, accounts, executions)
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
        if floor.config.read_only:
            self._refuse(session, request, 321, READ_ONLY)
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
            floor.error(
                session.session, number, 10147, f"OrderId {number} that needs to be cancelled is not found."
            )
        elif order.is_done:
            text = f"OrderId {number} that needs to be cancelled cannot be cancelled, state: {order.status}."
            floor.error(session.session, number, 10148, text)
        elif order.cancel_requested:
            text = (
                "Cancel attempted when order is not in a cancellable state. "
                f"Order permId = {order.perm_id}"
            )
            floor.error(session.session, number, 161, text)
        else:
            self._request_cancel(order)

    def global_cancel(self, session: Session) -> None:
        """Cancel everything open on the login, whoever placed it."""
        self._floor.log("global_cancel_received", session=session.session, client_id=session.client_id)
        for order in list(self.book.open_orders()):
            if not order.cancel_requested:
                self._request_cancel(order)

    # -------------------------------------------------------------------------------------------- new orders
    def _take_new(self, session: Session, client_id: int, request: PlaceOrder) -> None:
        floor = self._floor
        found = floor.universe.resolve(request.contract)
        if isinstance(found, NotFound):
            self._refuse(session, request, 200, found.text)
            return
        floor.watch(found.instrument)
        context = order_rules.Context(
            found.instrument, floor.config.accounts, floor.book(found.instrument.con_id).mid
        )
        complaint = order_rules.check_new(request.order, context)
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
            self._reject(order, *complaint)
            return
        if not request.order.transmit:
            order.is_held = True
            floor.log("order_state", **self._state_facts(order, "Held"))
            return
        self._release(order)

    def _make(self, client_id: int, request: PlaceOrder, found: Listing) -> BrokerOrder:
        instrument = found.instrument
        order = replace(request.order, order_type=order_rules.normalised_type(request.order.order_type))
        account = order.account or self._floor.config.accounts[0]
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
        )
        return BrokerOrder(
            perm_id=self.book.next_perm_id(),
            client_id=client_id,
            order_id=request.order_id,
            contract=instrument.contract(found.exchange),
            instrument=instrument,
            order=replace(order, account=account),
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
        account = self._accounts[order.account]
        price = order.order.lmt_price or price_of(self._floor.mark(order.instrument))
        needed = order_margin(account, order.instrument, order.working.side, order.working.remaining, price)
        rate = self.fills.rate(order.instrument.currency)
        return needed * rate, self.fills.summary(account).available_funds

    def _refuse(self, session: Session, request: PlaceOrder, code: int, text: str) -> None:
        self._floor.log(
            "order_refused", client_id=session.client_id, order_id=request.order_id,
            order_ref=request.order.order_ref, code=code, text=text,
        )  # fmt: skip
        self._floor.error(session.session, request.order_id, code, text)

    def _reject(self, order: BrokerOrder, code: int, text: str) -> None:
        order.status, order.done_ns, order.done_text = "Inactive", self._floor.now_ns, text
        self.book.remove_working(order)
        self._floor.log("order_state", **self._state_facts(order), code=code)
        self._tell_error(order, code, text)
        self._tell_status(order)

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

    # -------------------------------------------------------------------------------------------- life
    def _release(self, order: BrokerOrder) -> None:
        """Send an order, its parent and its siblings that were held for it."""
        group = self.book.held_group(order)
        if order not in group:
            group.append(order)
        for each in sorted(group, key=lambda one: one.order_id):
            each.is_held = False
            self._accept(each)

    def _accept(self, order: BrokerOrder) -> None:
        floor = self._floor
        parent = self.book.of_client(order.client_id, order.order.parent_id) if order.order.parent_id else None
        order.waits_for_parent = parent is not None and parent.status != "Filled"
        order.status = "PreSubmitted"
        self.book.add_working(order)
        floor.log("order_state", **self._state_facts(order))
        self._tell_open(order)
        self._tell_status(order)
        if not order.waits_for_parent:
            floor.later(floor.config.ack_delay_ns, lambda: self._reach_exchange(order))

    def _reach_exchange(self, order: BrokerOrder) -> None:
        floor = self._floor
        if order.is_done or order.is_at_exchange:
            return
        if floor.faults.is_link_lost:
            floor.later(floor.config.ack_delay_ns + 100_000_000, lambda: self._reach_exchange(order))
            return
        if not order.order.outside_rth and not self._hours.is_open(order.instrument, floor.now_ns):
            self._hold_for_session(order)
            return
        order.is_at_exchange = True
        check_trigger(order.working, floor.book(order.instrument.con_id), on_quotes=self._on_quotes(order))
        if order.working.waits_for_trigger:
            self._save(order)
            return
        self._activate(order)

    def _hold_for_session(self, order: BrokerOrder) -> None:
        floor = self._floor
        open_ns = self._hours.next_open_ns(order.instrument, floor.now_ns)
        when = zoned_text(open_ns, order.instrument.time_zone)
        text = f"Order Message:\nWarning: Your order will not be placed at the exchange until {when}."
        self._tell_error(order, 399, text)
        floor.later(open_ns - floor.now_ns, lambda: self._reach_exchange(order))

    def _activate(self, order: BrokerOrder) -> None:
        """Let an order into the market: it is Submitted, and trades a moment later what it can."""
        if order.order.order_type != "MKT" and order.status != "Submitted":
            order.status = "Submitted"
            self._floor.log("order_state", **self._state_facts(order))
            self._tell_open(order)
            self._tell_status(order)
        self._floor.later(self._floor.config.fill_delay_ns, lambda: self._first_match(order))

    def _first_match(self, order: BrokerOrder) -> None:
        if order.is_done:
            return
        self._match(order)
        if not order.is_done and order.working.tif in ("IOC", "FOK"):
            self._finish_cancel(order, "Cancelled by exchange: immediate or cancel.")
        elif not order.is_done:
            if order.status != "Submitted":
                order.status = "Submitted"
                self._tell_open(order)
                self._tell_status(order)
            rest(order.working, self._floor.book(order.instrument.con_id))

    def _match(self, order: BrokerOrder) -> None:
        book = self._floor.book(order.instrument.con_id)
        reference = order.working.limit or price_of(book.mid)
        for fill in take(order.working, book, order.instrument.rule.tick_at(reference)):
            self.fills.book(order, fill)
            self._after_fill(order)

    def on_market(self, event: MarketEvent) -> None:
        """Let resting orders of the event's contract trade or be triggered."""
        orders = self.book.by_contract.get(event.con_id)
        if not orders:
            return
        size_left = event.size if isinstance(event, Trade) else 0.0
        for order in list(orders.values()):
            if order.is_done or not order.is_at_exchange:
                continue
            working = order.working
            if working.waits_for_trigger:
                by_quote = self._on_quotes(order)
                if isinstance(event, Trade) != by_quote and check_trigger(
                    working, self._floor.book(event.con_id), on_quotes=by_quote
                ):
                    self._floor.log("order_state", **self._state_facts(order, "Triggered"))
                    self._activate(order)
                continue
            if order.status != "Submitted":
                continue
            if isinstance(event, Trade):
                fill, size_left = on_trade(working, event.price, size_left)
                if fill is not None:
                    self.fills.book(order, fill)
                    self._after_fill(order)
            else:
                self._match(order)

    def _on_quotes(self, order: BrokerOrder) -> bool:
        return order.instrument.sec_type == "CASH"

    def _after_fill(self, order: BrokerOrder) -> None:
        if order.remaining <= 0:
            order.done_ns, order.done_text = self._floor.now_ns, f"Filled Size: {order.filled}"
            self.book.remove_working(order)
        self.fills.tell(order)
        self._floor.log("order_state", **self._state_facts(order))
        self._save(order)
        if order.status == "Filled":
            self._start_children(order)
        self._serve_oca(order)

    def _start_children(self, parent: BrokerOrder) -> None:
        for child in self.book.children(parent):
            if child.waits_for_parent and not child.is_done:
                child.waits_for_parent = False
                self._reach_exchange(child)
                if not child.is_done and child.status == "PreSubmitted":
                    self._tell_status(child)

    def _serve_oca(self, order: BrokerOrder) -> None:
        """Cancel or reduce the other orders of the group; siblings of a bracket reduce each other."""
        for other in self.book.oca_siblings(order):
            is_cancel_all = bool(order.order.oca_group) and order.order.oca_type == 1
            if order.status == "Filled" or is_cancel_all:
                self._finish_cancel(other, "OCA group: another order was filled.")
                continue
            total = other.filled + min(other.remaining, order.remaining)
            if total < other.order.total_quantity:
                other.order = replace(other.order, total_quantity=total)
                other.working.remaining = other.remaining
                self._floor.log("order_state", **self._state_facts(other, "Reduced"))
                self._tell_open(other)
                self._tell_status(other)

    # -------------------------------------------------------------------------------------------- changes
    def _modify(self, session: Session, order: BrokerOrder, request: PlaceOrder) -> None:
        new = replace(request.order, order_type=order_rules.normalised_type(request.order.order_type))
        if order.status == "Filled":
            self._refuse(session, request, 104, "Cannot modify a filled order.")
            return
        if order.is_done:
            self._refuse(session, request, 103, "Duplicate order id")
            return
        if order.cancel_requested:
            self._refuse(session, request, 2102, "Unable to modify this order as it is still being processed.")
            return
        new = replace(new, account=new.account or order.account, what_if=False)
        context = order_rules.Context(order.instrument, self._floor.config.accounts, 0.0)
        complaint = order_rules.check_change(order.order, new, order.filled) or order_rules.check_prices(new, context)
        if complaint is not None:
            self._refuse(session, request, *complaint)
            return
        if order.is_held:
            order.order = new
            self._take_changes(order)
            if new.transmit:
                self._release(order)
            return
        order.order = replace(new, parent_id=order.order.parent_id)
        self._floor.log("order_state", **self._state_facts(order, "Modified"))
        self._floor.later(self._floor.config.ack_delay_ns, lambda: self._apply_change(order))

    def _apply_change(self, order: BrokerOrder) -> None:
        if order.is_done:
            return
        self._take_changes(order)
        self._tell_open(order)
        self._tell_status(order)
        self._save(order)
        if order.is_at_exchange and not order.working.waits_for_trigger:
            self._floor.later(self._floor.config.fill_delay_ns, lambda: self._first_match(order))

    def _take_changes(self, order: BrokerOrder) -> None:
        own, working = order.order, order.working
        working.remaining = order.remaining
        working.tif = own.tif or "DAY"
        working.is_resting = False
        working.limit = own.lmt_price
        if own.order_type in ("TRAIL", "TRAIL LIMIT"):
            working.trail = own.aux_price if not (own.trailing_percent or ZERO) > 0 else None
        elif not working.is_triggered:
            working.stop = own.aux_price

    # -------------------------------------------------------------------------------------------- cancels
    def _request_cancel(self, order: BrokerOrder) -> None:
        order.cancel_requested = True
        if order.is_held:
            self._finish_cancel(order, "")
            return
        self._floor.later(self._floor.config.ack_delay_ns, lambda: self._cancel_at_exchange(order))

    def _cancel_at_exchange(self, order: BrokerOrder) -> None:
        if order.is_done:
            text = f"OrderId {order.order_id} that needs to be cancelled cannot be cancelled, state: {order.status}."
            self._tell_error(order, 10148, text)
            return
        if self._floor.faults.is_link_lost:
            self._floor.later(100_000_000, lambda: self._cancel_at_exchange(order))
            return
        self._finish_cancel(order, "")

    def _finish_cancel(self, order: BrokerOrder, reason: str) -> None:
        if order.is_done:
            return
        order.status, order.done_ns = "Cancelled", self._floor.now_ns
        order.done_text = "Cancelled by Trader" if order.cancel_requested else reason or "Cancelled"
        order.is_held = False
        self.book.remove_working(order)
        self._floor.log("order_state", **self._state_facts(order), reason=reason)
        self._tell_status(order)
        self._tell_error(order, 202, f"Order Canceled - reason:{reason}")
        self._save(order)
        for child in self.book.children(order):
            if child.is_done:
                continue
            if order.filled > 0:
                self._reduce_to_parent(order, child)
            else:
                self._finish_cancel(child, "")

    def _reduce_to_parent(self, parent: BrokerOrder, child: BrokerOrder) -> None:
        """Let a child work for the part of its parent that was filled before the cancel."""
        if child.waits_for_parent:
            child.waits_for_parent = False
            child.order = replace(child.order, total_quantity=min(child.order.total_quantity, parent.filled))
            child.working.remaining = child.remaining
            self._tell_open(child)
            self._reach_exchange(child)

    def restore(self, order: BrokerOrder) -> None:
        """Take back a stored order; one that worked goes on working."""
        self.book.add(order)
        self._floor.sessions.use_order_id(order.client_id, order.order_id)
        if order.is_done:
            self.book.remove_working(order)
        elif not order.is_held:
            self.book.add_working(order)
            self._floor.watch(order.instrument)
            if order.cancel_requested:
                self._floor.later(self._floor.config.ack_delay_ns, lambda: self._cancel_at_exchange(order))
            elif not order.is_at_exchange and not order.waits_for_parent:
                self._floor.later(self._floor.config.ack_delay_ns, lambda: self._reach_exchange(order))
        self.book.dirty.pop(order.perm_id, None)

    def cancel_by_broker(self, order: BrokerOrder, reason: str) -> None:
        """Cancel an order without anybody's request (end of day, exchange, broker)."""
        self._finish_cancel(order, reason)

    # -------------------------------------------------------------------------------------------- telling
    def _watchers(self, order: BrokerOrder) -> list[int]:
        floor = self._floor
        return floor.sessions.watchers(order.client_id, floor.config.master_client_id, is_manual=order.is_manual)

    def _tell_open(self, order: BrokerOrder) -> None:
        for session in self._watchers(order):
            self._floor.send_broker(session, open_order(order, none_text=self._none_text))
        self._save(order)

    def _tell_status(self, order: BrokerOrder) -> None:
        for session in self._watchers(order):
            self._floor.send_broker(session, order_status(order))

    def _tell_error(self, order: BrokerOrder, code: int, text: str) -> None:
        for session in self._watchers(order)[:1]:
            self._floor.error(session, order.order_id, code, text)

    def _save(self, order: BrokerOrder) -> None:
        self.book.dirty[order.perm_id] = order

    @staticmethod
    def _state_facts(order: BrokerOrder, state: str = "") -> dict[str, object]:
        return {
            "state": state or order.status,
            "perm_id": order.perm_id,
            "client_id": order.client_id,
            "order_id": order.order_id,
            "order_ref": order.order.order_ref,
            "filled": order.filled,
            "remaining": order.remaining,
        }
