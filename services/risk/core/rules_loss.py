"""Rules of the breakers: what tripped holds back new exposure until a person resumes."""

from __future__ import annotations

from services.risk.core.breakers import Trip
from services.risk.core.case import Case
from services.risk.core.rule import Finding, Rule, Scope
from services.risk.core.tripping import DAILY_LOSS, DRAWDOWN, REJECTS, STRATEGY_DRAWDOWN, STRATEGY_LOSS
from services.risk.core.tripping_seen import ANOMALY, ERRORS, LIQUIDATION, UNPROTECTED
from shared.money import ZERO


class DailyLoss(Rule):
    """After a day's loss above the limit nothing new passes until a person resumes."""

    code = "RISK_DAILY_LOSS_MAX"
    scope = Scope.ACCOUNT
    limit_name = "daily_loss_max, daily_loss_rung"
    citation = "RTS 6 article 15(4) and (5); FIA: intraday loss limits"
    is_for_trouble = True

    def check(self, case: Case) -> Finding | None:
        """Ask the breakers, which latch the loss."""
        return _finding(case, case.book.breakers.trips.get(DAILY_LOSS))


class DrawdownMax(Rule):
    """After a fall from the day's best profit above the limit nothing new passes until a person resumes."""

    code = "RISK_DRAWDOWN_MAX"
    scope = Scope.ACCOUNT
    limit_name = "drawdown_max, drawdown_rung"
    citation = "RTS 6 article 15(4) and (5); FIA: intraday loss limits"
    is_for_trouble = True
    since = 2

    def check(self, case: Case) -> Finding | None:
        """Ask the breakers, which latch the drawdown."""
        return _finding(case, case.book.breakers.trips.get(DRAWDOWN))


class StrategyLossMax(Rule):
    """A strategy that lost more in the trading day than its limit opens nothing until a person resumes it."""

    code = "RISK_STRATEGY_LOSS_MAX"
    scope = Scope.STRATEGY
    limit_name = "strategy_loss_max, strategy_loss_rung, trading_day"
    citation = "RTS 6 article 15(4) and (5)"
    is_for_trouble = True
    is_strategy_scoped = True
    since = 2

    def check(self, case: Case) -> Finding | None:
        """Ask the breakers, which latch the strategy's loss."""
        return _finding(case, case.book.breakers.trips.get(f"{STRATEGY_LOSS}:{case.intent.strategy}"))


class StrategyDrawdownMax(Rule):
    """A strategy whose profit fell too far from the day's best opens nothing until a person resumes it."""

    code = "RISK_STRATEGY_DRAWDOWN_MAX"
    scope = Scope.STRATEGY
    limit_name = "strategy_drawdown_max, strategy_drawdown_rung, trading_day"
    citation = "RTS 6 article 15(4) and (5); FIA: intraday loss limits"
    is_for_trouble = True
    is_strategy_scoped = True
    since = 5

    def check(self, case: Case) -> Finding | None:
        """Ask the breakers, which latch the strategy's drawdown."""
        return _finding(case, case.book.breakers.trips.get(f"{STRATEGY_DRAWDOWN}:{case.intent.strategy}"))


class RejectsMax(Rule):
    """A strategy whose orders the broker rejects again and again opens nothing until a person resumes it."""

    code = "RISK_REJECTS_MAX"
    scope = Scope.STRATEGY
    limit_name = "rejects_max, rejects_rung"
    citation = "RTS 6 article 16; FIA: abnormal message rejection"
    is_for_trouble = True
    is_strategy_scoped = True
    since = 2

    def check(self, case: Case) -> Finding | None:
        """Ask the breakers, which latch the rejections."""
        return _finding(case, case.book.breakers.trips.get(f"{REJECTS}:{case.intent.strategy}"))


class ErrorsMax(Rule):
    """After too many failed orders and unreadable entries in a window nothing new passes until a person resumes."""

    code = "RISK_ERRORS_MAX"
    scope = Scope.ACCOUNT
    limit_name = "errors_max, errors_window_s, errors_rung"
    citation = "RTS 6 article 16; FIA: abnormal message rejection"
    is_for_trouble = True
    since = 3

    def check(self, case: Case) -> Finding | None:
        """Ask the breakers, which latch the errors."""
        return _finding(case, case.book.breakers.trips.get(ERRORS))


class ExecutionAnomaly(Rule):
    """After an execution far from the market, beyond its order, of no known order, or too many, nothing new passes."""

    code = "RISK_EXECUTION_ANOMALY"
    scope = Scope.ACCOUNT
    limit_name = "fill_away_percent, executions_rate_max, anomaly_rung"
    citation = "RTS 6 article 17 (post-trade controls); FIA: repeated automated execution"
    is_for_trouble = True
    since = 3

    def check(self, case: Case) -> Finding | None:
        """Ask the breakers, which latch the anomaly."""
        return _finding(case, case.book.breakers.trips.get(ANOMALY))


class Liquidated(Rule):
    """After the broker closed something for want of margin nothing new passes until a person resumes."""

    code = "RISK_LIQUIDATION"
    scope = Scope.ACCOUNT
    limit_name = "liquidation_rung"
    citation = "RTS 6 article 17; IB liquidates without asking"
    is_for_trouble = True
    since = 3

    def check(self, case: Case) -> Finding | None:
        """Ask the breakers, which latch the liquidation."""
        return _finding(case, case.book.breakers.trips.get(LIQUIDATION))


class ProtectionMissing(Rule):
    """A strategy that needs protection and has held a position without its stops for too long opens nothing more."""

    code = "RISK_PROTECTION_MISSING"
    scope = Scope.STRATEGY
    limit_name = "protection, unprotected_max_s, unprotected_rung"
    citation = "P6; RTS 6 article 15(4)"
    is_for_trouble = True
    is_strategy_scoped = True
    since = 3

    def check(self, case: Case) -> Finding | None:
        """Ask the breakers, which latch the missing stops."""
        return _finding(case, case.book.breakers.trips.get(f"{UNPROTECTED}:{case.intent.strategy}"))


def _finding(case: Case, trip: Trip | None) -> Finding | None:
    if trip is None:
        return None
    if trip.rung == "no_entries" and case.is_modify and case.buys <= ZERO and case.sells <= ZERO:
        return None  # what works may be changed, as long as nothing is added
    text = f"{trip.text}: above the limit of {trip.limit}; cq resume ends it"
    return Finding(text, trip.limit, trip.measured, trip.rung == "warn")
