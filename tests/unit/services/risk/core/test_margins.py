"""What approved orders may take of the margin counts until they ended, and for answers that may be older than that."""

from __future__ import annotations

from services.risk.core.margins import FORGET_NS, LATE_NS, order_to_ask
from services.risk.core.snapshot import load_snapshot, snapshot_of
from shared.messages.orders import Group, OrderState, OrderType
from tests.risk_desk import (
    NOW,
    SECOND,
    D,
    bracket_of,
    command_of,
    decided,
    event_of,
    intent_of,
    leg_of,
    limits_with,
    modify_of,
    ready_book,
)  # fmt: skip


def test_an_order_counts_while_it_works_and_for_answers_from_before_its_end() -> None:
    book = ready_book()
    command = command_of(intent_of(1)).model_copy(update={"margin_change": D(300)})
    for _ in range(2):
        book.apply(command, NOW)
    assert book.margins.in_use(book.groups, NOW + SECOND) == 300
    book.apply(event_of(1, OrderState.FILLED, filled=D(10)), NOW + 2 * SECOND)
    assert book.margins.in_use(book.groups, NOW + SECOND) == 300, "the broker did not hold it when it was asked"
    assert book.margins.in_use(book.groups, NOW + 3 * SECOND + LATE_NS) == 0
    book.margins.took(intent_of(2), D(-5), NOW + 3 * SECOND + FORGET_NS)
    assert list(book.margins.stored()) == [intent_of(2).intent_id], "what ended long ago is forgotten"


def test_a_modify_counts_with_the_order_it_changes() -> None:
    book = ready_book()
    assert decided(intent_of(1), book, limits_with()).command
    book.apply(event_of(1, OrderState.WORKING), NOW)
    book.margins.took(modify_of(2, 1, "BUY", 20), D(40), NOW)
    assert book.margins.in_use(book.groups, NOW + 10 * SECOND) == 40
    book.apply(event_of(1, OrderState.CANCELLED), NOW + SECOND)
    assert book.margins.in_use(book.groups, NOW + 10 * SECOND) == 0


def test_it_survives_a_snapshot() -> None:
    book = ready_book()
    book.apply(command_of(intent_of(1)).model_copy(update={"margin_change": D(300)}), NOW)
    again = ready_book()
    load_snapshot(again, snapshot_of(book))
    assert again.margins.in_use(again.groups, NOW + SECOND) == 300


def test_one_order_stands_for_an_intent() -> None:
    entry = order_to_ask(bracket_of(1, "SELL", 7), D(7))
    assert (entry.side, entry.quantity, entry.parent_leg) == ("SELL", 7, None)
    legs = (leg_of("BUY", 3), leg_of("BUY", 9, None, 1, order_type=OrderType.MARKET))
    largest = order_to_ask(intent_of(1, legs=legs, group=Group.OCA), D(9))
    assert (largest.leg, largest.quantity) == (0, 9)
    assert order_to_ask(modify_of(2, 1, "BUY", 20), D(12)).quantity == 12
