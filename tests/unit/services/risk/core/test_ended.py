"""Ended orders are packed, found again by what comes late, and bounded in number and age."""

from __future__ import annotations

import pytest

from services.risk.core import ended
from services.risk.core.ended import KEEP_NS, Ended, pack_group, unpack_group
from services.risk.core.orders import SETTLED_NS
from shared.messages.orders import OrderState
from tests.risk_desk import (
    NOW,
    SECOND,
    D,
    bracket_of,
    command_of,
    decided,
    event_of,
    fill_of,
    intent_of,
    limits_with,
    modify_of,
    number_id,
    ready_book,
    set_price,
)

LATER = NOW + SETTLED_NS + SECOND


def test_a_group_is_packed_and_unpacked_whole() -> None:
    book = ready_book()
    decided(bracket_of(1), book, limits_with())
    book.apply(event_of(1, OrderState.WORKING, filled=D(4)), NOW)
    fill_of(book, 1, 1, "BUY", 5, exec_id="e.01.02")
    decided(modify_of(2, 1, "BUY", 20), book, limits_with())
    group = book.groups[number_id(1)]
    again = unpack_group(pack_group(group))
    assert pack_group(again) == pack_group(group)
    assert (again.buys, again.sells, again.open_buys) == (group.buys, group.sells, group.open_buys)
    assert again.legs[0].executions == {"e.01": (2, D(5))} and again.legs[0].pending


def test_what_ended_leaves_memory_and_a_late_execution_amends_it() -> None:
    book = ready_book()
    decided(intent_of(1), book, limits_with())
    fill_of(book, 1, 1, "BUY", 4, exec_id="e1.01.01")
    book.apply(event_of(1, OrderState.CANCELLED, filled=D(4)), NOW)
    book.apply(event_of(2, OrderState.WORKING), LATER)
    assert number_id(1) not in book.groups and number_id(1) in book.ended
    assert list(book.contract(1).groups) == [number_id(2)]
    fill_of(book, 1, 1, "BUY", 4, exec_id="e1.01.01", now_ns=LATER)
    assert book.contract(1).total == 4, "a fill that is published again counts once"
    fill_of(book, 1, 1, "BUY", 3, exec_id="e1.01.02", now_ns=LATER)
    assert book.contract(1).total == 3, "a correction amends"
    fill_of(book, 1, 1, "BUY", 2, exec_id="e2.01.01", now_ns=LATER)
    assert book.contract(1).total == 5, "an execution found late is added"
    assert book.open_orders == 1 and book.contract(1).buys == 10


def test_a_command_read_again_reserves_nothing_for_what_has_ended() -> None:
    book = ready_book()
    intent = intent_of(1)
    decided(intent, book, limits_with())
    book.apply(event_of(1, OrderState.FILLED), NOW)
    book.apply(event_of(2, OrderState.WORKING), LATER)
    book.apply(command_of(intent), LATER)
    assert book.open_orders == 1


def test_ended_modifies_are_only_names() -> None:
    book = ready_book()
    decided(intent_of(1), book, limits_with())
    book.apply(event_of(1, OrderState.WORKING), NOW)
    modify = modify_of(2, 1, "BUY", 20)
    decided(modify, book, limits_with())
    book.apply(event_of(2, OrderState.MODIFIED), NOW)
    book.apply(event_of(1, OrderState.WORKING, quantity=20), LATER)
    assert not book.modifies and book.ended.is_modify(number_id(2))
    book.apply(event_of(2, OrderState.REFUSED), LATER)
    book.apply(command_of(modify), LATER)
    assert number_id(2) not in book.groups and book.contract(1).buys == 20
    assert book.ended.take(number_id(2)) is None


def test_age_and_number_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Ended()
    for number in range(5):
        kept.put_modify(f"m{number}", NOW + number)
    monkeypatch.setattr(ended, "ENDED_MAX", 3)
    kept.put_modify("m5", NOW + 5)
    assert [key for key, _, _ in kept.rows()] == ["m3", "m4", "m5"] and len(kept) == 3
    kept.put_modify("m6", NOW + 4 + KEEP_NS + 1)
    assert "m4" not in kept and "m5" in kept


def test_a_days_trading_leaves_only_what_works() -> None:
    book = ready_book()
    set_price(book, 1, 100.0)
    limits = limits_with()
    for number in range(1, 500):
        now_ns = NOW + number * SECOND
        decided(intent_of(number, valid_until_ns=now_ns + SECOND), book, limits, now_ns)
        book.apply(event_of(number, OrderState.CANCELLED), now_ns)
    assert len(book.groups) <= SETTLED_NS // SECOND + 2
    assert len(book.ended) + len(book.groups) == 499
