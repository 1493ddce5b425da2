"""Turn an intent into its one decision and, if approved, its command: the only place that builds a `Command` (P1).

`decide` is pure: it reads the book and changes nothing but cached values. The caller reserves an approval at once
(`reserve`), before the next intent is decided; the written decision entry is the reservation that others read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from services.risk.core.case import Case
from services.risk.core.exposure import Book
from services.risk.core.limits import Limits, LimitSet
from services.risk.core.rule import Finding, Rule
from services.risk.core.rules import MALFORMED, RULES
from services.risk.core.tripping import trip_account, trip_strategy
from shared.messages.base import Message
from shared.messages.orders import Command, Decision, Intent, RuleResult

M = TypeVar("M", bound=Message)
Checks = tuple[Callable[[Case], Finding | None], ...]
_PLANS_MAX = 10_000
_FIELDS: dict[type[Message], set[str]] = {cls: set(cls.model_fields) for cls in (Decision, Command)}
_new, _put = object.__new__, object.__setattr__


class Verdict(NamedTuple):
    """The answer to one intent. `rates` are what `Book.reserve` takes from, if it is approved."""

    decision: Decision
    command: Command | None
    rates: tuple[float, float, float, float]


class RuleBook:
    """The rules in the order in which the first failure decides, with plans of whom to ask.

    A rule is not asked where it cannot object: switched off by the limits ("unlimited", "allow"), about modifies or
    groups where there is none, about trouble while there is none, or sparing orders that reduce. A plan is made once
    per set of limits and kind of case, so a decision calls only what may have something to say.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._plans: dict[int, tuple[LimitSet, dict[int, Checks]]] = {}

    def checks_for(self, case: Case) -> Checks:
        """Return the checks of the rules to ask about one case."""
        limits = case.limits
        plans = self._plans.get(id(limits))
        if plans is None or plans[0] is not limits:
            if len(self._plans) > _PLANS_MAX:
                self._plans.clear()
            plans = self._plans[id(limits)] = (limits, {})
        kind = case.is_reducing + case.is_strategy_reducing
        kind += 3 * case.is_modify + 6 * (len(case.intent.legs) > 1) + 12 * case.is_troubled
        checks = plans[1].get(kind)
        if checks is None:
            checks = plans[1][kind] = tuple(rule.check for rule in self.rules if _is_asked(rule, case))
        return checks


def _is_asked(rule: Rule, case: Case) -> bool:
    is_spared = case.is_strategy_reducing if rule.is_strategy_scoped else case.is_reducing
    return (
        rule.is_on(case.limits)
        and (rule.applies_to_reducing or not is_spared)
        and (case.is_modify or not rule.is_for_modifies)
        and (len(case.intent.legs) > 1 or not rule.is_for_groups)
        and (case.is_troubled or not rule.is_for_trouble)
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
    book.activity.advance(now_ns)
    trip_account(book, limits.base)
    case = Case(intent, book, limits, now_ns)
    trip_strategy(book, intent.strategy, case.limits, now_ns)
    failed: tuple[RuleResult, ...] = ()
    warned: tuple[RuleResult, ...] = ()
    for check in rules.checks_for(case):
        finding = check(case)
        if finding is not None:
            result: RuleResult = check.__self__.result(finding, limits.rules_version)  # type: ignore[attr-defined]
            if result.is_hard:
                failed = (*failed, result)
            else:
                warned = (*warned, result)
    decision = _made(
        Decision,
        {
            "ts_init_ns": now_ns,
            "intent_id": intent.intent_id,
            "approved": not failed,
            "code": failed[0].code if failed else "",
            "text": failed[0].text if failed else "",
            "failed": failed,
            "warned": warned,
            "con_id": intent.con_id,
            "strategy": intent.strategy,
            "account": intent.account,
            "is_reducing": case.is_reducing,
            "intent_ts_ns": intent.ts_init_ns,
        },
    )
    if failed:
        return Verdict(decision, None, case.limits.rates)
    command = _made(
        Command,
        {
            "ts_init_ns": now_ns,
            "intent": intent,
            "not_after_ns": intent.valid_until_ns,
            "incarnation": book.incarnation,
            "is_reducing": case.is_reducing,
            "risk_epoch": book.epoch,
        },
    )
    return Verdict(decision, command, case.limits.rates)


def _made(cls: type[M], values: dict[str, object]) -> M:
    """Return a message of values that need no check: every field is named, and came out of a validated message.

    pydantic would read the intent inside a command again, all legs of it, on the path where each microsecond counts;
    `test_decide.py` compares the result with what the class itself makes.
    """
    message: M = _new(cls)
    _put(message, "__dict__", values)
    _put(message, "__pydantic_fields_set__", _FIELDS[cls])
    _put(message, "__pydantic_extra__", None)
    _put(message, "__pydantic_private__", None)
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
