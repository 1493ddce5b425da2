"""Rules on the state of the system, each by itself: it objects in its state and only there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from services.risk.core.decide import RuleBook, decide
from services.risk.core.exposure import Book
from services.risk.core.rule import Rule
from services.risk.core.rules_state import (
    DataDelayed,
    DataStale,
    Halted,
    NotReady,
    OwnersUnsettled,
    ReduceOnly,
    StrategyPaused,
)
from shared.messages.account import BookMove
from shared.messages.control import BrokerStatus, LinkState
from shared.messages.orders import Decision, RuleResult
from tests.risk_desk import (
    ACCOUNT,
    NOW,
    SECOND,
    D,
    hold,
    intent_of,
    limits_with,
    modify_of,
    ready_book,
    report,
    set_price,
)

LATER = NOW + 20 * SECOND
DOWN = BrokerStatus(instance="g1", state=LinkState.DOWN, is_leader=True, epoch=5)


def _differ(book: Book) -> None:
    hold(book, 1, 10)
    report(book, 1, 50, NOW)


def _contest(book: Book) -> None:
    hold(book, 1, 100)
    hold(book, 1, -60, strategy="unassigned", number=901)


CASES: list[tuple[Rule, Callable[[Book], object]]] = [
    (Halted(), lambda book: book.breakers.set_stage("clean", "drill")),
    (StrategyPaused(), lambda book: book.breakers.set_paused({"s": "why"})),
    (NotReady(), lambda book: book.apply(DOWN, NOW)),
    (ReduceOnly(), _differ),
    (OwnersUnsettled(), _contest),
    (DataStale(), lambda book: set_price(book, 1, 100.0, ts_ns=NOW - 100 * SECOND)),
    (DataDelayed(), lambda book: set_price(book, 1, 100.0, quality=3)),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "spoil"), CASES, ids=lambda one: getattr(one, "code", ""))
def test_a_rule_objects_in_its_state_only(rule: Rule, spoil: Callable[[Book], object]) -> None:
    limits = limits_with(data_age_max_s=110, delayed_data="refuse")
    intent = intent_of(1, valid_until_ns=LATER)
    book = ready_book()
    assert decide(intent, book, limits, LATER, RuleBook([rule])).decision.approved
    book = ready_book()
    if isinstance(rule, DataStale):
        book.contract(1).quote.ts_ns = 0  # the newest time counts: forget the fresh one
    spoil(book)
    assert decide(intent, book, limits, LATER, RuleBook([rule])).decision.code == rule.code


def _assigned(quantity: int, number: int, strategy: str = "s") -> BookMove:
    return BookMove(
        account=ACCOUNT, con_id=1, taken_from="unassigned", strategy=strategy, quantity=D(quantity),
        move_id=f"m{number}", who="anna",
    )  # fmt: skip


def test_a_position_closed_by_hand_leaves_only_reductions_until_it_is_assigned() -> None:
    book, limits = ready_book(), limits_with()

    def ask(side: str, quantity: int, strategy: str = "s", con_id: int = 1) -> Decision:
        return decide(intent_of(1, side, quantity, strategy=strategy, con_id=con_id), book, limits, NOW).decision

    _contest(book)
    for strategy in ("s", "another", "manual"):
        refused = ask("BUY", 1, strategy)
        assert refused.code == "RISK_OWNERS_UNSETTLED" and "`cq positions assign`" in refused.text
        assert "-60" in refused.text and "s 100" in refused.text
        assert ask("SELL", 40, strategy).approved, "what only reduces the account's position passes (P7)"
    assert ask("BUY", 1, con_id=2).approved
    book.apply(_assigned(-59, 1), NOW)
    assert ask("BUY", 1).code == "RISK_OWNERS_UNSETTLED", "one share is still nobody's"
    book.apply(_assigned(-1, 2), NOW)
    assert ask("BUY", 1).approved and ask("SELL", 41).approved


def test_a_change_that_adds_to_a_contested_position_is_refused_and_one_that_shrinks_is_not() -> None:
    book, limits = ready_book(), limits_with()
    opened = intent_of(1, "BUY", 10)
    book.reserve(opened, NOW, decide(opened, book, limits, NOW).rates)
    _contest(book)
    assert decide(modify_of(2, 1, "BUY", 11), book, limits, NOW).decision.code == "RISK_OWNERS_UNSETTLED"
    assert decide(modify_of(3, 1, "BUY", 9), book, limits, NOW).decision.approved


@pytest.mark.parametrize(
    "held",
    [
        {"s": 100, "t": -100},
        {"s": 100, "unassigned": 60},
        {"manual": 100, "unassigned": -60},
        {"unassigned": -60},
    ],
    ids=str,
)
def test_owners_on_one_side_and_strategies_against_each_other_are_settled(held: dict[str, int]) -> None:
    book = ready_book()
    for number, (owner, quantity) in enumerate(held.items(), 901):
        hold(book, 1, quantity, strategy=owner, number=number)
    verdict = decide(intent_of(1, "BUY", 500), book, limits_with(), NOW)
    assert verdict.decision.approved and not verdict.decision.warned


def test_under_limits_of_an_older_set_unsettled_owners_only_warn() -> None:
    book = ready_book()
    _contest(book)
    decision = decide(intent_of(1), book, replace(limits_with(), rules_version=4), NOW).decision
    warned: tuple[RuleResult, ...] = decision.warned
    assert decision.approved and [one.code for one in warned] == ["RISK_OWNERS_UNSETTLED"]
