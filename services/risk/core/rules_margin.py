"""Rules on the margin that the broker itself reckons for an order (`margins.py`); off unless the limits name a share.

A question costs the broker's time: it asks for no more than one what-if a minute and one for ten orders (TWS API
documentation). So these rules are for strategies that trade now and then.
"""

from __future__ import annotations

from services.risk.core.case import Case
from services.risk.core.limits import LimitSet
from services.risk.core.rule import Finding, Rule, Scope, money, plain
from shared.money import ZERO


class MarginUnknown(Rule):
    """An order that adds exposure needs the broker's word on its margin; a question that failed is no answer."""

    code = "RISK_MARGIN_UNKNOWN"
    scope = Scope.ACCOUNT
    limit_name = "what_if_wait_s"
    citation = "SEC 15c3-5(c)(1)(i); TWS API: what-if orders"
    since = 4

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether the broker is asked."""
        return limits.what_if_margin_percent is not None

    def check(self, case: Case) -> Finding | None:
        """Look for the broker's answer."""
        if case.buys <= ZERO and case.sells <= ZERO:
            return None  # a modify that adds nothing
        answer = case.book.margins.answers.get(case.intent.intent_id)
        limit = f"{plain(case.limits.what_if_wait_s)} s"
        if answer is None:
            return Finding("the broker has not been asked what margin this order needs", limit, "not asked")
        if answer.error:
            return Finding(f"the broker did not say what margin this order needs: {answer.error}", limit, "no answer")
        return None


class MarginAfter(Rule):
    """The initial margin after the order, as the broker reckons it, within a share of the equity with loan value."""

    code = "RISK_MARGIN_AFTER"
    scope = Scope.ACCOUNT
    limit_name = "what_if_margin_percent"
    citation = "SEC 15c3-5(c)(1)(i); Regulation T (initial margin); TWS API: what-if orders"
    since = 4

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a limit."""
        return limits.what_if_margin_percent is not None

    def check(self, case: Case) -> Finding | None:
        """Compare the margin after the order, with what other orders may take yet, with the limit."""
        percent, margins = case.limits.what_if_margin_percent, case.book.margins
        answer = margins.answers.get(case.intent.intent_id)
        if percent is None or answer is None or answer.error:
            return None
        after = answer.after + margins.in_use(case.book.groups, answer.asked_ns)
        allowed = percent * answer.equity / 100
        if after <= allowed:
            return None
        base = case.book.sums.base_currency
        shown, most = money(after, base), money(allowed, base)
        return Finding(
            f"the broker reckons an initial margin of {shown} after this order, other orders that work counted; "
            f"{plain(percent)} % of the equity with loan value are {most}",
            most,
            shown,
        )
