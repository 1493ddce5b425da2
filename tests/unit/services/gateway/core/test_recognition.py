"""What happened without an execution: named only where two signs agree, and explained to the last share."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.gateway.core.recognition import ContractFacts, Line, recognise, split_ratio
from shared.ids import UNASSIGNED
from shared.messages.account import JournalKind

D = Decimal
TODAY, STOCK, CALL, PUT = "20261126", 10, 20, 21


def stock(expected: int, reported: int, *, before: str = "100", now: str = "100", **shares: int) -> Line:
    facts = ContractFacts(sec_type="STK", symbol="AAPL", average_cost=D(now))
    held = {name: D(quantity) for name, quantity in (shares or {"demo": expected}).items() if quantity}
    return Line(STOCK, D(expected), D(reported), D(before), facts, held)


def option(expected: int, reported: int, *, right: str = "C", expiry: str = "20261218", **shares: int) -> Line:
    facts = ContractFacts(
        sec_type="OPT", symbol="AAPL", strike=D(150), right=right, multiplier=D(100), under_con_id=STOCK, expiry=expiry
    )
    held = {name: D(quantity) for name, quantity in (shares or {"demo": expected}).items()}
    return Line(CALL if right == "C" else PUT, D(expected), D(reported), D(500), facts, held)


def test_a_split_moves_every_owners_share() -> None:
    (event,) = recognise([stock(40, 120, before="300", now="100", demo=30, other=10)], TODAY)
    assert (event.kind, event.change) == (JournalKind.SPLIT, 80) and "3:1" in event.text
    assert event.shares == {"demo": 90, "other": 30}


def test_what_a_reverse_split_cuts_from_owners_belongs_to_nobody() -> None:
    (event,) = recognise([stock(25, 2, before="10", now="100", demo=13, other=12)], TODAY)
    assert event.shares == {"demo": 1, "other": 1}
    (event,) = recognise([stock(38, 3, before="10", now="100", demo=19, other=19)], TODAY)
    assert event.shares == {"demo": 1, "other": 1, UNASSIGNED: 1}


@pytest.mark.parametrize(
    "line",
    [
        stock(10, 20),  # twice the shares at the same cost: bought
        stock(10, 20, before="200", now="150"),
        stock(10, 21, before="200", now="100"),
        stock(10, -20, before="200", now="100"),
        stock(0, 20, before="0", now="100"),
        stock(10, 20, before="0", now="100"),
        stock(10, 0, before="100", now="0"),
    ],
)
def test_quantity_without_its_cost_is_no_split(line: Line) -> None:
    assert recognise([line], TODAY) == []


@given(
    st.fractions(min_value=Fraction(1, 20), max_value=100, max_denominator=20),
    st.lists(st.integers(-5000, 5000), min_size=1, max_size=4),
    st.decimals("0.5", "2000", places=2),
)
def test_any_split_is_recognised_and_explained_to_the_last_share(
    ratio: Fraction, held: list[int], cost: Decimal
) -> None:
    expected = D(sum(held))
    reported = (expected * ratio.numerator / ratio.denominator).to_integral_value(ROUND_DOWN)
    assume(ratio != 1 and reported and ratio.numerator <= 200)
    facts = ContractFacts(sec_type="STK", average_cost=cost * ratio.denominator / ratio.numerator)
    shares = {f"s{at}": D(each) for at, each in enumerate(held)}
    line = Line(STOCK, expected, reported, cost, facts, shares)
    (event,) = recognise([line], TODAY)
    assert sum(event.shares.values()) == reported and event.change == reported - expected
    assert split_ratio(line) is not None


@pytest.mark.parametrize(
    ("position", "right", "shares", "kind"),
    [
        (2, "C", 200, JournalKind.EXERCISE),
        (2, "P", -200, JournalKind.EXERCISE),
        (-2, "C", -200, JournalKind.ASSIGNMENT),
        (-2, "P", 200, JournalKind.ASSIGNMENT),
    ],
)
def test_an_option_that_went_and_the_shares_that_came(
    position: int, right: str, shares: int, kind: JournalKind
) -> None:
    lines = [stock(50, 50 + shares), option(position, 0, right=right)]
    ended, delivered = sorted(recognise(lines, TODAY), key=lambda event: -event.con_id)
    assert (ended.kind, ended.shares, delivered.kind) == (kind, {}, kind)
    assert delivered.shares == {"demo": 50, UNASSIGNED: shares}
    assert delivered.cash == -shares * 150 and delivered.currency == "USD"


def test_a_part_of_a_position_is_assigned_to_who_holds_it() -> None:
    lines = [stock(0, -100), option(-3, -2, zoe=-1, adam=-3, long=1)]
    ended = next(event for event in recognise(lines, TODAY) if event.con_id == CALL)
    assert ended.shares == {"adam": -2, "zoe": -1, "long": 1}


def test_an_option_without_its_shares_is_told_only_on_its_last_day() -> None:
    assert recognise([option(2, 0)], TODAY) == []
    (event,) = recognise([option(2, 0, expiry=TODAY)], TODAY)
    assert (event.kind, event.shares) == (JournalKind.EXPIRY, {})
    assert recognise([option(2, 1, expiry=TODAY)], TODAY) == [], "what expires goes as a whole"


def test_one_is_delivered_and_the_other_expires() -> None:
    lines = [stock(0, 100), option(1, 0, expiry=TODAY), option(1, 0, right="P", expiry=TODAY)]
    kinds = {event.con_id: event.kind for event in recognise(lines, TODAY)}
    assert kinds == {STOCK: JournalKind.EXERCISE, CALL: JournalKind.EXERCISE, PUT: JournalKind.EXPIRY}


def test_shares_that_fit_two_stories_are_not_explained_by_one() -> None:
    twin = replace(option(1, 0, expiry=TODAY), con_id=22)
    assert recognise([stock(0, 100), option(1, 0, expiry=TODAY), twin], TODAY) == []


def test_shares_that_the_options_do_not_account_for_stay_unexplained() -> None:
    assert recognise([stock(0, 150), option(1, 0)], TODAY) == []


def test_a_position_that_went_over_to_another_con_id() -> None:
    old = stock(70, 0, before="12.5", now="0", demo=50, other=20)
    new = Line(99, D(0), D(70), D(0), ContractFacts(sec_type="STK", symbol="META", average_cost=D("12.5")))
    first, second = recognise([new, old], TODAY)
    assert {first.kind, second.kind} == {JournalKind.SYMBOL_CHANGE} and "AAPL became META" in first.text
    assert (first.con_id, first.shares) == (STOCK, {})
    assert (second.con_id, second.shares) == (99, {"demo": 50, "other": 20})
    rival = replace(old, con_id=11)
    assert recognise([new, old, rival], TODAY) == [], "which of the two became it is not known"


@given(st.permutations([stock(0, 100), option(1, 0), Line(5, D(3), D(4), D(0), ContractFacts(sec_type="STK"))]))
def test_the_order_of_the_lines_does_not_matter(lines: list[Line]) -> None:
    found = recognise(lines, TODAY)
    assert {event.con_id for event in found} == {STOCK, CALL}
    assert found == recognise(sorted(lines, key=lambda line: line.con_id), TODAY)
