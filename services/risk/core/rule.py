"""Say what a rule is: one class each, asked without acting, stating whom it protects and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from services.risk.core.case import Case
from services.risk.core.limits import LimitSet
from shared.messages.orders import RuleResult

FOREVER_NS = 1 << 63


class Scope(StrEnum):
    """What a rule's limit belongs to."""

    ORDER = "order"
    CONTRACT = "contract"
    STRATEGY = "strategy"
    ACCOUNT = "account"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found wrong. `limit` and `measured` are text with their unit; `text` is a sentence for people."""

    text: str
    limit: str = ""
    measured: str = ""
    is_soft: bool = False
    """A warning this time, although the rule can refuse."""


class Rule:
    """One rule. `check` returns None when it is kept.

    `code` is stable and says who refuses. `applies_to_reducing` is False unless stated: a position can always be
    reduced (P7). `is_strategy_scoped` rules spare only orders that also reduce the strategy's own position.
    """

    code: ClassVar[str]
    scope: ClassVar[Scope]
    limit_name: ClassVar[str] = ""
    """The key in the limits file, "" where there is none."""
    citation: ClassVar[str] = ""
    is_hard: ClassVar[bool] = True
    applies_to_reducing: ClassVar[bool] = False
    is_strategy_scoped: ClassVar[bool] = False
    is_for_trouble: ClassVar[bool] = False
    """Can only object while something is wrong (`Case.is_troubled`); not asked at other times."""
    is_for_modifies: ClassVar[bool] = False
    is_for_groups: ClassVar[bool] = False
    is_about_terms: ClassVar[bool] = False
    """The answer to an order that opens, in regular hours, depends only on its strategy, its contract's definition, the
    limits and the time: while it stays silent, it is not asked again (`silent_until_ns`, `quick.py`)."""
    since: ClassVar[int] = 1
    """The set of rules (`limits.RULES_VERSION`) it came with: under a limits file of an older set it only warns."""

    def check(self, case: Case) -> Finding | None:
        """Return what is wrong with an intent, None if nothing."""
        raise NotImplementedError

    def is_on(self, limits: LimitSet) -> bool:  # noqa: ARG002 - the rules that have a limit read it
        """Return whether these limits can make the rule object at all; one that cannot is not asked."""
        return True

    def silent_until_ns(self, case: Case) -> int:  # noqa: ARG002 - the rules about time read it
        """Return until when a rule about terms that had nothing to say will have nothing to say; wall ns."""
        return FOREVER_NS

    def result(self, finding: Finding, rules_version: int) -> RuleResult:
        """Return a finding as it stands in a decision, under limits that were checked against a set of rules."""
        return RuleResult(
            code=self.code,
            ok=False,
            is_hard=self.is_hard and not finding.is_soft and self.since <= rules_version,
            limit=finding.limit,
            measured=finding.measured,
            text=finding.text,
        )


def plain(value: Decimal | None) -> str:
    """Return a number as people write it: no exponent, no trailing zeros; "unknown" for None."""
    if value is None:
        return "unknown"
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def money(value: Decimal | None, currency: str) -> str:
    """Return an amount with two decimals and its currency."""
    return "unknown" if value is None else f"{value:.2f} {currency}".rstrip()
