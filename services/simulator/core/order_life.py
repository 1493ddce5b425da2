"""Carry an order through its life: released, accepted, at the exchange, triggered, filled, changed, cancelled.

Invariants:
1. What happens is in the ledger before any client is told.
2. A cancel that has not reached the exchange does not stop a fill: fills beat cancels.
3. A child works only once its parent has filled; siblings of a bracket and of an OCA group cancel or reduce each other.

Known limit: MOC and LOC orders trade at once, as the market never closes in the default mode.

Source: ib-facts A.7, A.8, A.13.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from services.simulator.core.fills import FillBooker
from services.simulator.core.floor import Floor
from services.simulator.core.hours import Hours
from services.simulator.core.market import MarketEvent, Trade
from services.simulator.core.matching import check_trigger, on_trade, price_of, rest, take
from services.simulator.core.order_book import OrderBook
from services.simulator.core.orders import DONE, BrokerOrder, open_order, order_status
from services.simulator.core.times import zoned_text

ZERO = Decimal(0)


class OrderLife:
    """What happens to orders that TWS has taken."""

    def __init__(self, floor: Floor, book: OrderBook, fills: FillBooker, hours: Hours) -> None:
        self._floor = floor
        self._hours = hours
        self.book = book
        self.fills = fills
        self._none_text = floor.config.deltaneutral_none

    # -------------------------------------------------------------------------------------------- life
    def release(self, order: BrokerOrder) -> None:
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
        floor.log("order_state", **self.state_facts(order))
        self._tell_open(order)
        self.tell_status(order)
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
        self.tell_error(order, 399, text)
        floor.later(open_ns - floor.now_ns, lambda: self._reach_exchange(order))

    def _activate(self, order: BrokerOrder) -> None:
        """Let an order into the market: it is Submitted, and trades a moment later what it can."""
        if order.order.order_type != "MKT" and order.status != "Submitted":
            order.status = "Submitted"
            self._floor.log("order_state", **self.state_facts(order))
            self._tell_open(order)
            self.tell_status(order)
        self._floor.later(self._floor.config.fill_delay_ns, lambda: self._first_match(order))

    def _first_match(self, order: BrokerOrder) -> None:
        if order.is_done:
            return
        self._match(order)
        if order.status not in DONE and order.working.tif in ("IOC", "FOK"):
            self._finish_cancel(order, "Cancelled by exchange: immediate or cancel.")
        elif order.status not in DONE:
            if order.status != "Submitted":
                order.status = "Submitted"
                self._tell_open(order)
                self.tell_status(order)
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
                    self._floor.log("order_state", **self.state_facts(order, "Triggered"))
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
        self._floor.log("order_state", **self.state_facts(order))
        self._save(order)
        if order.status == "Filled":
            self._start_children(order)
        self._serve_oca(order)

    def _start_children(self, parent: BrokerOrder) -> None:
        for child in self.book.children(parent):
            if child.waits_for_parent and not child.is_done:
                child.waits_for_parent = False
                self._reach_exchange(child)
                if child.status == "PreSubmitted":
                    self.tell_status(child)

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
                self._floor.log("order_state", **self.state_facts(other, "Reduced"))
                self._tell_open(other)
                self.tell_status(other)

    def apply_change(self, order: BrokerOrder) -> None:
        """Let a change take effect at the exchange."""
        if order.is_done:
            return
        self.take_changes(order)
        self._tell_open(order)
        self.tell_status(order)
        self._save(order)
        if order.is_at_exchange and not order.working.waits_for_trigger:
            self._floor.later(self._floor.config.fill_delay_ns, lambda: self._first_match(order))

    def take_changes(self, order: BrokerOrder) -> None:
        """Take an order's changed fields over into the matching."""
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
    def request_cancel(self, order: BrokerOrder) -> None:
        """Begin to cancel: a held order is gone at once, another when the exchange has the cancel."""
        order.cancel_requested = True
        if order.is_held:
            self._finish_cancel(order, "")
            return
        self._floor.later(self._floor.config.ack_delay_ns, lambda: self._cancel_at_exchange(order))

    def _cancel_at_exchange(self, order: BrokerOrder) -> None:
        if order.is_done:
            text = f"OrderId {order.order_id} that needs to be cancelled cannot be cancelled, state: {order.status}."
            self.tell_error(order, 10148, text)
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
        self._floor.log("order_state", **self.state_facts(order), reason=reason)
        self.tell_status(order)
        self.tell_error(order, 202, f"Order Canceled - reason:{reason}")
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

    def tell_status(self, order: BrokerOrder) -> None:
        """Send orderStatus to those who may see it."""
        for session in self._watchers(order):
            self._floor.send_broker(session, order_status(order))

    def tell_error(self, order: BrokerOrder, code: int, text: str) -> None:
        """Send an error to the client that placed the order."""
        for session in self._watchers(order)[:1]:
            self._floor.error(session, order.order_id, code, text)

    def _save(self, order: BrokerOrder) -> None:
        self.book.dirty[order.perm_id] = order

    @staticmethod
    def state_facts(order: BrokerOrder, state: str = "") -> dict[str, object]:
        """Return what the ledger says of an order's state."""
        return {
            "state": state or order.status,
            "perm_id": order.perm_id,
            "client_id": order.client_id,
            "order_id": order.order_id,
            "order_ref": order.order.order_ref,
            "filled": order.filled,
            "remaining": order.remaining,
        }
