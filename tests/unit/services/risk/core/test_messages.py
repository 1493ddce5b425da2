"""What goes to the broker in a second is counted whole, whoever reads it, and only what opens waits for it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.risk.core.decide import decide
from services.risk.core.exposure import Book
from services.risk.core.messages import WINDOW_NS, MessageCount
from services.risk.core.snapshot import load_snapshot, snapshot_of
from shared.messages.orders import Command, OrderState
from tests.risk_desk import (
    ACCOUNT,
    INCARNATION,
    NOW,
    SECOND,
    bracket_of,
    cancel_of,
    decided,
    event_of,
    hold,
    intent_of,
    limits_with,
    modify_of,
    ready_book,
)

CODE = "RISK_MESSAGE_RATE"


def test_legs_changes_and_the_orders_a_cancel_ends_are_one_message_each() -> None:
    book, limits = ready_book(), limits_with()
    decided(bracket_of(1), book, limits)
    assert book.messages.within(NOW) == 3
    decided(intent_of(2), book, limits)
    book.apply(event_of(2, OrderState.WORKING), NOW)
    decided(modify_of(3, 2, "BUY", 15), book, limits)
    assert book.messages.within(NOW) == 5
    book.apply(cancel_of(1), NOW)
    assert book.messages.within(NOW) == 8, "the three legs of the bracket"
    book.apply(cancel_of(1, leg=1), NOW)
    book.apply(cancel_of(99), NOW)
    assert book.messages.within(NOW) == 10, "one leg, and an order that is not known"


def test_what_opens_waits_and_what_reduces_passes_but_counts() -> None:
    book, limits = ready_book(), limits_with(messages_per_s_max=4)
    hold(book, 1, 100)
    assert decided(bracket_of(1, con_id=2), book, limits).command is not None
    refused = decide(bracket_of(2, con_id=2), book, limits, NOW).decision
    assert refused.code == CODE and (refused.failed[0].limit, refused.failed[0].measured) == ("4/s", "6")
    assert decided(intent_of(3, con_id=2, quantity=1), book, limits).command is not None
    assert decide(intent_of(4, con_id=2, quantity=1), book, limits, NOW).decision.code == CODE
    for number in range(5, 15):
        assert decided(intent_of(number, "SELL", 1), book, limits).command is not None, "it only reduces"
    assert book.messages.within(NOW) == 14
    assert decide(intent_of(20, con_id=2), book, limits, NOW + SECOND - 1).decision.code == CODE
    assert decide(intent_of(20, con_id=2), book, limits, NOW + SECOND).decision.approved


def test_cancels_fill_the_second_too() -> None:
    book, limits = ready_book(), limits_with(messages_per_s_max=2)
    for number in (1, 2):
        book.apply(cancel_of(number), NOW)
    assert decide(intent_of(3), book, limits, NOW).decision.code == CODE
    assert decide(intent_of(3), book, limits, NOW + SECOND).decision.approved


def test_whoever_reads_the_streams_or_a_snapshot_counts_the_same() -> None:
    book, limits = ready_book(), limits_with(messages_per_s_max=5)
    approved = [decided(intent_of(number), book, limits).command for number in (1, 2, 3)]
    reader = ready_book()
    told = [one for one in approved if isinstance(one, Command)]
    for message in (*told, *told, cancel_of(1)):
        reader.apply(message, NOW)
    book.apply(cancel_of(1), NOW)
    successor = Book(ACCOUNT, incarnation=INCARNATION)
    load_snapshot(successor, snapshot_of(book))
    for one in (book, reader, successor):
        assert one.messages.within(NOW) == 4 and one.messages.kept == 4
    for one in (book, reader):
        assert decided(intent_of(4), one, limits).command is not None
        assert decide(intent_of(5), one, limits, NOW).decision.code == CODE


def test_a_rule_that_an_upgrade_brings_only_warns() -> None:
    book, limits = ready_book(), limits_with(messages_per_s_max=0)
    limits.rules_version = 4
    decision = decide(intent_of(1), book, limits, NOW).decision
    assert decision.approved and [one.code for one in decision.warned] == [CODE]


steps = st.lists(
    st.tuples(
        st.sampled_from(["enter", "bracket", "reduce", "cancel"]),
        st.sampled_from([0, 1, SECOND // 10, SECOND // 3, SECOND - 1, SECOND, 5 * SECOND]),
    ),
    max_size=40,
)


@given(limit=st.integers(0, 7), taken=steps, forgets=st.booleans())
def test_no_entry_is_ever_one_message_too_many(limit: int, taken: list[tuple[str, int]], forgets: bool) -> None:
    book, limits, now_ns = ready_book(), limits_with(messages_per_s_max=limit), NOW
    hold(book, 1, 10_000)
    sent: list[tuple[int, int]] = []
    for number, (kind, waits_ns) in enumerate(taken, start=1):
        now_ns += waits_ns
        if forgets and number % 7 == 0:
            count: Any = book.messages.stored()
            book.messages = MessageCount()
            book.messages.restore(count)
        before = sum(count for at_ns, count in sent if at_ns > now_ns - WINDOW_NS)
        assert book.messages.within(now_ns) == before <= book.messages.kept
        if kind == "cancel":
            book.apply(cancel_of(900), now_ns)
            sent.append((now_ns, 1))
            continue
        until_ns = now_ns + SECOND
        if kind == "bracket":
            asked = bracket_of(number, con_id=2, valid_until_ns=until_ns)
        elif kind == "enter":
            asked = intent_of(number, con_id=2, quantity=1, valid_until_ns=until_ns)
        else:
            asked = intent_of(number, "SELL", 1, valid_until_ns=until_ns)
        verdict = decided(asked, book, limits, now_ns)
        legs = len(asked.legs)
        assert (verdict.command is not None) == (kind == "reduce" or before + legs <= limit)
        if verdict.command is not None:
            sent.append((now_ns, legs))


def test_a_clock_that_is_set_back_neither_blocks_for_long_nor_forgets_the_last_second() -> None:
    count = MessageCount()
    count.sent(3, NOW)
    assert count.within(NOW - SECOND // 2) == 3
    assert count.within(NOW - 3600 * SECOND) == 0
    count.sent(1, NOW - SECOND // 2)
    assert count.stored() == [[NOW - SECOND // 2, 4]] and count.kept == 4
    count.sent(1, NOW - 3600 * SECOND)
    assert count.stored() == [[NOW - 3600 * SECOND, 1]] and count.kept == 1
