from __future__ import annotations

from decimal import Decimal

import pytest

from services.gateway.core.order_machine import TABLE, OrderFact, OrderTrack, next_state, status_fact, track_of
from shared.errors import InvariantBroken
from shared.messages.orders import OrderState, Side

S, F = OrderState, OrderFact


def track(**more: object) -> OrderTrack:
    made = OrderTrack("ref", "i" * 20, 0, "demo", "DU1", 1, Side.BUY, Decimal(10), "LMT")
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_every_state_answers_every_fact_the_broker_can_bring() -> None:
    for state in OrderState:
        if state is OrderState.MODIFIED:
            continue  # the outcome of a modify intent, never an order's state
        for fact in OrderFact:
            if fact is not OrderFact.NEVER_SENT:
                assert (state, fact) in TABLE


def test_only_what_was_never_shown_can_have_never_been_sent() -> None:
    allowed = {state for state, fact in TABLE if fact is F.NEVER_SENT}
    assert allowed == {S.CLAIMED, S.UNKNOWN, S.NOT_SENT, S.REFUSED, S.EXPIRED}
    with pytest.raises(InvariantBroken):
        next_state(S.WORKING, F.NEVER_SENT)


def test_unknown_is_left_by_the_brokers_word_only() -> None:
    assert next_state(S.UNKNOWN, F.DOUBTED) is S.UNKNOWN
    assert next_state(S.UNKNOWN, F.WORKING) is S.WORKING
    assert next_state(S.UNKNOWN, F.CANCELLED) is S.CANCELLED


def test_a_repeated_status_does_not_revive_a_cancelled_order_but_a_listing_does() -> None:
    assert next_state(S.CANCELLED, F.WORKING) is S.CANCELLED
    assert next_state(S.CANCELLED, F.LISTED) is S.WORKING
    assert next_state(S.FILLED, F.LISTED) is S.FILLED


def test_an_unlisted_status_word_counts_as_working() -> None:
    assert status_fact("SomethingNew") is F.PENDING
    assert status_fact("Submitted", is_listed=True) is F.LISTED
    assert status_fact("Cancelled", is_listed=True) is F.CANCELLED


def test_executions_fill_an_order_before_any_status() -> None:
    made = track()
    assert made.executed("a.01.01", Decimal(4), Decimal(5))
    assert (made.state, made.filled, made.remaining) == (S.WORKING, Decimal(4), Decimal(6))
    assert made.executed("b.01.01", Decimal(6), Decimal(10))
    assert (made.state, made.filled, made.average_price) == (S.FILLED, Decimal(10), Decimal(8))


def test_a_correction_replaces_and_a_repeat_is_none() -> None:
    made = track()
    made.executed("a.01.01", Decimal(4), Decimal(5))
    assert not made.executed("a.01.01", Decimal(4), Decimal(5))
    assert made.executed("a.01.02", Decimal(3), Decimal(5))
    assert made.filled == 3


def test_a_late_execution_amends_a_cancelled_order() -> None:
    made = track(state=S.CANCELLED)
    made.executed("a.01.01", Decimal(4), Decimal(5))
    assert (made.state, made.filled) == (S.CANCELLED, Decimal(4))
    made.executed("b.01.01", Decimal(6), Decimal(5))
    assert made.state is S.FILLED


def test_a_track_survives_its_event() -> None:
    made = track(perm_id=9, order_id=3, client_id=101, limit_price=Decimal("1.5"), reported=Decimal(2))
    assert track_of(made.event(77)).event(77) == made.event(77)


def test_an_event_and_the_track_it_leaves_have_the_orders_hours() -> None:
    event = track(outside_rth=True).event(1)
    assert event.outside_rth and track_of(event).outside_rth
    assert track(outside_rth=True).face() != track(outside_rth=False).face()
