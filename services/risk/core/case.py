"""Gather, once per intent, what every rule asks for: sizes, prices, the worst case after it, does it only reduce.

*Reducing* is decided against the worst case of what already works: a sell (buy) reduces if the account's long (short)
position covers it together with every other sell (buy) that may still fill. A modify also reduces if it only makes
an order smaller at the same prices.
"""

from __future__ import annotations

from decimal import Decimal

from services.risk.core.exposure import Book
from services.risk.core.legs import Leg, LegFacts, OrderGroup, worst_of
from services.risk.core.limits import Limits, LimitSet, Stage
from services.risk.core.positions import ContractExposure
from shared.ids import MANUAL
from shared.messages.orders import Group, Intent, IntentAction, OrderLeg, Side
from shared.money import ZERO

# Looked up once: a member of an enum costs more through its class than a comparison does.
_MODIFY = IntentAction.MODIFY
_BRACKET = Group.BRACKET
_BUY = Side.BUY
_OBSERVE = Stage.OBSERVE


class Case:
    """One intent before the rules. Quantities are shares or contracts, money is base currency (None: unknown).

    `buys` and `sells` are what the intent adds to what may still fill (negative where a modify shrinks). `is_troubled`:
    a rule about the state of the system could object, for a halt, a loss, books that differ, odd quotes and the like.
    """

    __slots__ = (
        "added_value", "book", "buys", "contract", "intent", "is_modify", "is_reducing", "is_strategy_reducing",
        "is_troubled", "leg", "limit_book", "limits", "mark", "now_ns", "order_value", "own_buys", "own_sells", "point",
        "quantity", "sells", "target", "value", "worst_after",
    )  # fmt: skip

    def __init__(self, intent: Intent, book: Book, limits: Limits, now_ns: int) -> None:
        self.intent = intent
        self.book = book
        self.now_ns = now_ns
        self.limit_book = limits
        contract = book.contracts.get(intent.con_id)
        if contract is None:
            contract = ContractExposure(intent.con_id)
        elif contract.is_price_old:
            book.sums.refresh(contract)
        self.contract = contract
        self.limits: LimitSet = limits.for_order(intent.strategy, intent.con_id, contract.info)
        self.is_modify = intent.action is _MODIFY
        self.target: OrderGroup | None = None
        self.leg: Leg | None = None
        if self.is_modify:
            self._find_target()
        mark = self.mark = contract.quote.mark
        point = self.point = contract.point
        legs = intent.legs
        if len(legs) == 1 and not self.is_modify:
            self._take_single(legs[0])
        else:
            self.buys, self.sells = self._added()
            self.quantity = max([leg.quantity for leg in legs])
            self.order_value = None if point is None else _highest([_value(leg, mark, point) for leg in legs])
        top, bottom = contract.top + self.buys, self.sells - contract.bottom
        worst = self.worst_after = top if top > bottom else bottom
        value, before = contract.value, contract.worst_value
        self.value = value
        self.added_value = None if value is None or before is None else worst * value - before
        work = contract.strategy_work.get(intent.strategy)
        self.own_buys: Decimal = ZERO if work is None else work[0]
        self.own_sells: Decimal = ZERO if work is None else work[1]
        self.is_troubled = (
            contract.is_mismatched
            or not book.breakers.is_calm
            or book.readiness.settled_in != book.incarnation
            or contract.quote.is_odd
            or bool(contract.unexplained)
            or contract.is_contested
            or book.day_trades_left == ZERO
            or bool(limits.mistakes)
            or limits.stage is _OBSERVE
        )
        self.is_reducing = self.is_strategy_reducing = False
        if self.is_modify or contract.total or contract.is_mismatched:  # where nothing is held, nothing reduces
            self._see_reduction(intent)

    def _take_single(self, leg: OrderLeg) -> None:
        quantity = self.quantity = leg.quantity
        self.buys, self.sells = (quantity, ZERO) if leg.side is _BUY else (ZERO, quantity)
        self.order_value = None if self.point is None else _value(leg, self.mark, self.point)

    def _see_reduction(self, intent: Intent) -> None:
        contract = self.contract
        self.is_reducing = self._reduces(contract.position, contract.buys, contract.sells)
        self.is_strategy_reducing = self.is_reducing and (
            intent.strategy == MANUAL
            or self._reduces(contract.by_strategy.get(intent.strategy, ZERO), self.own_buys, self.own_sells)
        )

    def _find_target(self) -> None:
        group = self.book.groups.get(self.intent.modifies)
        if group is not None and group.con_id == self.intent.con_id and not group.is_external:
            self.target = group
            self.leg = group.legs.get(self.intent.legs[0].leg)

    def _added(self) -> tuple[Decimal, Decimal]:
        intent = self.intent
        if not self.is_modify:
            return worst_of(intent.group, [_facts(leg) for leg in intent.legs])
        if self.target is None or self.leg is None:
            return ZERO, ZERO
        terms, changed = intent.legs[0], self.leg
        facts: list[LegFacts] = []
        for other in self.target.legs.values():
            working = other.working
            if other is changed and other.is_open:
                working = max(working, terms.quantity - other.filled)  # the worse of old and new until confirmed
            facts.append((other.parent, other.sign, working, other.filled))
        buys, sells = worst_of(self.target.kind, facts)
        return buys - self.target.buys, sells - self.target.sells

    def _reduces(self, position: Decimal, buys: Decimal, sells: Decimal) -> bool:
        if self.is_modify:
            if self.leg is None or not self.leg.is_open:
                return False
            if self._only_shrinks(self.leg, self.intent.legs[0]):
                return True
            if self.leg.sign > 0:
                return position < 0 and buys + self.buys <= -position and self.sells <= 0
            return position > 0 and sells + self.sells <= position and self.buys <= 0
        if self.intent.group is _BRACKET:
            return False  # its children would open again what the parent closed
        if self.buys and self.sells:
            return False
        if self.sells:
            return position > 0 and sells + self.sells <= position
        return position < 0 and buys + self.buys <= -position

    @staticmethod
    def _only_shrinks(leg: Leg, terms: OrderLeg) -> bool:
        return (
            terms.quantity <= leg.quantity
            and terms.limit_price == leg.limit_price
            and terms.stop_price == leg.stop_price
        )


def _value(leg: OrderLeg, mark: Decimal | None, point: Decimal) -> Decimal | None:
    """Return a leg's money at the highest of its own prices and the market's, None when there is no price."""
    price = mark
    for own in (leg.limit_price, leg.stop_price):
        if own is not None and (price is None or abs(own) > price):
            price = abs(own)
    return None if price is None else leg.quantity * price * point


def _highest(values: list[Decimal | None]) -> Decimal | None:
    """Return the largest value, None when one is unknown."""
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


def _facts(leg: OrderLeg) -> LegFacts:
    return leg.parent_leg, leg.side.sign, leg.quantity, ZERO
