"""Rules on how a strategy behaves: the same again, against ourselves, too much in a day, many orders for few fills."""

from __future__ import annotations

from decimal import Decimal

from services.risk.core.activity import repeat_key
from services.risk.core.case import Case
from services.risk.core.limits import LimitSet
from services.risk.core.positions import ContractExposure
from services.risk.core.rule import Finding, Rule, Scope, money, plain
from shared.messages.orders import OrderLeg, Side

_BUY = Side.BUY
ENOUGH_ORDERS = 50
"""Orders of a day before the ratio of orders to executed ones says anything."""


class Duplicate(Rule):
    """The same order of a strategy, again within a moment, is more often a mistake than a wish."""

    code = "RISK_DUPLICATE"
    scope = Scope.STRATEGY
    limit_name = "duplicates, duplicate_window_s"
    citation = "SEC 15c3-5(c)(1)(ii) (duplicative orders)"
    is_strategy_scoped = True
    since = 2

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether duplicates matter."""
        return limits.duplicates != "allow" and limits.duplicate_window_ns > 0

    def check(self, case: Case) -> Finding | None:
        """Look the content up among those approved."""
        limits = case.limits
        seen_ns = case.book.activity.seen_ns(case.intent, case.now_ns - limits.duplicate_window_ns)
        if not seen_ns:
            return None
        ago_s = max(0, case.now_ns - seen_ns) / 1e9
        return Finding(
            f"strategy {case.intent.strategy} asked for the same {ago_s:.2f} s ago",
            f"{plain(limits.duplicate_window_s)} s",
            f"{ago_s:.2f} s",
            limits.duplicates == "warn",
        )


class RepeatsMax(Rule):
    """A strategy that asks for the same side of a contract very often in a day warns or stops until a person looks."""

    code = "RISK_REPEATS_MAX"
    scope = Scope.STRATEGY
    limit_name = "repeats, repeats_max"
    citation = "RTS 6 article 15(3) (repeated automated execution)"
    is_strategy_scoped = True
    since = 2

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a limit."""
        return limits.repeats != "allow" and limits.repeats_max is not None

    def check(self, case: Case) -> Finding | None:
        """Count the orders approved in the day."""
        count, limit = case.book.activity.repeats.get(repeat_key(case.intent), 0) + 1, case.limits.repeats_max
        if limit is None or count <= limit:
            return None
        return Finding(
            f"strategy {case.intent.strategy} asked {count} times today for this side of the contract; "
            "cq resume of the strategy begins to count anew",
            plain(limit),
            str(count),
            case.limits.repeats == "warn",
        )


class OrderEfficiency(Rule):
    """Many orders, changes and cancels for few orders that execute: IB's order efficiency ratio."""

    code = "RISK_ORDER_EFFICIENCY"
    scope = Scope.STRATEGY
    limit_name = "orders_per_fill_max"
    citation = "RTS 9 (ratio of unexecuted orders); IB: order efficiency ratio, above 20 excessive"
    is_hard = False
    is_strategy_scoped = True
    since = 2

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a limit."""
        return limits.orders_per_fill_max is not None

    def check(self, case: Case) -> Finding | None:
        """Compare (orders + changes + cancels) / (executed orders + 1) of the day, as IB does."""
        strategy, activity, limit = case.intent.strategy, case.book.activity, case.limits.orders_per_fill_max
        orders = activity.orders.get(strategy, 0)
        if orders < ENOUGH_ORDERS or limit is None:
            return None
        ratio = orders / (activity.filled.get(strategy, 0) + 1)
        if ratio <= limit:
            return None
        return Finding(
            f"strategy {strategy} placed, changed and cancelled {orders} orders today, {ratio:.0f} per executed one",
            plain(limit),
            f"{ratio:.1f}",
        )


class SelfCross(Rule):
    """No order that could trade with a working order of our own."""

    code = "RISK_SELF_CROSS"
    scope = Scope.CONTRACT
    limit_name = "self_cross"
    citation = "FINRA rule 5210.02 (self-trades); CME rule 534 (wash trades); FIA: self-match prevention"
    since = 2

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether crossing ourselves matters."""
        return limits.self_cross != "allow"

    def check(self, case: Case) -> Finding | None:
        """Compare each leg that may trade at once with the best working order of ours on the other side."""
        contract = case.contract
        if not contract.open_buys and not contract.open_sells:
            return None
        best = contract.best_own
        if best is None:
            best = contract.best_own = best_own(contract)
        legs = case.intent.legs
        for leg in legs[:1] if legs[0].parent_leg is None and len(legs) > 1 and legs[1].parent_leg == 0 else legs:
            against = best[1] if leg.side is _BUY else best[0]
            if against is not None and leg.stop_price is None and _reaches(leg, against):
                choice, own = case.limits.self_cross, "sell" if leg.side is _BUY else "buy"
                return Finding(
                    f"leg {leg.leg} could trade with our own working {own} order at {plain(against)}",
                    choice,
                    plain(against),
                    choice == "warn",
                )
        return None


def _reaches(leg: OrderLeg, against: Decimal) -> bool:
    if leg.limit_price is None:
        return True
    return leg.limit_price >= against if leg.side is _BUY else leg.limit_price <= against


def best_own(contract: ContractExposure) -> tuple[Decimal | None, Decimal | None]:
    """Return the highest buy limit and the lowest sell limit that work; stops and children that wait do not."""
    resting = contract.resting.values()
    buys, sells = [buy for buy, _ in resting if buy is not None], [sell for _, sell in resting if sell is not None]
    return max(buys, default=None), min(sells, default=None)


class TurnoverDayMax(Rule):
    """What the account bought and sold in a trading day, in base currency, with this order."""

    code = "RISK_TURNOVER_DAY_MAX"
    scope = Scope.ACCOUNT
    limit_name = "turnover_day_max, trading_day"
    citation = "FIA: daily traded value; SEC 15c3-5(c)(1)(i)"
    since = 2

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a limit."""
        return limits.turnover_day_max is not None

    def check(self, case: Case) -> Finding | None:
        """Add the order's money to the day's."""
        limit, value = case.limits.turnover_day_max, case.order_value
        if limit is None or value is None:
            return None
        after = case.book.activity.turnover + value
        if after <= limit:
            return None
        base = case.book.sums.base_currency
        shown, allowed = money(after, base), money(limit, base)
        return Finding(f"the day's turnover would be {shown}; {allowed} is allowed", allowed, shown)


class TradesDayMax(Rule):
    """How many executions the account may have in a trading day."""

    code = "RISK_TRADES_DAY_MAX"
    scope = Scope.ACCOUNT
    limit_name = "trades_day_max, trading_day"
    citation = "RTS 6 article 15(1)(d) (maximum messages); FIA: trade count"
    since = 2

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a limit."""
        return limits.trades_day_max is not None

    def check(self, case: Case) -> Finding | None:
        """Count the day's executions with one more."""
        count, limit = case.book.activity.trades + 1, case.limits.trades_day_max
        if limit is None or count <= limit:
            return None
        return Finding(f"the account traded {count - 1} times today", plain(limit), str(count))
