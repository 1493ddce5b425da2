"""Turn an intent into its one decision and, if approved, its command: the only place that builds a `Command` (P1).

`decide` is pure: it reads the book and changes nothing but cached values. The caller reserves an approval at once
(`reserve`), before the next intent is decided; the written decision entry is the reservation that others read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.risk.core.case import Case
from services.risk.core.exposure import Book
from services.risk.core.limits import Limits
from services.risk.core.rule import Rule
from services.risk.core.rules import MALFORMED, RULES
from shared.messages.orders import Command, Decision, Intent, RuleResult


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one intent. `rates` are what `Book.reserve` takes from, if it is approved."""

    decision: Decision
    command: Command | None
    rates: tuple[float, float, float, float]


def decide(intent: Intent, book: Book, limits: Limits, now_ns: int, rules: Sequence[Rule] = RULES) -> Verdict:
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
    failed: list[RuleResult] = []
    warned: list[RuleResult] = []
    for rule in rules:
        is_spared = case.is_strategy_reducing if rule.is_strategy_scoped else case.is_reducing
        if is_spared and not rule.applies_to_reducing:
            continue
        finding = rule.check(case)
        if finding is not None:
            result = rule.result(finding)
            (failed if result.is_hard else warned).append(result)
    decision = Decision(
        intent_id=intent.intent_id,
        approved=not failed,
        code=failed[0].code if failed else "",
        text=failed[0].text if failed else "",
        failed=tuple(failed),
        warned=tuple(warned),
        con_id=intent.con_id,
        strategy=intent.strategy,
        account=intent.account,
        is_reducing=case.is_reducing,
        intent_ts_ns=intent.ts_init_ns,
        ts_init_ns=now_ns,
    )
    command = None
    if not failed:
        command = Command(
            intent=intent,
            not_after_ns=intent.valid_until_ns,
            incarnation=book.incarnation,
            is_reducing=case.is_reducing,
            risk_epoch=book.epoch,
            ts_init_ns=now_ns,
        )
    return Verdict(decision, command, case.limits.rates)


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
