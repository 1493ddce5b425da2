"""Rules on the order itself: is it well formed, whose is it, is it in time, is it too large or badly priced."""

from __future__ import annotations

from decimal import Decimal

from services.risk.core.case import Case
from services.risk.core.limits import LimitSet
from services.risk.core.rule import Finding, Rule, Scope, money, plain
from shared.ids import UNASSIGNED
from shared.messages.market import ContractInfo
from shared.messages.orders import Group, OrderLeg, Side
from shared.money import ZERO

_HUGE = Decimal(10) ** 12
_HUNDRED = Decimal(100)
_ABOVE_ZERO = ("STK", "OPT", "CASH", "CRYPTO")
"""Kinds of contracts whose price is above zero."""
_BUY = Side.BUY


class Incarnation(Rule):
    """An intent is decided only in the incarnation of Redis it was made in: elsewhere it may have been sent already."""

    code = "RISK_INCARNATION"
    scope = Scope.SYSTEM
    citation = "P2; docs/architecture.md, leases, epochs, incarnations"
    applies_to_reducing = True

    def check(self, case: Case) -> Finding | None:
        """Compare the intent's incarnation with the book's."""
        made_in = case.intent.incarnation
        if made_in == case.book.incarnation:
            return None
        was = "in an order-flow Redis that has changed since" if made_in else "without the incarnation of its Redis"
        return Finding(f"the intent was made {was}: make it anew", case.book.incarnation[:8], made_in[:8] or "none")


class Expired(Rule):
    """An intent is never sent after its author's limit."""

    code = "RISK_EXPIRED"
    scope = Scope.ORDER
    citation = "P4"
    applies_to_reducing = True

    def check(self, case: Case) -> Finding | None:
        """Compare `valid_until_ns` with now."""
        if case.now_ns <= case.intent.valid_until_ns:
            return None
        late_ns = case.now_ns - case.intent.valid_until_ns
        return Finding(f"the intent came {late_ns / 1e9:.3f} s after its valid_until", "0 s", f"{late_ns / 1e9:.3f} s")


class Account(Rule):
    """A deployment trades one account."""

    code = "RISK_ACCOUNT"
    scope = Scope.ACCOUNT
    citation = "P8"
    applies_to_reducing = True

    def check(self, case: Case) -> Finding | None:
        """Compare the intent's account with the deployment's."""
        if case.intent.account == case.book.account:
            return None
        return Finding(
            f"account {case.intent.account} is not this deployment's account", case.book.account, case.intent.account
        )


class StrategyUnknown(Rule):
    """What no strategy owns is never traded by us; a list of strategies, where one is set, is complete."""

    code = "RISK_STRATEGY_UNKNOWN"
    scope = Scope.STRATEGY
    limit_name = "strategies"
    citation = "P11; RTS 6 article 12(3) (whose order it is), article 18"
    applies_to_reducing = True
    is_about_terms = True

    def check(self, case: Case) -> Finding | None:
        """Look the strategy up in the limits."""
        name, limits = case.intent.strategy, case.limit_book
        if limits.base.takes_any_strategy and name != UNASSIGNED:
            return None
        if name == UNASSIGNED:
            return Finding("orders are never given for `unassigned`: name a strategy, or leave it out for manual")
        if case.is_reducing or limits.knows_strategy(name):
            return None
        listed = ", ".join(limits.base.strategies)
        return Finding(f"strategy {name!r} is not in the limits file's list", listed, name)


class ContractUnknown(Rule):
    """An entry needs the broker's definition of its contract."""

    code = "RISK_CONTRACT_UNKNOWN"
    scope = Scope.CONTRACT
    citation = "P7 (what is not known refuses entries); IB error 200"
    is_about_terms = True

    def check(self, case: Case) -> Finding | None:
        """Look for the contract's definition."""
        if case.contract.info is not None:
            return None
        return Finding(
            f"the broker's definition of contract #{case.intent.con_id} is not known yet", "", f"#{case.intent.con_id}"
        )


class OrderUnknown(Rule):
    """A modify needs a working order of the same strategy, contract and side."""

    code = "RISK_ORDER_UNKNOWN"
    scope = Scope.ORDER
    citation = "P2; docs/architecture.md, an order's way; IB error 135"
    applies_to_reducing = True
    is_for_modifies = True

    def check(self, case: Case) -> Finding | None:
        """Compare a modify with the order it names."""
        if not case.is_modify:
            return None
        intent = case.intent
        if case.target is None or case.leg is None:
            return Finding(f"there is no order {intent.modifies} of ours in contract #{intent.con_id} to modify")
        if not case.leg.is_open:
            return Finding(f"order {intent.modifies} works no more ({case.leg.state or 'not sent'})")
        if case.leg.sign != intent.legs[0].side.sign:
            return Finding(f"a modify cannot change the side of order {intent.modifies}")
        if case.target.strategy != intent.strategy:
            return Finding(f"order {intent.modifies} belongs to strategy {case.target.strategy}", "", intent.strategy)
        return None


class TypeAllowed(Rule):
    """Only listed order types and times in force."""

    code = "RISK_ORDER_TYPE"
    scope = Scope.ORDER
    limit_name = "order_types, tifs"
    citation = "FIA: order types enabled per strategy"

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether any type or time in force is not enabled."""
        return not limits.takes_any_type

    def check(self, case: Case) -> Finding | None:
        """Look every leg's type and time in force up in the limits."""
        for leg in case.intent.legs:
            if leg.order_type not in case.limits.order_types:
                return Finding(
                    f"{leg.order_type} orders are not enabled", ", ".join(case.limits.order_types), leg.order_type
                )
            if leg.tif not in case.limits.tifs:
                return Finding(f"time in force {leg.tif} is not enabled", ", ".join(case.limits.tifs), leg.tif)
        return None


class GroupShape(Rule):
    """Legs of a group must make sense: a bracket's children close its parent, OCA legs share a side."""

    code = "RISK_GROUP_SHAPE"
    scope = Scope.ORDER
    citation = "TWS API: bracket orders and OCA groups"
    applies_to_reducing = True
    is_for_groups = True

    def check(self, case: Case) -> Finding | None:
        """Compare the legs with the first."""
        intent = case.intent
        if len(intent.legs) == 1:
            return None
        first = intent.legs[0]
        for leg in intent.legs[1:]:
            if intent.group is Group.BRACKET and leg.side is first.side:
                return Finding(f"bracket leg {leg.leg} is on its parent's side: children must close the parent")
            if intent.group is Group.BRACKET and leg.quantity > first.quantity:
                return Finding(
                    f"bracket leg {leg.leg} is larger than its parent", plain(first.quantity), plain(leg.quantity)
                )
        return None


class TickSize(Rule):
    """Prices must be positive multiples of the contract's tick, quantities of its size increment."""

    code = "RISK_TICK_SIZE"
    scope = Scope.ORDER
    citation = "IB error 110 (minimum price variation)"
    applies_to_reducing = True

    def check(self, case: Case) -> Finding | None:
        """Check every leg's prices and quantity."""
        steps, info = case.contract.steps, case.contract.info
        for leg in case.intent.legs:
            if steps is not None and _fits(leg, steps):
                continue  # as nearly every leg does; what is wrong is found out below
            finding = _bad_number(leg) or (_bad_step(leg, info) if info is not None else None)
            if finding is not None:
                return finding
        return None


def _fits(leg: OrderLeg, steps: tuple[Decimal, Decimal, Decimal]) -> bool:
    tick, step, smallest = steps
    limit, quantity = leg.limit_price, leg.quantity
    return (
        leg.stop_price is None
        and (limit is None or (ZERO < limit < _HUGE and not limit % tick))
        and smallest <= quantity < _HUGE
        and not quantity % step
    )


def _bad_number(leg: OrderLeg) -> Finding | None:
    if leg.quantity > _HUGE:
        return Finding(f"leg {leg.leg}: a quantity of {leg.quantity} is no quantity", plain(_HUGE), str(leg.quantity))
    for price in (leg.limit_price, leg.stop_price):
        if price is not None and not -_HUGE <= price <= _HUGE:
            return Finding(f"leg {leg.leg}: {price} is no price", plain(_HUGE), str(price))
    return None


def _bad_step(leg: OrderLeg, info: ContractInfo) -> Finding | None:
    if leg.limit_price is not None and (finding := _bad_price(leg, "limit", leg.limit_price, info)) is not None:
        return finding
    if leg.stop_price is not None and (finding := _bad_price(leg, "stop", leg.stop_price, info)) is not None:
        return finding
    step, quantity = info.size_increment, leg.quantity
    if step > 0 and quantity % step:
        return Finding(
            f"leg {leg.leg}: quantity {plain(quantity)} is no multiple of {plain(step)}", plain(step), plain(quantity)
        )
    if quantity < info.min_size:
        return Finding(
            f"leg {leg.leg}: quantity {plain(quantity)} is below the contract's smallest, {plain(info.min_size)}",
            plain(info.min_size),
            plain(quantity),
        )
    return None


def _bad_price(leg: OrderLeg, name: str, price: Decimal, info: ContractInfo) -> Finding | None:
    if price <= ZERO and info.sec_type in _ABOVE_ZERO:
        return Finding(f"leg {leg.leg}: a {name} price of {price} cannot be", "above 0", plain(price))
    tick = info.tick_at(price)
    if tick > 0 and price % tick:
        return Finding(
            f"leg {leg.leg}: {name} price {plain(price)} is no multiple of the tick size {plain(tick)}",
            plain(tick),
            plain(price),
        )
    return None


class OrderQuantityMax(Rule):
    """Fat finger: no single order above a quantity, reducing or not."""

    code = "RISK_ORDER_QUANTITY_MAX"
    scope = Scope.ORDER
    limit_name = "order_quantity_max"
    citation = "SEC 15c3-5(c)(1)(ii); RTS 6 article 15(1)(c); FIA: maximum order size"
    applies_to_reducing = True

    def check(self, case: Case) -> Finding | None:
        """Compare the largest leg with the limit."""
        limit = case.limits.order_quantity_max
        if limit is None or case.quantity <= limit:
            return None
        return Finding(
            f"an order of {plain(case.quantity)} is above the limit of {plain(limit)} per order",
            plain(limit),
            plain(case.quantity),
        )


class OrderNotionalMax(Rule):
    """No single order worth more than a limit in base currency."""

    code = "RISK_ORDER_NOTIONAL_MAX"
    scope = Scope.ORDER
    limit_name = "order_notional_max"
    citation = "SEC 15c3-5(c)(1)(i); RTS 6 article 15(1)(b)"

    def check(self, case: Case) -> Finding | None:
        """Compare the largest leg's money with the limit; unknown money is RISK_MONEY_UNKNOWN's."""
        limit, value = case.limits.order_notional_max, case.order_value
        if limit is None or value is None or value <= limit:
            return None
        base = case.book.sums.base_currency
        shown, allowed = money(value, base), money(limit, base)
        return Finding(f"an order worth {shown} is above the limit of {allowed} per order", allowed, shown)


class PriceCollar(Rule):
    """No limit price much worse than the market (buy above, sell below); a stop limit is compared with its own stop."""

    code = "RISK_PRICE_COLLAR"
    scope = Scope.ORDER
    limit_name = "price_collar_percent, price_collar_ticks"
    citation = "RTS 6 article 15(1)(a); FIA: price tolerance; CME price banding"

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a collar."""
        return limits.price_collar_percent is not None or limits.price_collar_ticks is not None

    def check(self, case: Case) -> Finding | None:
        """Compare each limit price with the middle or last price."""
        limit, ticks = case.limits.price_collar_percent, case.limits.price_collar_ticks
        for leg in case.intent.legs:
            reference = leg.stop_price if leg.stop_price is not None else case.mark
            if leg.limit_price is None or not reference:
                continue
            worse = leg.limit_price - reference if leg.side is _BUY else reference - leg.limit_price
            if worse <= ZERO:
                continue
            if ticks is not None and (finding := _too_many_ticks(case, leg, worse, ticks)) is not None:
                return finding
            if limit is not None and worse * _HUNDRED > limit * abs(reference):
                worse = worse * 100 / abs(reference)
                return Finding(
                    f"leg {leg.leg}: limit price {plain(leg.limit_price)} is {worse:.2f} % worse than "
                    f"{plain(reference)}; {plain(limit)} % is allowed",
                    f"{plain(limit)} %",
                    f"{worse:.2f} %",
                )
        return None


def _too_many_ticks(case: Case, leg: OrderLeg, worse: Decimal, allowed: Decimal) -> Finding | None:
    info = case.contract.info
    tick = ZERO if info is None or leg.limit_price is None else info.tick_at(leg.limit_price)
    if tick <= ZERO or worse <= allowed * tick:
        return None
    count = worse / tick
    return Finding(
        f"leg {leg.leg}: limit price {plain(leg.limit_price)} is {count:.0f} ticks worse than the market; "
        f"{plain(allowed)} are allowed",
        f"{plain(allowed)} ticks",
        f"{count:.0f} ticks",
    )
