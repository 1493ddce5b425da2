"""P7: whatever is asked, filled, cancelled, modified, delayed or restarted, no worst case ever exceeds a limit.

The broker of this test is its own truth: it fills, cuts and cancels as it likes; what it says reaches the book late,
order events and fills each in their order, but in any order among each other, sometimes twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import msgpack
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.risk.core.exposure import Book
from services.risk.core.rules_activity import best_own
from services.risk.core.snapshot import load_snapshot, snapshot_of
from shared.messages.account import ExchangeRate
from shared.messages.base import Message
from shared.messages.orders import Fill, Group, Intent, IntentAction, OrderEvent, OrderState
from tests.risk_desk import (
    ACCOUNT,
    INCARNATION,
    NOW,
    SECOND,
    D,
    bracket_of,
    decided,
    event_of,
    info,
    intent_of,
    leg_of,
    limits_with,
    modify_of,
    ready_book,
    set_price,
)
from tests.risk_naive import naive_best, naive_exposure

CON_IDS = (1, 2)
POSITION_MAX = 100
GROSS_MAX = 15_000
NET_MAX = 12_000
CURRENCY_MAX = 11_000
CURRENCIES = {1: "USD", 2: "EUR"}
ZERO = Decimal(0)


def fresh_book() -> Book:
    """A flat account whose second contract is quoted in another currency."""
    book = ready_book(CON_IDS)
    book.apply(ExchangeRate(account=ACCOUNT, currency="EUR", rate=D("1.25")), NOW)
    for con_id, currency in CURRENCIES.items():
        book.apply(info(con_id, currency=currency), NOW)
    return book


@dataclass
class BrokerLeg:
    """What is true of one leg at the broker."""

    sign: int
    quantity: Decimal
    parent: int | None
    filled: Decimal = ZERO
    is_open: bool = True

    @property
    def left(self) -> Decimal:
        return self.quantity - self.filled if self.is_open else ZERO


@dataclass
class BrokerOrder:
    """One intent at the broker; `is_there` once the gateway has delivered it."""

    intent: Intent
    legs: dict[int, BrokerLeg]
    is_there: bool = False
    coming: list[Intent] = field(default_factory=list)


class Trading(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.limits = limits_with(
            position_quantity_max=POSITION_MAX, exposure_gross_max=GROSS_MAX, exposure_net_max=NET_MAX,
            exposure_currency_max=CURRENCY_MAX,
        )  # fmt: skip
        self.book = fresh_book()
        self.history: list[Message] = []
        self.orders: dict[str, BrokerOrder] = {}
        self.events: list[OrderEvent] = []
        self.fills: list[Fill] = []
        self.number = 0
        self.now_ns = NOW
        self.executions = 0
        self.positions = dict.fromkeys(CON_IDS, ZERO)
        self.answers: dict[str, int] = {}

    # -- people and strategies

    def _ask(self, intent: Intent) -> None:
        verdict = decided(intent, self.book, self.limits)
        self.answers[intent.intent_id] = self.answers.get(intent.intent_id, 0) + 1
        assert (verdict.command is None) == bool(verdict.decision.failed)
        if verdict.command is None:
            return
        self.history.append(verdict.command)
        if intent.action is IntentAction.MODIFY:
            self.orders[intent.modifies].coming.append(intent)
        else:
            legs = {leg.leg: BrokerLeg(leg.side.sign, leg.quantity, leg.parent_leg) for leg in intent.legs}
            self.orders[intent.intent_id] = BrokerOrder(intent, legs)
        if not verdict.decision.is_reducing:
            sums = self.book.sums
            assert sums.gross_worst <= GROSS_MAX
            if intent.con_id == CON_IDS[1]:  # a price may carry it over; then an order in another currency is no reason
                assert sums.by_currency.get("EUR", ZERO) <= CURRENCY_MAX
            assert sums.net_high <= NET_MAX and -sums.net_low <= NET_MAX

    @rule(
        con_id=st.sampled_from(CON_IDS), side=st.sampled_from(["BUY", "SELL"]), quantity=st.integers(1, 60),
        kind=st.sampled_from(list(Group)), strategy=st.sampled_from(["a", "b"]), is_fast=st.booleans(),
    )  # fmt: skip
    def place(self, con_id: int, side: str, quantity: int, kind: Group, strategy: str, is_fast: bool) -> None:
        self.number += 1
        if kind is Group.BRACKET:
            intent = bracket_of(self.number, side, quantity, con_id=con_id, strategy=strategy)
        elif kind is Group.OCA:
            legs = (leg_of(side, quantity), leg_of(side, max(1, quantity // 2), number=1))
            intent = intent_of(self.number, legs=legs, con_id=con_id, strategy=strategy, group=kind)
        else:
            intent = intent_of(self.number, side, quantity, con_id=con_id, strategy=strategy)
        self._ask(intent)
        if is_fast and intent.intent_id in self.orders:
            self._open(self.orders[intent.intent_id], is_refused=False)

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), quantity=st.integers(1, 80))
    def modify(self, data: st.DataObject, quantity: int) -> None:
        order = self.orders[data.draw(st.sampled_from(sorted(self.orders)))]
        if order.intent.group is not Group.SINGLE:
            return
        self.number += 1
        target = order.intent
        self._ask(
            modify_of(
                self.number, int(target.intent_id), target.legs[0].side, quantity, con_id=target.con_id,
                strategy=target.strategy,
            )
        )  # fmt: skip

    # -- the gateway and the broker

    def _say(self, order: BrokerOrder, leg: int, state: OrderState) -> None:
        truth, intent = order.legs[leg], order.intent
        self.events.append(
            event_of(
                int(intent.intent_id), state, con_id=intent.con_id, side=intent.legs[leg].side, leg=leg,
                quantity=truth.quantity, filled=truth.filled, strategy=intent.strategy, group=intent.group,
                parent_leg=truth.parent, limit_price=intent.legs[leg].limit_price,
                stop_price=intent.legs[leg].stop_price,
            )
        )  # fmt: skip

    def _fillable(self, order: BrokerOrder, number: int) -> Decimal:
        leg = order.legs[number]
        if not order.is_there or leg.parent is None:
            return leg.left if order.is_there else ZERO
        closed = sum((one.filled for one in order.legs.values() if one.parent is not None), ZERO)
        return min(leg.left, order.legs[0].filled - closed)

    def _open(self, order: BrokerOrder, *, is_refused: bool) -> None:
        order.is_there = True
        for number, leg in order.legs.items():
            leg.is_open = not is_refused
            self._say(order, number, OrderState.EXPIRED if is_refused else OrderState.CLAIMED)

    def _names(self, *, there: bool) -> list[str]:
        return sorted(name for name, order in self.orders.items() if order.is_there is there)

    @precondition(lambda self: self._names(there=False))
    @rule(data=st.data(), is_refused=st.booleans())
    def deliver(self, data: st.DataObject, is_refused: bool) -> None:
        name = data.draw(st.sampled_from(self._names(there=False)))
        self._open(self.orders[name], is_refused=is_refused)

    @precondition(lambda self: any(order.coming for order in self.orders.values()))
    @rule(data=st.data())
    def deliver_modify(self, data: st.DataObject) -> None:
        names = sorted(name for name, one in self.orders.items() if one.coming and one.is_there)
        if not names:
            return
        order = self.orders[data.draw(st.sampled_from(names))]
        intent = order.coming.pop(0)
        leg = order.legs[0]
        if leg.is_open and intent.legs[0].quantity > leg.filled:
            leg.quantity = intent.legs[0].quantity
            self._say(order, 0, OrderState.WORKING)
        else:
            refused = event_of(int(intent.intent_id), OrderState.REFUSED, con_id=intent.con_id, quantity=1)
            self.events.append(refused)

    @precondition(lambda self: self._names(there=True))
    @rule(data=st.data(), share=st.integers(1, 60), says=st.booleans())
    def fill(self, data: st.DataObject, share: int, says: bool) -> None:
        able = [
            (name, number)
            for name in self._names(there=True)
            for number in sorted(self.orders[name].legs)
            if self._fillable(self.orders[name], number) > 0
        ]
        if not able:
            return
        name, number = data.draw(st.sampled_from(able))
        order = self.orders[name]
        leg = order.legs[number]
        quantity = min(D(share), self._fillable(order, number))
        leg.filled += quantity
        self.positions[order.intent.con_id] += leg.sign * quantity
        self.executions += 1
        terms = order.intent.legs[number]
        self.fills.append(
            Fill(
                exec_id=f"e{self.executions}.01", exec_stem=f"e{self.executions}", intent_id=order.intent.intent_id,
                leg=number, strategy=order.intent.strategy, account=ACCOUNT, con_id=order.intent.con_id,
                side=terms.side, quantity=quantity, price=D(100),
            )
        )  # fmt: skip
        is_done = leg.filled == leg.quantity
        leg.is_open = not is_done
        if says or is_done:
            self._say(order, number, OrderState.FILLED if is_done else OrderState.WORKING)
        self._cut_siblings(order, number)

    def _cut_siblings(self, order: BrokerOrder, number: int) -> None:
        for other, leg in order.legs.items():
            same_group = order.intent.group is Group.OCA or (
                leg.parent is not None and order.legs[number].parent is not None
            )
            if other != number and same_group and leg.is_open:
                leg.is_open = False
                self._say(order, other, OrderState.CANCELLED)

    @precondition(lambda self: self._names(there=True))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order = self.orders[data.draw(st.sampled_from(self._names(there=True)))]
        for number, leg in order.legs.items():
            if leg.is_open and (leg.parent is None or order.legs[0].filled < order.legs[0].quantity):
                leg.is_open = False
                self._say(order, number, OrderState.CANCELLED)

    @precondition(lambda self: self._names(there=True))
    @rule(data=st.data())
    def lose_sight(self, data: st.DataObject) -> None:
        order = self.orders[data.draw(st.sampled_from(self._names(there=True)))]
        for number, leg in order.legs.items():
            if leg.is_open:
                self._say(order, number, OrderState.UNKNOWN)

    # -- what reaches the book

    def _hear(self, message: Message) -> None:
        self.book.apply(message, self.book_time())
        self.history.append(message)

    def book_time(self) -> int:
        return self.now_ns

    @rule()
    def time_passes(self) -> None:
        """Ended orders are packed after a minute; what comes late must find them again."""
        self.now_ns += 61 * SECOND

    @precondition(lambda self: self.events)
    @rule(count=st.integers(1, 8))
    def hear_orders(self, count: int) -> None:
        for message in self.events[:count]:
            self._hear(message)
        del self.events[:count]

    @precondition(lambda self: self.fills)
    @rule(count=st.integers(1, 8), twice=st.booleans())
    def hear_fills(self, count: int, twice: bool) -> None:
        for message in self.fills[:count] * (2 if twice else 1):
            self._hear(message)
        del self.fills[:count]

    @rule(con_id=st.sampled_from(CON_IDS), price=st.sampled_from([80.0, 100.0, 120.0, 150.0]))
    def move_price(self, con_id: int, price: float) -> None:
        set_price(self.book, con_id, price)

    @rule()
    def restart(self) -> None:
        """A successor reads the streams: the same book, to the share."""
        successor = fresh_book()
        successor.take_quotes(self.book)
        for message in self.history:
            successor.apply(message, self.book_time())
        for book in (self.book, successor):
            book.advance(self.book_time())
        assert _sums(successor) == _sums(self.book)
        self.book = successor

    @rule()
    def restart_from_a_snapshot(self) -> None:
        """The streams' start is gone: the snapshot knows the same."""
        successor = Book(ACCOUNT, incarnation=INCARNATION, epoch=7)
        load_snapshot(successor, msgpack.unpackb(msgpack.packb(snapshot_of(self.book))))
        successor.breakers.set_stage("none", "")
        for con_id in CON_IDS:
            successor.apply(info(con_id, currency=CURRENCIES[con_id]), self.book_time())
        successor.take_quotes(self.book)
        for book in (self.book, successor):
            book.advance(self.book_time())
        assert _sums(successor) == _sums(self.book)
        self.book = successor

    # -- what must hold

    @invariant()
    def worst_case_stays_within_the_limit(self) -> None:
        for con_id in CON_IDS:
            up = down = ZERO
            for order in self.orders.values():
                if order.intent.con_id != con_id:
                    continue
                for sign, quantity in ((1, _reach(order, 1)), (-1, _reach(order, -1))):
                    up += quantity if sign > 0 else ZERO
                    down += quantity if sign < 0 else ZERO
            assert abs(self.positions[con_id] + up) <= POSITION_MAX
            assert abs(self.positions[con_id] - down) <= POSITION_MAX

    @invariant()
    def running_sums_equal_the_whole_history(self) -> None:
        for con_id in CON_IDS:
            contract = self.book.contract(con_id)
            assert (contract.total, contract.buys, contract.sells) == naive_exposure(self.history, con_id)
            for strategy, (up, down) in contract.strategy_ends.items():
                own, (buys, sells) = (
                    contract.by_strategy.get(strategy, ZERO),
                    contract.strategy_work.get(strategy, (ZERO, ZERO)),
                )
                assert (up, down) == (own + buys, sells - own)

    @invariant()
    def sums_are_the_totals_of_their_contracts(self) -> None:
        self.book.advance(self.book_time())
        sums, contracts = self.book.sums, list(self.book.contracts.values())
        valued = [(one, one.value) for one in contracts if one.value is not None]
        assert sums.gross_worst == sum((one.worst_quantity * value for one, value in valued), ZERO)
        assert sums.gross_position == sum((abs(one.total) * value for one, value in valued), ZERO)
        assert sums.net_high == sum(((one.total + one.buys) * value for one, value in valued), ZERO)
        assert sums.net_low == sum(((one.total - one.sells) * value for one, value in valued), ZERO)
        assert sums.by_currency.get("EUR", ZERO) == sum(
            (one.worst_quantity * value for one, value in valued if one.con_id == CON_IDS[1]), ZERO
        )

    @invariant()
    def the_best_limits_are_those_of_all_that_work(self) -> None:
        for contract in self.book.contracts.values():
            assert best_own(contract) == naive_best(contract)
            assert contract.best_own is None or contract.best_own == naive_best(contract)

    @invariant()
    def each_intent_has_one_answer(self) -> None:
        assert all(count == 1 for count in self.answers.values())


def _reach(order: BrokerOrder, sign: int) -> Decimal:
    """Return what an order can still move the position in one direction, by the broker's own truth."""
    legs = list(order.legs.values())
    coming = [intent.legs[0].quantity for intent in order.coming]
    lefts = [
        (leg, max([leg.quantity, *coming]) - leg.filled if leg.is_open else ZERO) for leg in legs if leg.sign == sign
    ]
    if order.intent.group is Group.OCA:
        return max((left for _, left in lefts), default=ZERO)
    if order.intent.group is Group.BRACKET and lefts and lefts[0][0].parent is not None:
        opened = order.legs[0].filled - sum((leg.filled for leg, _ in lefts), ZERO)
        return min(max(left for _, left in lefts), max(ZERO, opened))
    return sum((left for _, left in lefts), ZERO)


def _sums(book: Book) -> object:
    return (
        book.sums.gross_worst, book.sums.gross_position, book.open_orders,
        [(c.con_id, c.total, c.buys, c.sells, {name: held for name, held in c.by_strategy.items() if held},
          c.open_buys, c.open_sells) for c in (book.contract(con_id) for con_id in CON_IDS)],
    )  # fmt: skip


TestTrading = Trading.TestCase
TestTrading.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
