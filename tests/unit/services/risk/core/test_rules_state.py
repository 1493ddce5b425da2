"""Rules on the state of the system, each by itself: it objects in its state and only there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from services.risk.core.decide import RuleBook, decide
from services.risk.core.exposure import Book
from services.risk.core.rule import Rule
from services.risk.core.rules_state import DataDelayed, DataStale, Halted, NotReady, ReduceOnly, StrategyPaused
from shared.messages.control import BrokerStatus, LinkState
from tests.risk_desk import NOW, SECOND, hold, intent_of, limits_with, ready_book, report, set_price

LATER = NOW + 20 * SECOND
DOWN = BrokerStatus(instance="g1", state=LinkState.DOWN, is_leader=True, epoch=5)


def _differ(book: Book) -> None:
    hold(book, 1, 10)
    report(book, 1, 50, NOW)


CASES: list[tuple[Rule, Callable[[Book], object]]] = [
    (Halted(), lambda book: book.breakers.set_stage("clean", "drill")),
    (StrategyPaused(), lambda book: book.breakers.set_paused({"s": "why"})),
    (NotReady(), lambda book: book.apply(DOWN, NOW)),
    (ReduceOnly(), _differ),
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
