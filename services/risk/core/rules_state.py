"""Rules on the state of the system: may anything new be sent at all, and do we know what it would be worth."""

from __future__ import annotations

from services.risk.core.case import Case
from services.risk.core.limits import LimitSet
from services.risk.core.quotes import DELAYED
from services.risk.core.rule import Finding, Rule, Scope, plain


class LimitsBroken(Rule):
    """Without a readable limits file nothing new is approved."""

    code = "RISK_LIMITS_BROKEN"
    scope = Scope.SYSTEM
    citation = "P7, P10"
    is_for_trouble = True

    def check(self, case: Case) -> Finding | None:
        """Look for mistakes in the limits file."""
        mistakes = case.limit_book.mistakes
        if not mistakes:
            return None
        more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
        return Finding(f"the limits file cannot be used: {mistakes[0]}{more}")


class Halted(Rule):
    """While halted no order that adds exposure passes."""

    code = "RISK_HALTED"
    scope = Scope.ACCOUNT
    citation = "P6; RTS 6 article 12 (kill functionality); FIA: kill switch"
    is_for_trouble = True

    def check(self, case: Case) -> Finding | None:
        """Ask the breakers."""
        reason = case.book.breakers.halted(case.intent.con_id, case.intent.strategy)
        return Finding(f"trading is halted: {reason}") if reason else None


class NotReady(Rule):
    """Nothing new before the gateway's leader has reconciled in this epoch and incarnation, and its link is READY."""

    code = "RISK_NOT_READY"
    scope = Scope.SYSTEM
    citation = "architecture §4, taking over"
    is_for_trouble = True

    def check(self, case: Case) -> Finding | None:
        """Ask what the gateway announced."""
        book = case.book
        reason = book.readiness.complaint(book.incarnation)
        return Finding(f"not ready: {reason}") if reason else None


class StrategyPaused(Rule):
    """A paused strategy opens nothing."""

    code = "RISK_STRATEGY_PAUSED"
    scope = Scope.STRATEGY
    citation = "RTS 6 article 12"
    is_strategy_scoped = True
    is_for_trouble = True

    def check(self, case: Case) -> Finding | None:
        """Ask the breakers."""
        reason = case.book.breakers.paused(case.intent.strategy)
        return Finding(f"strategy {case.intent.strategy} is paused by {reason}") if reason else None


class ReduceOnly(Rule):
    """Where the broker's position and ours do not add up, only reductions pass (P11)."""

    code = "RISK_REDUCE_ONLY"
    scope = Scope.CONTRACT
    citation = "P11"
    is_for_trouble = True

    def check(self, case: Case) -> Finding | None:
        """Look whether the contract's books differ for longer than they may."""
        contract = case.contract
        if not contract.is_mismatched and not contract.unexplained:
            return None
        return Finding(
            f"the broker shows a position of {plain(contract.broker)}, our books {plain(contract.total)}: "
            "only orders that reduce pass until they add up",
            plain(contract.total),
            plain(contract.broker),
        )


class WouldCrossZero(Rule):
    """An order that would close by our books, but opens the other side by the broker's, is refused."""

    code = "RISK_WOULD_CROSS_ZERO"
    scope = Scope.CONTRACT
    citation = "P11; a strategy's position may have been closed by hand"
    is_for_trouble = True

    def check(self, case: Case) -> Finding | None:
        """Compare with the strategy's own position and with the broker's."""
        contract = case.contract
        if not contract.is_mismatched or contract.broker is None:
            return None
        own = contract.by_strategy.get(case.intent.strategy)
        closes = own is not None and ((case.sells > 0 and own >= case.sells) or (case.buys > 0 and -own >= case.buys))
        if not closes:
            return None
        return Finding(
            f"strategy {case.intent.strategy} holds {plain(own)} by our books, but the broker shows "
            f"{plain(contract.broker)}: the order would open a position on the other side",
            plain(contract.broker),
            plain(case.sells or case.buys),
        )


class DataStale(Rule):
    """No new exposure on old or missing prices."""

    code = "RISK_DATA_STALE"
    scope = Scope.CONTRACT
    limit_name = "data_age_max_s"
    citation = "FIA: market data reasonability"

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a limit."""
        return limits.data_age_max_s is not None

    def check(self, case: Case) -> Finding | None:
        """Compare the age of the last tick with the limit."""
        limit, ts_ns = case.limits.data_age_max_s, case.contract.quote.ts_ns
        if ts_ns and case.mark is not None and case.now_ns - ts_ns <= case.limits.data_age_max_ns:
            return None
        if not ts_ns or case.mark is None:
            return Finding("no price has been seen for this contract", f"{plain(limit)} s", "none")
        age_s = (case.now_ns - ts_ns) / 1e9
        return Finding(f"the last price is {age_s:.1f} s old", f"{plain(limit)} s", f"{age_s:.1f} s")


class DataDelayed(Rule):
    """Delayed prices warn or refuse, as the limits say."""

    code = "RISK_DATA_DELAYED"
    scope = Scope.CONTRACT
    limit_name = "delayed_data"
    citation = "ib-facts A.12"

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether delayed data matter."""
        return limits.delayed_data != "allow"

    def check(self, case: Case) -> Finding | None:
        """Look at the kind of data the last tick was."""
        if case.contract.quote.quality not in DELAYED:
            return None
        choice = case.limits.delayed_data
        return Finding("prices of this contract are delayed (about 15 minutes)", choice, "delayed", choice == "warn")


class MoneyUnknown(Rule):
    """What is unknown in quantity x price x multiplier x rate refuses entries; it is never 1."""

    code = "RISK_MONEY_UNKNOWN"
    scope = Scope.ACCOUNT
    citation = "architecture §2, money"

    def check(self, case: Case) -> Finding | None:
        """Look for unknown factors, of this contract and of what the account holds."""
        if case.order_value is not None and case.added_value is not None and not case.book.sums.unvalued:
            return None
        contract, info = case.contract, case.contract.info
        if case.order_value is None or case.value is None or case.added_value is None:
            if info is not None and case.point is None:
                return Finding(f"the exchange rate of {info.currency} is not known, so the order has no known worth")
            return Finding("the order has no known worth: a price or the contract's multiplier is missing")
        others = [con_id for con_id in case.book.sums.unvalued if con_id != contract.con_id]
        if not others:
            return None
        named = ", ".join(f"#{con_id}" for con_id in others[:3])
        return Finding(f"the account holds {named} of unknown worth, so its exposure is not known", "", named)


class OrderRate(Rule):
    """A token bucket per strategy and one for the account."""

    code = "RISK_ORDER_RATE"
    scope = Scope.STRATEGY
    limit_name = "strategy_rate_per_s, strategy_rate_burst, account_rate_per_s, account_rate_burst"
    citation = "RTS 6 article 15(1)(d); FIA: message throttles"

    def check(self, case: Case) -> Finding | None:
        """Ask both buckets."""
        rates = case.limits.rates
        bucket = case.book.strategy_buckets.get(case.intent.strategy)
        if (bucket is not None and bucket.left(rates[0], rates[1], case.now_ns) < 1) or rates[1] < 1:
            return Finding(
                f"strategy {case.intent.strategy} sends more than {rates[0]:g} orders a second",
                f"{rates[0]:g}/s, burst {rates[1]:g}",
            )
        if case.book.account_bucket.left(rates[2], rates[3], case.now_ns) < 1:
            return Finding(
                f"the account sends more than {rates[2]:g} orders a second", f"{rates[2]:g}/s, burst {rates[3]:g}"
            )
        return None
