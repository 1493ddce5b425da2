"""The worst case of a group's legs, case by case, and what ends the doubt about a modify."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.risk.core.legs import Leg, LegFacts, worst_of
from shared.messages.orders import Group, OrderState
from tests.risk_desk import D, event_of, leg_of

PARENT, FAR, NEAR = 0, 1, 2


def facts(parent: int | None, sign: int, working: int, filled: int = 0) -> LegFacts:
    return parent, sign, Decimal(working), Decimal(filled)


@pytest.mark.parametrize(
    ("kind", "legs", "buys", "sells"),
    [
        (Group.SINGLE, [facts(None, 1, 10)], 10, 0),
        (Group.SINGLE, [facts(None, -1, 10)], 0, 10),
        (Group.OCA, [facts(None, -1, 10), facts(None, -1, 7)], 0, 10),
        (Group.OCA, [facts(None, 1, 5), facts(None, -1, 7)], 5, 7),
        (Group.BRACKET, [facts(None, 1, 10), facts(0, -1, 10), facts(0, -1, 10)], 10, 0),
        (Group.BRACKET, [facts(None, 1, 4, 6), facts(0, -1, 10), facts(0, -1, 10)], 4, 6),
        (Group.BRACKET, [facts(None, 1, 0, 10), facts(0, -1, 7, 3), facts(0, -1, 10)], 0, 7),
        (Group.BRACKET, [facts(None, 1, 0, 10), facts(0, -1, 0, 10), facts(0, -1, 0)], 0, 0),
    ],
)
def test_worst_case_of_a_group(kind: Group, legs: list[LegFacts], buys: int, sells: int) -> None:
    assert worst_of(kind, legs) == (buys, sells)


def test_a_leg_counts_the_larger_of_old_and_new_until_the_broker_shows_the_new() -> None:
    leg = Leg(0, 1, D(10))
    leg.reserve(leg_of("BUY", 10))
    leg.apply_event(event_of(1, OrderState.WORKING, filled=D(2)))
    leg.pending["m1"] = (D(30), D("100.00"), None)
    leg.pending["m2"] = (D(5), D("100.00"), None)
    assert leg.working == 28
    leg.apply_event(event_of(1, OrderState.WORKING, quantity=30, filled=D(2)))
    assert list(leg.pending) == ["m2"] and leg.working == 28
    leg.apply_event(event_of(1, OrderState.CANCELLED, quantity=30, filled=D(2)))
    assert leg.working == 0 and leg.filled == 2 and not leg.pending


def test_a_reservation_ends_where_the_broker_has_spoken() -> None:
    leg = Leg(0, 1, D(10))
    leg.apply_event(event_of(1, OrderState.CANCELLED))
    leg.reserve(leg_of("BUY", 10))
    assert not leg.is_open and leg.working == 0
