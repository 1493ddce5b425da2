from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.strategy.api import Order, OrderUpdate, Quote, Side, Strategy
from services.strategy.core.book import MODIFY_CLAIMED
from shared.errors import BadInput
from shared.messages.account import BookMove
from shared.messages.orders import Group, Intent, IntentAction, OrderState, OrderType, TimeInForce
from tests.unit.services.strategy.parts import IBM, T0, decision, event, fill, give_quote, save, unit_of


class Probe(Strategy):
    """Does at the next quote what the test says."""

    def __init__(self) -> None:
        super().__init__(self.Params())
        self.script: Any = lambda: None
        self.result: Any = None
        self.told: list[tuple[str, OrderState, str]] = []

    def on_quote(self, quote: Quote) -> None:
        self.result = self.script()

    def on_order(self, update: OrderUpdate) -> None:
        self.told.append((update.intent_id, update.state, update.by))


class Desk:
    """One unit and the answers that the rest of the system would give."""

    def __init__(self) -> None:
        self.probe = Probe()
        self.unit = unit_of(self.probe)
        self.unit.start(T0, T0)
        save(self.unit, force=True)

    def do(self, script: Any) -> list[Intent]:
        """Run something in a handler and return the intents that left."""
        self.probe.script = script
        give_quote(self.unit)
        self.probe.script = lambda: None
        commit = save(self.unit)
        return list(commit.intents) if commit is not None else []

    def one(self, script: Any) -> Intent:
        (intent,) = self.do(script)
        return intent

    def tell(self, intent: Intent, state: OrderState, *, leg: int = 0, filled: int = 0, **more: Any) -> None:
        message = event(intent, state, filled=filled, leg=leg).model_copy(update=more)
        self.unit.order_event(message, T0, T0, "1-1")

    def filled(self, intent: Intent, quantity: int, *, leg: int = 0, stem: str = "e1") -> None:
        self.unit.fill(fill(intent, quantity, stem=stem, leg=leg), T0, T0, "1-1")

    def hold(self, quantity: int) -> None:
        bought = self.one(lambda: self.probe.buy("IBM", quantity))
        self.filled(bought, quantity, stem="held")
        self.tell(bought, OrderState.FILLED, filled=quantity)

    def change(self, order: str, **terms: Any) -> Intent:
        return self.one(lambda: self.probe.modify(order, **terms))

    def changed(self, change: Intent, state: OrderState, **more: Any) -> None:
        """Be the gateway: the claim of the change, then what became of it."""
        self.tell(change, OrderState.CLAIMED, code=MODIFY_CLAIMED)
        self.tell(change, state, **more)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def target(desk: Desk, quantity: int) -> Decimal | None:
    """Return what `target_position` orders, signed; None if it orders nothing."""
    intents = desk.do(lambda: desk.probe.target_position("IBM", quantity))
    return intents[0].legs[0].side.sign * intents[0].legs[0].quantity if intents else None


@pytest.mark.parametrize("state", [OrderState.PENDING, OrderState.WORKING, OrderState.UNKNOWN, OrderState.INACTIVE])
def test_a_target_counts_filled_and_working_and_unknown(desk: Desk, state: OrderState) -> None:
    desk.hold(3)
    working = desk.one(lambda: desk.probe.buy("IBM", 4, limit=99))
    assert target(desk, 7) is None, "an order counts from the moment it was made"
    desk.tell(working, state)
    assert target(desk, 7) is None
    desk.filled(working, 1)
    assert target(desk, 7) is None, "what has filled is not counted twice"
    desk.tell(working, OrderState.CANCELLED, filled=1)
    assert desk.probe.expected_position("IBM") == 4
    assert target(desk, 7) == 3


def test_what_risk_rejected_counts_no_more(desk: Desk) -> None:
    refused = desk.one(lambda: desk.probe.buy("IBM", 5))
    desk.unit.decision(decision(refused, approved=False), T0, T0, "1-1")
    assert target(desk, 5) == 5


def test_alternatives_that_close_what_is_held_rest_and_others_count_once(desk: Desk) -> None:
    desk.hold(10)
    exits = desk.one(
        lambda: desk.probe.one_cancels_all("IBM", Order(Side.SELL, 10, limit=120), Order(Side.SELL, 10, limit=110))
    )
    assert (exits.group, [leg.leg for leg in exits.legs]) == (Group.OCA, [0, 1])
    assert target(desk, 10) is None
    desk.do(lambda: desk.probe.one_cancels_all("IBM", Order(Side.BUY, 5, limit=90), Order(Side.BUY, 7, limit=80)))
    assert desk.probe.expected_position("IBM") == 17


def test_alternatives_are_two_or_more(desk: Desk) -> None:
    assert desk.do(lambda: desk.probe.one_cancels_all("IBM", Order(Side.SELL, 1, limit=120))) == []
    assert "two or more" in desk.unit.recent_errors[-1].error


def test_a_change_names_the_order_and_keeps_what_is_not_named(desk: Desk) -> None:
    order = desk.one(lambda: desk.probe.buy("IBM", 5, limit=90, tif="GTC", outside_rth=True))
    desk.tell(order, OrderState.WORKING, limit_price=Decimal(90))
    change = desk.change(order.intent_id, limit="91.999")
    (leg,) = change.legs
    assert (change.action, change.modifies, change.group) == (IntentAction.MODIFY, order.intent_id, Group.SINGLE)
    assert (leg.limit_price, leg.quantity, leg.order_type) == (Decimal("91.99"), 5, OrderType.LIMIT)
    assert (leg.tif, leg.outside_rth) == (TimeInForce.GTC, True)
    assert change.intent_id != order.intent_id


def test_a_change_in_doubt_counts_with_the_larger_quantity(desk: Desk) -> None:
    order = desk.one(lambda: desk.probe.buy("IBM", 5, limit=90))
    desk.tell(order, OrderState.WORKING)
    smaller = desk.change(order.intent_id, quantity=2)
    assert desk.probe.expected_position("IBM") == 5
    desk.changed(smaller, OrderState.MODIFIED, quantity=Decimal(2), limit_price=Decimal(90))
    assert desk.probe.expected_position("IBM") == 2
    larger = desk.change(order.intent_id, quantity=8)
    assert desk.probe.expected_position("IBM") == 8
    desk.changed(larger, OrderState.REJECTED, by="broker")
    assert desk.probe.expected_position("IBM") == 2
    assert desk.probe.told[-1] == (larger.intent_id, OrderState.REJECTED, "broker")
    assert len(desk.probe.working_orders()) == 1, "a change is no order"


def test_a_change_that_risk_refuses_leaves_the_order_as_it_is(desk: Desk) -> None:
    order = desk.one(lambda: desk.probe.buy("IBM", 5, limit=90))
    desk.tell(order, OrderState.WORKING)
    change = desk.change(order.intent_id, quantity=500)
    desk.unit.decision(decision(change, approved=False), T0, T0, "1-1")
    assert desk.probe.told[-1] == (change.intent_id, OrderState.REJECTED, "risk")
    assert desk.probe.expected_position("IBM") == 5 and len(desk.probe.working_orders()) == 1


def test_one_change_at_a_time_and_none_that_changes_nothing(desk: Desk) -> None:
    order = desk.one(lambda: desk.probe.buy("IBM", 5, limit=90))
    desk.tell(order, OrderState.WORKING, limit_price=Decimal(90))
    assert desk.do(lambda: desk.probe.modify(order.intent_id, limit=90)) == []
    change = desk.change(order.intent_id, limit=91)
    assert desk.do(lambda: desk.probe.modify(order.intent_id, limit=92)) == []
    desk.changed(change, OrderState.MODIFIED, limit_price=Decimal(91))
    assert desk.do(lambda: desk.probe.modify(order.intent_id, limit=91)) == []
    assert desk.change(order.intent_id, limit=92).legs[0].limit_price == 92


@pytest.mark.parametrize(
    "terms, words", [({"stop": 80}, "cannot become"), ({"quantity": 2}, "filled"), ({"quantity": 0}, "positive")]
)
def test_what_an_order_cannot_become_is_a_sentence(desk: Desk, terms: dict[str, Any], words: str) -> None:
    order = desk.one(lambda: desk.probe.buy("IBM", 5, limit=90))
    desk.tell(order, OrderState.WORKING)
    desk.filled(order, 3)
    assert desk.do(lambda: desk.probe.modify(order.intent_id, **terms)) == []
    assert words in desk.unit.recent_errors[-1].error


def test_an_order_that_has_ended_or_was_never_ours_cannot_be_changed(desk: Desk) -> None:
    order = desk.one(lambda: desk.probe.buy("IBM", 5, limit=90))
    desk.tell(order, OrderState.CANCELLED)
    for name in (order.intent_id, "x" * 20):
        desk.do(lambda name=name: desk.probe.modify(name, limit=91))
        assert desk.unit.recent_errors[-1].error.startswith(BadInput.__name__)


def test_a_change_taken_back_by_an_error_leaves_no_trace(desk: Desk) -> None:
    order = desk.one(lambda: desk.probe.buy("IBM", 5, limit=90))
    desk.tell(order, OrderState.WORKING)

    def fails() -> None:
        desk.probe.modify(order.intent_id, quantity=9)
        raise ValueError("by design")

    assert desk.do(fails) == []
    assert desk.probe.expected_position("IBM") == 5
    assert desk.change(order.intent_id, quantity=9).legs[0].quantity == 9


def test_a_change_under_way_survives_a_move(desk: Desk) -> None:
    order = desk.one(lambda: desk.probe.buy("IBM", 5, limit=90))
    desk.tell(order, OrderState.WORKING)
    change = desk.change(order.intent_id, quantity=8)
    commit = save(desk.unit, T0 + 10**12, force=True)
    assert commit is not None
    moved = Desk()
    moved.unit.restore(
        commit=commit.number, state=commit.state, timers=commit.timers, cursors={}, past=commit.past or b""
    )
    assert moved.probe.expected_position("IBM") == 8
    moved.changed(change, OrderState.MODIFIED, quantity=Decimal(8))
    assert moved.probe.working_orders()[0].quantity == 8 and not moved.probe.working_orders()[0].wanted


def test_close_cancels_what_works_and_what_protects(desk: Desk) -> None:
    desk.hold(5)
    stop = desk.one(lambda: desk.probe.sell("IBM", 5, stop=80))
    desk.probe.script = lambda: desk.probe.close("IBM")
    give_quote(desk.unit)
    commit = save(desk.unit)
    assert commit is not None
    assert [cancel.intent_id for cancel in commit.cancels] == [stop.intent_id]
    assert [(leg.side, leg.quantity) for leg in commit.intents[0].legs] == [(Side.SELL, 5)]


def test_contracts_are_what_the_unit_trades() -> None:
    assert Desk().probe.contract("IBM") is IBM


def test_what_a_person_gives_or_takes_is_the_position_from_then_on() -> None:
    unit = unit_of(Probe())
    move = BookMove(
        account="DU1", con_id=IBM.con_id, strategy="s", quantity=Decimal(10), who="anna", taken_from="unassigned",
        move_id="m1", price=Decimal(50),
    )  # fmt: skip
    for each in (move, move, move.model_copy(update={"move_id": "m2", "strategy": "another"})):
        unit.move(each)
    assert unit.book.position(IBM.con_id) == 10
    assert unit.book.summary({})[f"#{IBM.con_id}"]["average_price"] == "50.0000"
    unit.move(move.model_copy(update={"move_id": "m3", "strategy": "unassigned", "taken_from": "s"}))
    assert unit.book.position(IBM.con_id) == 0
