"""Turn an intent into its one decision and, if approved, its command: the only place that builds a `Command` (P1).

`decide` is pure: it reads the book and changes nothing but cached values. The caller reserves an approval at once
(`reserve`), before the next intent is decided; the written decision entry is the reservation that others read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.risk.core.case import Case
from services.risk.core.exposure import Book
from services.risk.core.limits import Limits, LimitSet
from services.risk.core.rule import Finding, Rule
from services.risk.core.rules import MALFORMED, RULES
from shared.messages.base import Message
from shared.messages.orders import Command, Decision, Intent, RuleResult

M = TypeVar("M", bound=Message)
_PLANS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one intent. `rates` are what `Book.reserve` takes from, if it is approved."""

    decision: Decision
    command: Command | None
    rates: tuple[float, float, float, float]


class RuleBook:
    """The rules in the order in which the first failure decides, with a plan per set of limits: whom to ask.

    A rule that a set of limits switches off ("unlimited", "allow") is not asked under it; who spares an order that
    reduces is known beforehand too, so a decision only calls what can object.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._plans: dict[int, tuple[LimitSet, tuple[tuple[Rule, ...], ...]]] = {}

    def rules_for(self, case: Case) -> tuple[Rule, ...]:
        """Return the rules to ask about one case."""
        limits = case.limits
        plan = self._plans.get(id(limits))
        if plan is None or plan[0] is not limits:
            if len(self._plans) > _PLANS_MAX:
                self._plans.clear()
            plan = self._plans[id(limits)] = (limits, self._plan(limits))
        return plan[1][case.is_reducing + case.is_strategy_reducing]

    def _plan(self, limits: LimitSet) -> tuple[tuple[Rule, ...], ...]:
        """Return whom to ask about orders that add, that reduce the account only, and the strategy's own too."""
        on = [rule for rule in self.rules if rule.is_on(limits)]
        return (
            tuple(on),
            tuple(rule for rule in on if rule.applies_to_reducing or rule.is_strategy_scoped),
            tuple(rule for rule in on if rule.applies_to_reducing),
        )


RULE_BOOK = RuleBook(RULES)


def decide(intent: Intent, book: Book, limits: Limits, now_ns: int, rules: RuleBook = RULE_BOOK) -> Verdict:
    """Evaluate every rule and return the decision, with the command if no hard rule failed.

    Args:
        intent: what is asked for.
        book: the account, read up to now.
        limits: what is allowed.
        now_ns: wall time.
        rules: in the order in which the first failure decides.
    """
    book.advance(now_ns)
    book.breakers.check_loss(limits.base.daily_loss_max)
    case = Case(intent, book, limits, now_ns)
    found: list[tuple[Rule, Finding]] | None = None
    for rule in rules.rules_for(case):
        finding = rule.check(case)
        if finding is not None:
            found = [] if found is None else found
            found.append((rule, finding))
    results = () if found is None else [rule.result(finding) for rule, finding in found]
    failed = tuple(result for result in results if result.is_hard) if results else ()
    decision = _made(
        Decision,
        intent_id=intent.intent_id,
        approved=not failed,
        code=failed[0].code if failed else "",
        text=failed[0].text if failed else "",
        failed=failed,
        warned=tuple(result for result in results if not result.is_hard) if results else (),
        con_id=intent.con_id,
        strategy=intent.strategy,
        account=intent.account,
        is_reducing=case.is_reducing,
        intent_ts_ns=intent.ts_init_ns,
        ts_init_ns=now_ns,
    )
    command = None
    if not failed:
        command = _made(
            Command,
            intent=intent,
            not_after_ns=intent.valid_until_ns,
            incarnation=book.incarnation,
            is_reducing=case.is_reducing,
            risk_epoch=book.epoch,
            ts_init_ns=now_ns,
        )
    return Verdict(decision, command, case.limits.rates)


def _made(cls: type[M], **values: object) -> M:
    """Return a message of values that need no check: every field is named, and came out of a validated message.

    pydantic would read the intent inside a command again, all legs of it, on the path where each microsecond counts;
    `test_decide.py` compares the result with what the class itself makes.
    """
    message = cls.__new__(cls)
    put = object.__setattr__
    put(message, "__dict__", values)
    put(message, "__pydantic_fields_set__", set(values))
    put(message, "__pydantic_extra__", None)
    put(message, "__pydantic_private__", None)
    return message


def refuse_malformed(intent_id: str, error: str, account: str, now_ns: int) -> Decision:
    """Return the answer to an intent whose id is known, but which cannot be read otherwise."""
    text = f"the intent cannot be read: {error}"
    return Decision(
        intent_id=intent_id,
        approved=False,
        code=MALFORMED,
        text=text,
        failed=(RuleResult(code=MALFORMED, ok=False, text=text),),
        account=account,
        ts_init_ns=now_ns,
    )
