"""Turn an intent into its one decision and, if approved, its command: the only place that builds a `Command` (P1).

Nearly every approval is proven in one go (`quick.py`); where that fails, every rule is asked by itself, so that a
rejection lists everything that is wrong. Both ways answer the same.

`decide` is pure: it reads the book and changes nothing but cached values. The caller reserves an approval at once
(`reserve`), before the next intent is decided; the written decision entry is the reservation that others read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import count
from typing import Any, NamedTuple

from services.risk.core.case import Case
from services.risk.core.exposure import Book
from services.risk.core.limits import Limits, Stage
from services.risk.core.quick import COVERED, proves
from services.risk.core.rule import Finding, Rule
from services.risk.core.rules import MALFORMED, RULES
from services.risk.core.terms import MINUTE_NS, Terms, answer_to
from services.risk.core.tripping import ACCOUNT, note_own_profit, trip_account, trip_strategy
from shared.messages.base import put_together
from shared.messages.orders import Command, Decision, Intent, IntentAction, RuleResult, Side

Checks = tuple[Callable[[Case], Finding | None], ...]
_KINDS = 24
"""Kinds of case: how far it reduces, is it a modify, is it a group, is something wrong."""
_DECISION_FIELDS, _COMMAND_FIELDS = set(Decision.model_fields), set(Command.model_fields)
_PLACE, _OBSERVE, _BUY = IntentAction.PLACE, Stage.OBSERVE, Side.BUY


class Verdict(NamedTuple):
    """The answer to one intent. `rates` are what `Book.reserve` takes from, if it is approved."""

    decision: Decision
    command: Command | None
    rates: tuple[float, float, float, float]


_new_tuple = tuple.__new__


class RuleBook:
    """The rules in the order in which the first failure decides, with plans of whom to ask.

    A rule is not asked where it cannot object: switched off by the limits ("unlimited", "allow"), about modifies or
    groups where there is none, about trouble while there is none, or sparing orders that reduce. A plan is made once
    per set of limits and kind of case, so a decision calls only what may have something to say.
    """

    _made = count()

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._offset = next(RuleBook._made) * _KINDS
        self._about_terms = [rule for rule in rules if rule.is_about_terms]
        self._others = [rule for rule in rules if not (rule.is_about_terms or _is_proven_silent(rule))]

    def checks_for(self, case: Case) -> Checks:
        """Return the checks of the rules to ask about one case."""
        kind = self._offset + case.is_reducing + case.is_strategy_reducing
        if case.is_modify:
            kind += 3
        if len(case.intent.legs) > 1:
            kind += 6
        if case.is_troubled:
            kind += 12
        checks: Checks | None = case.limits.plans.get(kind)
        if checks is None:
            checks = case.limits.plans[kind] = tuple(rule.check for rule in self.rules if _is_asked(rule, case))
        return checks

    def proven(self, intent: Intent, book: Book, limits: Limits, now_ns: int) -> Verdict | None:
        """Return the approval of an order if it is proven that no rule objects to it; None if it is not.

        The book has been brought up to `now_ns`.
        """
        asked = intent.__dict__  # a message answers for an attribute three times slower than its dict does
        contract, legs = book.contracts.get(asked["con_id"]), asked["legs"]
        leg = legs[0].__dict__
        if (
            contract is None
            or len(legs) > 1
            or leg["stop_price"] is not None
            or leg["outside_rth"]
            or asked["action"] is not _PLACE
        ):
            return None
        if contract.is_price_old:
            book.sums.refresh(contract)
        terms: Terms | None = contract.terms.get(asked["strategy"])
        if (
            terms is None
            or terms.limit_book is not limits
            or not terms.from_ns <= now_ns < terms.until_ns
            or terms.owner is not self
        ):
            terms = self._terms(intent, book, limits, now_ns)
        if now_ns >= terms.due_ns or book.activity.rejects:
            trip_strategy(book, terms.strategy, terms.limits, now_ns)
            if terms.limits.strategy_loss_max is not None:
                terms.due_ns = book.profits_due_ns[terms.strategy]
        if not terms.is_plain:
            return None
        is_reducing = proves(intent, asked, leg, book, contract, terms, now_ns)
        if is_reducing is None or (self._others and not self._others_are_silent(intent, book, limits, now_ns)):
            return None
        return _approved(intent, asked, book, now_ns, terms.rates, terms.answer.copy(), is_reducing)

    def _terms(self, intent: Intent, book: Book, limits: Limits, now_ns: int) -> Terms:
        """Resolve the limits of a strategy in a contract, and ask the rules about these terms."""
        case = Case(intent, book, limits, now_ns)
        case.is_reducing = case.is_strategy_reducing = False
        terms = Terms(self, limits, intent.strategy, case.contract, book, now_ns)
        for rule in self._about_terms:
            if not rule.is_on(terms.limits):
                continue
            if rule.check(case) is not None:
                terms.is_plain = False
            terms.until_ns = min(terms.until_ns, rule.silent_until_ns(case))
        if not terms.is_plain:
            terms.until_ns = terms.from_ns + MINUTE_NS
        case.contract.terms[intent.strategy] = terms
        return terms

    def _others_are_silent(self, intent: Intent, book: Book, limits: Limits, now_ns: int) -> bool:
        case = Case(intent, book, limits, now_ns)
        case.is_reducing = case.is_strategy_reducing = False
        return all(rule.check(case) is None for rule in self._others if _is_asked(rule, case))


def _is_proven_silent(rule: Rule) -> bool:
    return type(rule) in COVERED or rule.is_for_trouble or rule.is_for_modifies or rule.is_for_groups


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
    """Return the decision of every rule about an intent, with the command if no hard rule failed.

    Args:
        intent: what is asked for.
        book: the account, read up to now.
        limits: what is allowed.
        now_ns: wall time.
        rules: in the order in which the first failure decides.
    """
    if book.sums.dirty or now_ns >= book.due_ns or book.breakers.pnl_seen_for is not limits.base:
        _bring_up(book, limits, now_ns)
    return rules.proven(intent, book, limits, now_ns) or _by_rules(intent, book, limits, now_ns, rules)


def _bring_up(book: Book, limits: Limits, now_ns: int) -> None:
    if book.sums.dirty or book.differing:
        book.advance(now_ns)
    if now_ns >= book.activity.until_ns:
        book.activity.advance(now_ns)
    if now_ns >= book.profits_due_ns.get(ACCOUNT, 0):
        note_own_profit(book, now_ns)
    if book.breakers.pnl_seen_for is not limits.base:
        trip_account(book, limits.base)
    book.due_ns = 0 if book.differing else min(book.activity.until_ns, book.profits_due_ns[ACCOUNT])


def decide_by_rules(intent: Intent, book: Book, limits: Limits, now_ns: int, rules: RuleBook = RULE_BOOK) -> Verdict:
    """Evaluate every rule by itself; as `decide`, for all that the quick proof does not cover."""
    _bring_up(book, limits, now_ns)
    return _by_rules(intent, book, limits, now_ns, rules)


def _by_rules(intent: Intent, book: Book, limits: Limits, now_ns: int, rules: RuleBook) -> Verdict:
    case = Case(intent, book, limits, now_ns)
    trip_strategy(book, intent.strategy, case.limits, now_ns)
    if book.breakers.trips:
        case.is_troubled = True
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
    if not failed:
        answer = answer_to(intent.strategy, intent.con_id, intent.account, warned)
        margin = book.margins.answers.get(intent.intent_id)
        change = None if margin is None or margin.error else margin.change
        return _approved(intent, intent.__dict__, book, now_ns, case.limits.rates, answer, case.is_reducing, change)
    decision = Decision(
        intent_id=intent.intent_id,
        approved=False,
        code=failed[0].code,
        text=failed[0].text,
        failed=failed,
        warned=warned,
        con_id=intent.con_id,
        strategy=intent.strategy,
        account=intent.account,
        is_reducing=case.is_reducing,
        intent_ts_ns=intent.ts_init_ns,
        ts_init_ns=now_ns,
    )
    return Verdict(decision, None, case.limits.rates)


def _approved(
    intent: Intent,
    asked: dict[str, Any],
    book: Book,
    now_ns: int,
    rates: tuple[float, float, float, float],
    answer: dict[str, object],
    is_reducing: bool,  # noqa: FBT001 - on the way of every order, where a keyword costs
    margin_change: Decimal | None = None,
) -> Verdict:
    # Put together by hand: pydantic would read the intent inside a command again, all legs of it. `test_decide.py`
    # compares with what the class makes. `answer` becomes the decision's own; `asked` is what is in the intent.
    answer["ts_init_ns"] = now_ns
    answer["intent_id"] = asked["intent_id"]
    answer["intent_ts_ns"] = asked["ts_init_ns"]
    values = book.stamp.copy()
    values["ts_init_ns"] = now_ns
    values["intent"] = intent
    values["not_after_ns"] = asked["valid_until_ns"]
    if is_reducing:
        answer["is_reducing"] = values["is_reducing"] = True
    if margin_change is not None:
        values["margin_change"] = margin_change
    decision, command = put_together(Decision, answer, _DECISION_FIELDS), put_together(Command, values, _COMMAND_FIELDS)
    return _new_tuple(Verdict, (decision, command, rates))


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
