"""Exits follow what their entry has filled, and are left alone wherever they fit or nothing is certain."""

from __future__ import annotations

from typing import Any

from services.risk.core.exits import AGAIN_NS, GRACE_NS, CancelExit, Exits, ResizeExit
from services.risk.core.exposure import Book
from shared.messages.orders import Group, OrderState, Side
from tests.risk_desk import (
    NOW,
    D,
    bracket_of,
    decided,
    event_of,
    fill_of,
    limits_with,
    modify_of,
    number_id,
    ready_book,
)

NAME = number_id(1)


def bracket(quantity: int = 100) -> Book:
    book = ready_book()
    assert decided(bracket_of(1, "BUY", quantity), book, limits_with()).command
    for leg in range(3):
        shown(book, leg, OrderState.WORKING, quantity)
    return book


def shown(book: Book, leg: int, state: OrderState, quantity: int = 100, filled: int = 0) -> None:
    more: dict[str, Any] = {"stop_price": D("99.00"), "limit_price": None} if leg == 2 else {}
    if leg == 1:
        more = {"limit_price": D("101.00")}
    book.apply(
        event_of(
            1, state, leg=leg, side=Side.BUY if leg == 0 else Side.SELL, quantity=quantity, filled=D(filled),
            group=Group.BRACKET, parent_leg=None if leg == 0 else 0, **more,
        ),
        NOW,
    )  # fmt: skip


def asked(exits: Exits, book: Book, after_ns: int) -> list[ResizeExit | CancelExit]:
    return exits.step(book.groups.values(), NOW + after_ns)


def test_exits_are_reduced_to_what_a_cancelled_entry_filled_once_the_broker_had_its_time() -> None:
    book, exits = bracket(), Exits()
    shown(book, 0, OrderState.CANCELLED, filled=40)
    assert asked(exits, book, 0) == [] == asked(exits, book, GRACE_NS - 1)
    acts = asked(exits, book, GRACE_NS)
    assert acts == [ResizeExit(NAME, leg, D(40), D(40), D(100)) for leg in (1, 2)]
    assert asked(exits, book, GRACE_NS + 1) == [], "an answer is awaited"
    for leg in (1, 2):
        shown(book, leg, OrderState.WORKING, 40)
    assert asked(exits, book, GRACE_NS + AGAIN_NS) == []


def test_a_change_that_does_not_come_is_asked_for_again() -> None:
    book, exits = bracket(), Exits()
    shown(book, 0, OrderState.CANCELLED, filled=40)
    asked(exits, book, 0)
    assert len(asked(exits, book, GRACE_NS)) == 2
    shown(book, 1, OrderState.WORKING, 40)
    assert asked(exits, book, GRACE_NS + AGAIN_NS) == [ResizeExit(NAME, 2, D(40), D(40), D(100))]


def test_exits_of_a_working_entry_and_of_a_filled_one_are_left_alone() -> None:
    book, exits = bracket(), Exits()
    for filled in (30, 70, 100):
        shown(book, 0, OrderState.FILLED if filled == 100 else OrderState.WORKING, filled=filled)
        assert asked(exits, book, GRACE_NS * filled) == []


def test_what_the_broker_reduced_itself_is_left_alone() -> None:
    book, exits = bracket(), Exits()
    shown(book, 0, OrderState.CANCELLED, filled=40)
    asked(exits, book, 0)
    for leg in (1, 2):
        shown(book, leg, OrderState.WORKING, 40)
    assert asked(exits, book, GRACE_NS) == []
    shown(book, 1, OrderState.WORKING, 40, filled=10)
    assert asked(exits, book, GRACE_NS * 9) == [], "siblings reduce each other at the broker"


def test_an_exit_with_nothing_left_to_close_is_cancelled() -> None:
    book, exits = bracket(), Exits()
    shown(book, 0, OrderState.CANCELLED)
    asked(exits, book, 0)
    assert asked(exits, book, GRACE_NS) == [CancelExit(NAME, leg, "s") for leg in (1, 2)]


def test_what_a_sibling_closed_is_taken_off() -> None:
    book, exits = bracket(), Exits()
    shown(book, 0, OrderState.CANCELLED, filled=40)
    shown(book, 1, OrderState.WORKING, filled=15)
    asked(exits, book, 0)
    assert asked(exits, book, GRACE_NS) == [
        ResizeExit(NAME, 1, D(40), D(40), D(100)),
        ResizeExit(NAME, 2, D(25), D(40), D(100)),
    ]


def test_a_late_execution_lets_a_reduced_exit_grow_but_not_one_that_a_person_made_small() -> None:
    book, exits = bracket(), Exits()
    shown(book, 1, OrderState.WORKING, 20)  # a person wants to close 20 at the limit
    shown(book, 0, OrderState.CANCELLED, filled=40)
    asked(exits, book, 0)
    assert asked(exits, book, GRACE_NS) == [ResizeExit(NAME, 2, D(40), D(40), D(100))]
    shown(book, 2, OrderState.WORKING, 40)
    fill_of(book, 1, 1, "BUY", 60, exec_id="a1.01")
    asked(exits, book, GRACE_NS * 2)
    assert asked(exits, book, GRACE_NS * 3) == [ResizeExit(NAME, 2, D(60), D(60), D(100))]
    shown(book, 2, OrderState.WORKING, 60)
    assert asked(exits, book, GRACE_NS * 20) == []


def test_exits_in_doubt_or_being_changed_wait() -> None:
    book, exits = bracket(), Exits()
    shown(book, 0, OrderState.CANCELLED, filled=40)
    shown(book, 1, OrderState.UNKNOWN)
    change = modify_of(2, 1, "SELL", 50, None)
    terms = change.legs[0].model_copy(update={"leg": 2, "order_type": "STP", "stop_price": D("99.00")})
    assert decided(change.model_copy(update={"legs": (terms,)}), book, limits_with()).command
    asked(exits, book, 0)
    assert asked(exits, book, GRACE_NS) == []
    shown(book, 1, OrderState.WORKING)
    shown(book, 2, OrderState.WORKING, 50)
    assert [act.quantity for act in asked(exits, book, GRACE_NS + 1) if isinstance(act, ResizeExit)] == [D(40), D(40)]


def test_an_entry_that_is_not_known_says_nothing_about_its_exits() -> None:
    book, exits = ready_book(), Exits()
    shown(book, 2, OrderState.WORKING)  # as after a restart: the entry was trimmed
    asked(exits, book, 0)
    assert asked(exits, book, GRACE_NS) == []


def test_a_decision_of_risk_lets_the_change_pass_a_halt() -> None:
    book = bracket()
    shown(book, 0, OrderState.CANCELLED, filled=40)
    book.breakers.set_stage("holding", "stop everything")
    change = modify_of(2, 1, "SELL", 40, "101.00")
    terms = change.legs[0].model_copy(update={"leg": 1})
    verdict = decided(change.model_copy(update={"legs": (terms,)}), book, limits_with())
    assert verdict.command is not None and verdict.command.is_reducing
