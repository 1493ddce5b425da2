"""Decisions and commands are whole messages, and a plan leaves out only rules that could not object."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import product

import pytest

from services.risk.core.breakers import Trip
from services.risk.core.case import Case
from services.risk.core.decide import RULE_BOOK, RuleBook, decide, refuse_malformed
from services.risk.core.exposure import Book
from services.risk.core.profiles import default_limits
from services.risk.core.rule import Rule
from services.risk.core.rules import MALFORMED, RULES
from shared.messages.account import AccountSnapshot, AccountTag
from shared.messages.codec import decode_body, encode_body
from shared.messages.control import BrokerStatus, LinkState
from shared.messages.market import TickKind
from shared.messages.orders import Command, Decision, Intent, OrderState
from tests.risk_desk import (
    ACCOUNT,
    NOW,
    bracket_of,
    decided,
    event_of,
    hold,
    intent_of,
    limits_with,
    modify_of,
    ready_book,
    report,
    set_price,
)


@pytest.mark.parametrize("quantity", [10, 5000])
def test_what_is_built_without_checks_equals_what_the_class_makes(quantity: int) -> None:
    verdict = decide(intent_of(1, quantity=quantity), ready_book(), default_limits(), NOW)
    for made in (verdict.decision, verdict.command):
        if made is None:
            continue
        again = type(made)(**{name: getattr(made, name) for name in type(made).model_fields})
        assert made == again and encode_body(made) == encode_body(again)
        assert made.model_fields_set == set(type(made).model_fields)
        assert made.model_copy() == made and decode_body(type(made).TYPE, encode_body(made)) == made
        assert deepcopy(made) == made and repr(made) == repr(again) and made.model_dump() == again.model_dump()
        assert isinstance(made, Decision | Command)
    assert (verdict.command is None) == (quantity == 5000)


def test_the_first_failed_rule_decides_and_all_are_listed() -> None:
    decision = decide(intent_of(1, quantity=5000, price="400.005"), ready_book(), default_limits(), NOW).decision
    codes = [result.code for result in decision.failed]
    assert codes[0] == decision.code == "RISK_TICK_SIZE"
    assert codes == [rule.code for rule in RULES if rule.code in codes] and len(codes) > 3


def _cases() -> list[Intent]:
    return [
        *(intent_of(at, side, quantity) for at, (side, quantity) in enumerate(product(("BUY", "SELL"), (5, 90)))),
        bracket_of(20),
        modify_of(21, 700, "BUY", 5),
        modify_of(22, 700, "BUY", 50),
        modify_of(23, 701, "BUY", 50),
    ]  # fmt: skip


def _no_day_trades(book: Book) -> None:
    book.apply(AccountSnapshot(account=ACCOUNT, values=(AccountTag(tag="DayTradesRemaining", value="0"),)), NOW)


def _link_down(book: Book) -> None:
    book.apply(BrokerStatus(instance="g1", state=LinkState.DOWN, is_leader=True, epoch=5), NOW)


TROUBLES: dict[str, Callable[[Book], object]] = {
    "none": lambda _: None,
    "halted": lambda book: book.breakers.set_stage("holding", "drill"),
    "paused": lambda book: book.breakers.set_paused({"s": "why"}),
    "down": _link_down,
    "differs": lambda book: report(book, 1, 1000, NOW - 60 * 10**9),
    "delayed": lambda book: set_price(book, 1, 100.0, quality=3),
    "crossed": lambda book: book.apply_tick(1, TickKind.QUOTE, 2, NOW, 101.0, 100.0),
    "day trades": _no_day_trades,
    "loss": lambda book: book.breakers.trip("daily_loss", Trip("lost", "1", "2", "reduce_only")),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("position", [0, 50, -50])
@pytest.mark.parametrize("is_tight", [True, False])
def test_a_plan_only_leaves_out_rules_that_have_nothing_to_say(trouble: str, position: int, is_tight: bool) -> None:
    book = ready_book()
    if position:
        hold(book, 1, position)
    decided(intent_of(700, quantity=10), book, limits_with())
    book.apply(event_of(700, OrderState.WORKING), NOW)
    TROUBLES[trouble](book)
    limits = default_limits("tiny-live") if is_tight else limits_with()
    book.advance(NOW)
    for intent in _cases():
        case = Case(intent, book, limits, NOW)
        asked = {check.__self__.code for check in RULE_BOOK.checks_for(case)}  # type: ignore[attr-defined]
        for rule in RULES:
            is_spared = case.is_strategy_reducing if rule.is_strategy_scoped else case.is_reducing
            is_off = not rule.is_on(limits.base) or (is_spared and not rule.applies_to_reducing)
            if rule.code in asked or is_off:
                continue
            assert rule.check(case) is None, rule.code


def test_plans_are_kept_per_set_of_limits() -> None:
    class Never(Rule):
        code = "RISK_NEVER"

        def check(self, case: Case) -> None:
            return None

    book, wide = ready_book(), limits_with()
    rules = RuleBook([Never(), *RULES])
    first = rules.checks_for(Case(intent_of(1), book, wide, NOW))
    assert rules.checks_for(Case(intent_of(2), book, wide, NOW)) is first
    assert len(rules.checks_for(Case(intent_of(3), book, default_limits(), NOW))) > len(first)


def test_the_answer_to_what_cannot_be_read() -> None:
    decision = refuse_malformed("0" * 20, "no msgpack", "DU1", NOW)
    assert decision.code == MALFORMED == decision.failed[0].code and "no msgpack" in decision.text
