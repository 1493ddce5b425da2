"""Users' rules come by entry points, are asked, and can hold back anything but a reduction."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from services.risk.core.case import Case
from services.risk.core.decide import decide
from services.risk.core.rule import Finding, Rule, Scope
from services.risk.core.rules import RULES
from services.risk.shell.plugins import GROUP, load_rules
from shared.errors import ConfigError
from tests.risk_desk import NOW, hold, intent_of, limits_with, ready_book


class Never(Rule):
    """A user's rule that is against everything."""

    code = "USER_NEVER"
    scope = Scope.ORDER
    citation = "a house rule"

    def check(self, case: Case) -> Finding | None:
        return Finding(f"never {case.quantity}")


class Greedy(Never):
    code = "USER_GREEDY"
    applies_to_reducing = True


class Unnamed(Never):
    code = "RISK_HALTED"


class Broken(Never):
    def __init__(self) -> None:
        raise RuntimeError("no configuration")


def points(*names: str) -> list[EntryPoint]:
    return [EntryPoint(name, f"{__name__}:{name}", GROUP) for name in names]


def test_a_users_rule_is_asked_after_ours_and_spares_reductions() -> None:
    rules, book = load_rules(points("Never")), ready_book()
    hold(book, 1, 10)
    refused = decide(intent_of(1), book, limits_with(), NOW, rules).decision
    assert (refused.code, refused.text) == ("USER_NEVER", "never 10")
    assert decide(intent_of(2, "SELL", 10), book, limits_with(), NOW, rules).decision.approved
    assert rules.rules[: len(RULES)] == RULES


def test_without_plug_ins_there_are_our_rules() -> None:
    assert load_rules().rules == RULES == load_rules([]).rules


@pytest.mark.parametrize(
    ("name", "word"),
    [("Greedy", "only reduce"), ("Unnamed", "USER_"), ("Broken", "no configuration"), ("Missing", "Missing")],
)
def test_what_cannot_be_used_refuses_the_start(name: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        load_rules(points(name))


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_rules(points("Greedy", "Never", "Unnamed"))
    assert len(caught.value.mistakes) == 2
