"""Carry an order through its life: released, accepted, at the exchange, triggered, filled, changed, cancelled.

Invariants:
1. What happens is in the ledger before any client is told.
2. A cancel that has not reached the exchange does not stop a fill: fills beat cancels.
3. A child works only once its parent has filled; siblings of a bracket and of an OCA group cancel or reduce each other.

The bell rings elsewhere (`order_days.py`): this module lets an order work, trade, change and end.

Source: ib-facts A.7, A.8, A.13.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from services.simulator.core.conditions import ConditionWatch
from services.simulator.core.fills import FillBooker
from services.simulator.core.floor import Floor, Save
from services.simulator.core.hours import Hours
from services.simulator.core.market import MarketEvent, Trade
from services.simulator.core.matching import Fill, check_trigger, on_trade, price_of, reprice, rest, take
from services.simulator.core.order_book import OrderBook
from services.simulator.core.order_fields import without_effect
from services.simulator.core.order_hours import IGNORED_TEXT, OrderHours, ignores_outside_rth
from services.simulator.core.order_rules import discretion_of
from services.simulator.core.order_voice import OrderVoice
from services.simulator.core.orders import DONE, BrokerOrder
from services.simulator.core.times import zoned_text

ZERO = Decimal(0)
BY_QUOTES = frozenset({1, 4, 8})
"""Trigger methods that look at bid and ask: double bid/ask, bid/ask, midpoint; all others look at the last price."""
FALSE_ALARMS = {
    399: "Order Message:\nWarning: your order will not be placed at the exchange until the next session.",
    2109: IGNORED_TEXT,
    10349: "Order TIF was set to DAY based on order preset.",
}


class OrderLife:
    """What happens to orders that TWS has taken."""

    def __init__(self, floor: Floor, book: OrderBook, fills: FillBooker, hours: Hours) -> None:
        self._floor = floor
        self.hours = OrderHours(hours, floor.config.time_zone)
        self._model = floor.config.model
        self.book = book
        self.fills = fills
        self.voice = OrderVoice(floor, book)
        self.conditions = ConditionWatch(floor, hours, met=self._on_conditions, cushion=fills.cushion)

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
        self.hours.set_times(order, floor.now_ns)
        self.book.add_working(order)
        self.voice.log(order)
        self.voice.open(order)
        self.voice.status(order)
        if ignores_outside_rth(order):
            self.voice.error(order, 2109, IGNORED_TEXT)
        for name in without_effect(order.order):
            text = f"Order Message:\nWarning: the order's {name} is not simulated and has no effect."
            self.voice.error(order, 399, text)
        self.arm_expiry(order)
        for code in floor.faults.take_alarms():
            self.voice.error(order, code, FALSE_ALARMS.get(code, f"notice {code}"))
        self.conditions.watch(order)
        if not order.waits_for_parent:
            floor.later(floor.config.ack_delay_ns, lambda: self._reach_exchange(order))

    def _on_conditions(self, order: BrokerOrder) -> None:
        """Let a conditional order go to the exchange, or end one that was to work until then."""
        self.voice.log(order, "ConditionsMet")
        if order.order.conditions_cancel_order:
            self._finish_cancel(order, "Order conditions were met.")
        elif not order.waits_for_parent:
            self._floor.later(self._floor.config.ack_delay_ns, lambda: self._reach_exchange(order))

    def _reach_exchange(self, order: BrokerOrder) -> None:
        floor = self._floor
        if order.is_done or order.is_at_exchange or order.waits_for_conditions:
            return
        if floor.faults.is_link_lost:
            floor.later(floor.config.ack_delay_ns + 100_000_000, lambda: self._reach_exchange(order))
            return
        begins_ns = self.hours.begins_ns(order, floor.now_ns)
        if begins_ns > floor.now_ns:
            self._hold_until(order, begins_ns)
            return
        if self._must_locate(order):
            self._locate(order)
            return
        order.is_locating = False
        order.is_at_exchange = True
        if order.working.waits_for_auction:
            self.voice.save(order)
            return
        check_trigger(order.working, floor.book(order.instrument.con_id), on_quotes=self._on_quotes(order))
        if order.working.waits_for_trigger:
            self.voice.save(order)
            return
        self._activate(order)

    def _hold_until(self, order: BrokerOrder, begins_ns: int) -> None:
        floor = self._floor
        if begins_ns != order.starts_ns:
            when = zoned_text(begins_ns, order.instrument.time_zone)
            text = f"Order Message:\nWarning: Your order will not be placed at the exchange until {when}."
            self.voice.error(order, 399, text)
        floor.later(begins_ns - floor.now_ns, lambda: self._reach_exchange(order))

    def _must_locate(self, order: BrokerOrder) -> bool:
        if order.working.side > 0 or order.is_locating:
            return False
        return order.instrument.symbol in self._floor.hard_to_borrow and self.fills.opens_short(order)

    def _locate(self, order: BrokerOrder) -> None:
        """Hold a short sale until shares to lend were found (404)."""
        floor = self._floor
        order.is_locating = True
        self.voice.error(order, 404, "Order held while securities are located.")
        self.voice.status(order)
        self.voice.save(order)
        seconds = floor.hard_to_borrow[order.instrument.symbol]
        floor.later(int(seconds * 1_000_000_000), lambda: self._reach_exchange(order))

    def arm_expiry(self, order: BrokerOrder) -> None:
        """Let a good-till-date order end at its time; what is good for the day ends with the bell."""
        floor = self._floor
        if order.order.tif == "GTD" and order.expires_ns:
            due_ns = order.expires_ns
            floor.later(max(0, due_ns - floor.now_ns), lambda: self._expire(order, due_ns))

    def _expire(self, order: BrokerOrder, due_ns: int) -> None:
        if order.expires_ns == due_ns and not order.is_done:
            self._finish_cancel(order, "Good till date has passed.")

    def _activate(self, order: BrokerOrder) -> None:
        """Let an order into the market: it is Submitted, and trades a moment later what it can."""
        if order.order.order_type != "MKT" and order.status != "Submitted":
            order.status = "Submitted"
            self.voice.log(order)
            self.voice.open(order)
            self.voice.status(order)
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
                self.voice.open(order)
                self.voice.status(order)
            rest(order.working, self._floor.book(order.instrument.con_id))

    def _match(self, order: BrokerOrder) -> None:
        floor = self._floor
        if not self.hours.may_trade(order, floor.now_ns):
            return
        working, book = order.working, floor.book(order.instrument.con_id)
        reference = working.limit or price_of(book.mid)
        tick = order.instrument.rule.tick_at(reference)
        if working.is_pegged and reprice(working, book, tick) and working.is_resting:
            rest(working, book)
        for fill in take(working, book, tick, self._model):
            self.fill(order, fill)

    def fill(self, order: BrokerOrder, fill: Fill) -> None:
        """Book a fill and what follows from it."""
        self.fills.book(order, fill)
        self._after_fill(order)

    def on_market(self, event: MarketEvent) -> None:
        """Let resting orders of the event's contract trade or be triggered."""
        orders = self.book.by_contract.get(event.con_id)
        if not orders:
            return
        size_left = event.size if isinstance(event, Trade) else 0.0
        for order in list(orders.values()):
            working = order.working
            if order.is_done or not order.is_at_exchange or working.waits_for_auction:
                continue
            if not self.hours.may_trade(order, event.ts_ns):
                continue
            if working.waits_for_trigger:
                by_quote = self._on_quotes(order)
                if isinstance(event, Trade) != by_quote and check_trigger(
                    working, self._floor.book(event.con_id), on_quotes=by_quote
                ):
                    self.voice.log(order, "Triggered")
                    self._activate(order)
                continue
            if order.status != "Submitted":
                continue
            if isinstance(event, Trade):
                fill, size_left = on_trade(working, event.price, size_left, self._model)
                if fill is not None:
                    self.fill(order, fill)
            else:
                self._match(order)

    def _on_quotes(self, order: BrokerOrder) -> bool:
        """Return whether bid and ask trigger the order: by its own trigger method, else by its kind of contract."""
        method = order.order.trigger_method
        return method in BY_QUOTES or (not method and order.instrument.sec_type in ("CASH", "BAG"))

    def _after_fill(self, order: BrokerOrder) -> None:
        if order.remaining <= 0:
            order.done_ns, order.done_text = self._floor.now_ns, f"Filled Size: {order.filled}"
            self.book.remove_working(order)
        self.fills.tell(order)
        self.voice.log(order)
        self.voice.save(order)
        if order.status == "Filled":
            self._start_children(order)
        self._serve_oca(order)
        self.conditions.on_execution(order.account, order.instrument, order.contract.exchange)

    def _start_children(self, parent: BrokerOrder) -> None:
        for child in self.book.children(parent):
            if child.waits_for_parent and not child.is_done:
                child.waits_for_parent = False
                self._reach_exchange(child)
                if child.status == "PreSubmitted":
                    self.voice.status(child)

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
                self.voice.log(other, "Reduced")
                self.voice.open(other)
                self.voice.status(other)

    def apply_change(self, order: BrokerOrder) -> None:
        """Let a change take effect at the exchange."""
        change, order.change = order.change, None
        if order.is_done or change is None:
            return
        if change.total_quantity <= order.filled:
            text = "Order rejected - reason:The new quantity is not above the quantity already filled."
            self.voice.error(order, 201, text)
            self.voice.status(order)
            return
        order.order = change
        self.take_changes(order)
        self.hours.set_times(order, self._floor.now_ns)
        self.arm_expiry(order)
        self.voice.open(order)
        self.voice.status(order)
        self.voice.save(order)
        if order.is_at_exchange and not order.working.waits_for_trigger:
            self._floor.later(self._floor.config.fill_delay_ns, lambda: self._first_match(order))

    def take_changes(self, order: BrokerOrder) -> None:
        """Take an order's changed fields over into the matching."""
        own, working = order.order, order.working
        working.remaining = order.remaining
        working.peg = None
        working.tif = own.tif or "DAY"
        working.is_resting = False
        working.limit = own.lmt_price
        working.minimum = Decimal(own.min_qty or 0) if not order.filled else ZERO
        working.discretion = discretion_of(own)
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
            self.voice.error(order, 10148, text)
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
        self.voice.log(order, reason=reason)
        self.voice.status(order)
        self.voice.error(order, 202, f"Order Canceled - reason:{reason}")
        self.voice.save(order)
        for child in self.book.children(order):
            if child.is_done:
                continue
            if order.filled > 0 or not self._floor.config.reduces_children:
                self._outlive_parent(order, child)
            else:
                self._finish_cancel(child, "")

    def _outlive_parent(self, parent: BrokerOrder, child: BrokerOrder) -> None:
        """Let a child work for the part of its parent that was filled before the cancel, or as it was sent."""
        if child.waits_for_parent:
            child.waits_for_parent = False
            if self._floor.config.reduces_children:
                child.order = replace(child.order, total_quantity=min(child.order.total_quantity, parent.filled))
            child.working.remaining = child.remaining
            self.voice.open(child)
            self._reach_exchange(child)

    def restore(self, order: BrokerOrder) -> None:
        """Take back a stored order; one that worked goes on working, one that was not transmitted is gone (A.7)."""
        if order.is_held and not order.is_done:
            order.is_held, order.status, order.done_text = False, "ApiCancelled", "Not transmitted"
            order.done_ns = order.received_ns
        self.book.add(order)
        self._floor.sessions.use_order_id(order.client_id, order.order_id)
        if order.is_done:
            self.book.remove_working(order)
        else:
            self.book.add_working(order)
            self._floor.watch(order.instrument)
            self._floor.later(self._floor.config.ack_delay_ns, lambda: self._resume(order))
            self.arm_expiry(order)
            self.conditions.watch(order)
        self.book.dirty.pop(order.perm_id, None)

    def _resume(self, order: BrokerOrder) -> None:
        """Go on where the exchange stopped."""
        if order.change is not None:
            self.apply_change(order)
        if 0 < order.expires_ns <= self._floor.now_ns:
            self._finish_cancel(order, "End of day.")
        elif order.cancel_requested:
            self._cancel_at_exchange(order)
        elif order.waits_for_parent:
            return
        elif not order.is_at_exchange:
            self._reach_exchange(order)
        elif not order.working.waits_for_trigger and not order.working.waits_for_auction:
            self._first_match(order)

    def cancel_by_broker(self, order: BrokerOrder, reason: str) -> None:
        """Cancel an order without anybody's request (end of day, exchange, broker)."""
        self._finish_cancel(order, reason)

    def reject(self, order: BrokerOrder, code: int, text: str) -> None:
        """Let the broker or the exchange refuse an order that TWS had taken."""
        order.status, order.done_ns, order.done_text = "Inactive", self._floor.now_ns, text
        self.book.remove_working(order)
        self.voice.log(order, code=code)
        self.voice.error(order, code, text)
        self.voice.status(order)
        self.voice.save(order)

    def lose(self, order: BrokerOrder) -> None:
        """Forget an order as if it had never come; nobody is told."""
        order.status = "ApiCancelled"
        self.voice.log(order, "Lost")
        self.book.forget(order)
        self._floor.effect(Save("order", str(order.perm_id), None))
