"""Rules on the worst case: what the account and a strategy could hold if everything that works were filled (P7)."""

from __future__ import annotations

from decimal import Decimal

from services.risk.core.case import Case
from services.risk.core.limits import LimitSet
from services.risk.core.rule import Finding, Rule, Scope, money, plain
from shared.messages.orders import Side
from shared.money import ZERO

_BUY = Side.BUY
_HUNDRED = Decimal(100)


class PositionMax(Rule):
    """The account's worst-case position in a contract, in shares and in money."""

    code = "RISK_POSITION_MAX"
    scope = Scope.CONTRACT
    limit_name = "position_quantity_max, position_notional_max"
    citation = "SEC 15c3-5(c)(1)(i); RTS 6 article 15(5); FIA: maximum intraday position"

    def check(self, case: Case) -> Finding | None:
        """Compare the worst case after the order with both limits."""
        return _position_finding(
            case, case.worst_after, case.limits.position_quantity_max, case.limits.position_notional_max, "the account"
        )


class StrategyPositionMax(Rule):
    """A strategy's own worst-case position in a contract, in shares and in money."""

    code = "RISK_STRATEGY_POSITION_MAX"
    scope = Scope.STRATEGY
    limit_name = "strategy_position_quantity_max, strategy_position_notional_max"
    citation = "RTS 6 article 15(4) and (5)"
    is_strategy_scoped = True

    def check(self, case: Case) -> Finding | None:
        """Compare the strategy's worst case after the order with both limits."""
        own = case.contract.by_strategy.get(case.intent.strategy, ZERO)
        up = own + case.own_buys + case.buys
        down = case.own_sells + case.sells - own
        return _position_finding(
            case,
            up if up > down else down,  # what may be added is never negative, so one of the two ends is the worst
            case.limits.strategy_position_quantity_max,
            case.limits.strategy_position_notional_max,
            f"strategy {case.intent.strategy}",
        )


def _position_finding(
    case: Case, worst: Decimal, quantity_max: Decimal | None, notional_max: Decimal | None, whose: str
) -> Finding | None:
    if quantity_max is not None and worst > quantity_max:
        return Finding(
            f"{whose} could hold {plain(worst)} of this contract if all works fill; {plain(quantity_max)} is allowed",
            plain(quantity_max),
            plain(worst),
        )
    if notional_max is None or case.value is None:
        return None
    value = worst * case.value
    if value <= notional_max:
        return None
    base = case.book.sums.base_currency
    shown, allowed = money(value, base), money(notional_max, base)
    return Finding(f"{whose} could hold {shown} of this contract; {allowed} is allowed", allowed, shown)


class ExposureGrossMax(Rule):
    """The sum of all contracts' worst cases in base currency (the guide's MAX_TOTAL_EXPOSURE)."""

    code = "RISK_EXPOSURE_GROSS_MAX"
    scope = Scope.ACCOUNT
    limit_name = "exposure_gross_max"
    citation = "SEC 15c3-5(c)(1)(i); RTS 6 article 15(4)"

    def check(self, case: Case) -> Finding | None:
        """Compare the account's gross worst case after the order with the limit."""
        limit = case.limits.exposure_gross_max
        if limit is None or case.added_value is None:
            return None
        after = case.book.sums.gross_worst + case.added_value
        if after <= limit:
            return None
        base = case.book.sums.base_currency
        shown, allowed = money(after, base), money(limit, base)
        return Finding(f"the account's exposure could reach {shown}; {allowed} is allowed", allowed, shown)


class BuyingPower(Rule):
    """What works and this order must fit into a share of the buying power that the broker shows."""

    code = "RISK_BUYING_POWER"
    scope = Scope.ACCOUNT
    limit_name = "buying_power_share"
    citation = "SEC 15c3-5(c)(1)(i); IB error 201 (margin)"

    def check(self, case: Case) -> Finding | None:
        """Compare all opening work, recent fills included, with the buying power."""
        share = case.limits.buying_power_share
        book = case.book
        if share is None or case.added_value is None or case.added_value <= ZERO:
            return None
        if book.buying_power is None:
            return Finding("the broker has not shown the account's buying power yet", plain(share), "unknown")
        allowed = book.buying_power * share
        needed = book.sums.gross_worst - book.sums.gross_position + book.filled_since + case.added_value
        if needed <= allowed:
            return None
        base = book.sums.base_currency
        return Finding(
            f"this order with all that works needs {money(needed, base)}; the buying power is {money(allowed, base)}",
            money(allowed, base),
            money(needed, base),
        )


class OpenOrdersMax(Rule):
    """How many orders may work: in all, and per contract and side, where IB refuses the sixteenth."""

    code = "RISK_OPEN_ORDERS_MAX"
    scope = Scope.ACCOUNT
    limit_name = "open_orders_max, open_orders_side_max"
    citation = "IB error 201 (15 orders per contract and side); RTS 6 article 15(1)(d)"

    def check(self, case: Case) -> Finding | None:
        """Count open legs with the intent's."""
        if case.is_modify:
            return None
        limits, contract, legs = case.limits, case.contract, case.intent.legs
        total = case.book.open_orders + len(legs)
        if limits.open_orders_max is not None and total > limits.open_orders_max:
            allowed = plain(limits.open_orders_max)
            return Finding(f"{total} orders would work; {allowed} are allowed", allowed, str(total))
        is_buy = legs[0].side is _BUY
        count = contract.open_buys if is_buy else contract.open_sells
        count += 1 if len(legs) == 1 else len([leg for leg in legs if (leg.side is _BUY) is is_buy])
        limit = limits.open_orders_side_max
        if limit is None or count <= limit:
            return None
        side = "buy" if is_buy else "sell"
        return Finding(
            f"{count} {side} orders would work in this contract; {plain(limit)} are allowed", plain(limit), str(count)
        )


class ExposureNetMax(Rule):
    """The account's net exposure, long less short, if all buys (or all sells) fill."""

    code = "RISK_EXPOSURE_NET_MAX"
    scope = Scope.ACCOUNT
    limit_name = "exposure_net_max"
    citation = "SEC 15c3-5(c)(1)(i); FIA: net position limits"
    since = 2

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a limit."""
        return limits.exposure_net_max is not None

    def check(self, case: Case) -> Finding | None:
        """Compare both ends of the account's net worst case with the limit."""
        limit, value, sums = case.limits.exposure_net_max, case.value, case.book.sums
        if limit is None or value is None:
            return None
        high, low = sums.net_high + case.buys * value, case.sells * value - sums.net_low
        after = high if high > low else low
        if after <= limit:
            return None
        shown, allowed = money(after, sums.base_currency), money(limit, sums.base_currency)
        return Finding(f"the account's net exposure could reach {shown}; {allowed} is allowed", allowed, shown)


class ExposureCurrencyMax(Rule):
    """What the account could hold in contracts of one foreign currency, in base currency."""

    code = "RISK_EXPOSURE_CURRENCY_MAX"
    scope = Scope.ACCOUNT
    limit_name = "exposure_currency_max"
    citation = "SEC 15c3-5(c)(1)(i); FIA: exposure limits per currency"
    since = 2

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a limit."""
        return limits.exposure_currency_max is not None

    def check(self, case: Case) -> Finding | None:
        """Compare the currency's gross worst case after the order with the limit."""
        limit, info, sums = case.limits.exposure_currency_max, case.contract.info, case.book.sums
        if limit is None or info is None or case.added_value is None or info.currency == sums.base_currency:
            return None
        after = sums.by_currency.get(info.currency, ZERO) + case.added_value
        if after <= limit:
            return None
        shown, allowed = money(after, sums.base_currency), money(limit, sums.base_currency)
        return Finding(f"exposure in {info.currency} could reach {shown}; {allowed} is allowed", allowed, shown)


class Concentration(Rule):
    """One contract's worst case as a share of what the account is worth."""

    code = "RISK_CONCENTRATION"
    scope = Scope.CONTRACT
    limit_name = "concentration_percent"
    citation = "FIA: concentration limits; SEC 15c3-5(c)(1)(i)"
    since = 2

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a limit."""
        return limits.concentration_percent is not None

    def check(self, case: Case) -> Finding | None:
        """Compare the contract's worst case after the order with the account's net liquidation value."""
        limit, value, worth = case.limits.concentration_percent, case.value, case.book.net_liquidation
        if limit is None or value is None:
            return None
        if worth is None or worth <= ZERO:
            return Finding("the broker has not shown what the account is worth", f"{plain(limit)} %", "unknown")
        if case.worst_after * value * _HUNDRED <= limit * worth:
            return None
        percent = case.worst_after * value * _HUNDRED / worth
        return Finding(
            f"this contract could be {percent:.1f} % of what the account is worth; {plain(limit)} % is allowed",
            f"{plain(limit)} %",
            f"{percent:.1f} %",
        )


class CashMin(Rule):
    """What works and this order must leave a minimum of cash, as if all were bought and nothing borrowed."""

    code = "RISK_CASH_MIN"
    scope = Scope.ACCOUNT
    limit_name = "cash_min"
    citation = "SEC 15c3-5(c)(1)(i); Regulation T (cash accounts)"
    since = 2

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a limit."""
        return limits.cash_min is not None

    def check(self, case: Case) -> Finding | None:
        """Compare all opening work, recent fills included, with the cash that the broker shows."""
        book, limit = case.book, case.limits.cash_min
        if limit is None or case.added_value is None or case.added_value <= ZERO:
            return None
        if book.cash is None:
            return Finding("the broker has not shown the account's cash yet", plain(limit), "unknown")
        left = book.cash - (book.sums.gross_worst - book.sums.gross_position + book.filled_since + case.added_value)
        if left >= limit:
            return None
        shown, allowed = money(left, book.sums.base_currency), money(limit, book.sums.base_currency)
        return Finding(f"{shown} of cash would be left; {allowed} must stay", allowed, shown)
