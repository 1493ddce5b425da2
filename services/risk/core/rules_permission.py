"""Rules on what may be traded at all: lists of contracts, short sales, day trades, protection."""

from __future__ import annotations

from decimal import Decimal

from services.risk.core.case import Case
from services.risk.core.legs import Leg
from services.risk.core.limits import LimitSet
from services.risk.core.positions import ContractExposure
from services.risk.core.rule import Finding, Rule, Scope, plain
from shared.ids import MANUAL
from shared.messages.market import ContractInfo
from shared.messages.orders import Group
from shared.money import ZERO


class ContractRestricted(Rule):
    """Contracts of a restricted list open nothing; a list of allowed ones, where one is set, is complete."""

    code = "RISK_CONTRACT_RESTRICTED"
    scope = Scope.CONTRACT
    limit_name = "contracts_allowed, contracts_restricted"
    citation = "SEC 15c3-5(c)(2)(ii); RTS 6 article 15(5)"
    since = 2
    is_about_terms = True

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a list."""
        return "any" not in limits.contracts_allowed or bool(limits.contracts_restricted)

    def check(self, case: Case) -> Finding | None:
        """Look the contract's names up in both lists."""
        names, limits = _names(case.intent.con_id, case.contract.info), case.limits
        if any(name in limits.contracts_restricted for name in names):
            return Finding(f"{names[-1]} is on the list of restricted contracts", "not restricted", names[-1])
        if "any" in limits.contracts_allowed or any(name in limits.contracts_allowed for name in names):
            return None
        return Finding(
            f"{names[-1]} is not on the list of allowed contracts", ", ".join(limits.contracts_allowed), names[-1]
        )


def _names(con_id: int, info: ContractInfo | None) -> list[str]:
    """Return what a contract may be called in a list, the one to show last."""
    return [f"#{con_id}"] if info is None else [f"#{con_id}", info.sec_type, info.symbol, info.name]


class ShortSale(Rule):
    """An order that could leave the account short of a stock warns or is refused: shares must be lent for it."""

    code = "RISK_SHORT_SALE"
    scope = Scope.CONTRACT
    limit_name = "short_selling"
    citation = "Regulation SHO rule 203(b)(1); SEC 15c3-5(c)(2)(i)"
    since = 2

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether short sales matter."""
        return limits.short_selling != "allow"

    def check(self, case: Case) -> Finding | None:
        """Look at the position if every sell fills."""
        info = case.contract.info
        if case.sells <= ZERO or (info is not None and info.sec_type != "STK"):
            return None
        after = case.contract.bottom - case.sells
        if after >= ZERO:
            return None
        choice = case.limits.short_selling
        return Finding(
            f"the account could be short {plain(-after)} shares: short sales are not enabled, and need shares lent",
            choice,
            plain(after),
            choice == "warn",
        )


class ShortUnavailable(Rule):
    """An order that could leave the account short of a stock of which the broker shows too few shares to borrow.

    What the broker does not tell is no reason: it holds such an order by itself (ib-facts, order status "locating").
    """

    code = "RISK_SHORT_UNAVAILABLE"
    scope = Scope.CONTRACT
    limit_name = "short_unavailable"
    citation = "Regulation SHO rule 203(b)(1), locate; the broker's generic tick 236"
    since = 3

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether it matters."""
        return limits.short_unavailable != "allow"

    def check(self, case: Case) -> Finding | None:
        """Compare the short position, if every sell fills, with the shares there are to borrow."""
        contract = case.contract
        lendable, info = contract.lendable, contract.info
        if case.sells <= ZERO or lendable is None or (info is not None and info.sec_type != "STK"):
            return None
        short = case.sells - contract.bottom
        adds = short - max(ZERO, -contract.total)  # what is short already has been lent
        if short <= ZERO or adds <= lendable:
            return None
        choice = case.limits.short_unavailable
        text = f"{plain(adds)} more shares would be sold short, and the broker shows {plain(lendable)} to borrow"
        return Finding(text, plain(lendable), plain(adds), choice == "warn")


class DayTrades(Rule):
    """With no day trade left by the broker's count, an order that opens may not be closed today without a breach."""

    code = "RISK_DAY_TRADES"
    scope = Scope.ACCOUNT
    limit_name = "day_trades"
    citation = "FINRA rule 4210(f)(8)(B), pattern day trader"
    since = 2
    is_for_trouble = True

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether day trades matter."""
        return limits.day_trades != "allow"

    def check(self, case: Case) -> Finding | None:
        """Look at what the broker shows to be left; -1 means no limit."""
        left, info = case.book.day_trades_left, case.contract.info
        if left is None or left != ZERO or (info is not None and info.sec_type not in ("STK", "OPT")):
            return None
        choice = case.limits.day_trades
        return Finding("the broker counts no day trade left for this account", choice, "0", choice == "warn")


class ProtectionRequired(Rule):
    """A strategy that needs protection opens only with a stop at the broker for all it could hold."""

    code = "RISK_PROTECTION_REQUIRED"
    scope = Scope.STRATEGY
    limit_name = "protection"
    citation = "P6; RTS 6 article 15(4)"
    is_strategy_scoped = True
    since = 2

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether protection matters."""
        return limits.protection != "allow"

    def check(self, case: Case) -> Finding | None:
        """Compare the stops at the broker, and the intent's own, with the worst case on their other side."""
        intent = case.intent
        if intent.strategy == MANUAL:
            return None
        own = case.contract.by_strategy.get(intent.strategy, ZERO)
        for sign, adds, held in ((-1, case.buys, own + case.own_buys), (1, case.sells, case.own_sells - own)):
            if adds <= ZERO or held + adds <= ZERO:
                continue  # nothing is added on this side of zero
            could_hold, protected = held + adds, _stops(case, sign)
            if could_hold > protected:
                choice = case.limits.protection
                return Finding(
                    f"strategy {intent.strategy} could hold {plain(could_hold)} with stops for {plain(protected)}: "
                    "place a bracket with a stop, or the stop first",
                    plain(could_hold),
                    plain(protected),
                    choice == "warn",
                )
        return None


def _stops(case: Case, sign: int) -> Decimal:
    """Return how much stops of a strategy close on one side (-1: sells), those of the intent's bracket included."""
    intent = case.intent
    total = resting_stops(case.contract, intent.strategy, sign)
    if intent.group is Group.BRACKET:
        own = [leg.quantity for leg in intent.legs[1:] if leg.stop_price is not None and leg.side.sign == sign]
        total += max(own, default=ZERO)
    return total


def resting_stops(contract: ContractExposure, strategy: str, sign: int) -> Decimal:
    """Return how much the working stops of a strategy close on one side (-1: sells)."""
    total = ZERO
    for group in contract.groups.values():
        if group.strategy == strategy and not group.is_external:
            total += max([_stop_left(leg) for leg in group.legs.values() if leg.sign == sign], default=ZERO)
    return total


def _stop_left(leg: Leg) -> Decimal:
    return leg.working if leg.stop_price is not None else ZERO
