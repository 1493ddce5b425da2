"""Gather, once per intent, what every rule asks for: sizes, prices, the worst case after it, does it only reduce.

*Reducing* is decided against the worst case of what already works: a sell (buy) reduces if the account's long (short)
position covers it together with every other sell (buy) that may still fill. A modify also reduces if it only makes
an order smaller at the same prices.
"""

from __future__ import annotations

from decimal import Decimal

from services.risk.core.exposure import Book
from services.risk.core.legs import Leg, LegFacts, OrderGroup, worst_of
from services.risk.core.limits import Limits, LimitSet
from services.risk.core.positions import ContractExposure
from shared.ids import MANUAL
from shared.messages.orders import Group, Intent, IntentAction, OrderLeg, Side
from shared.money import ZERO

# Looked up once: a member of an enum costs more through its class than a comparison does.
_MODIFY = IntentAction.MODIFY
_SINGLE, _BRACKET = Group.SINGLE, Group.BRACKET
_BUY = Side.BUY


class Case:
    """One intent before the rules. Quantities are shares or contracts, money is base currency (None: unknown).

    `buys` and `sells` are what the intent adds to what may still fill (negative where a modify shrinks).
    """

    __slots__ = (
        "added_value", "book", "buys", "contract", "group", "intent", "is_modify", "is_reducing", "is_strategy_reducing",
        "leg", "limit_book", "limits", "mark", "now_ns", "order_value", "own_buys", "own_sells", "point", "quantity",
        "sells", "target", "value", "worst_after",
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
        self.buys, self.sells = self._added()
        self.mark = contract.quote.mark
        self.value = contract.value
        self.point = contract.point
        legs = intent.legs
        self.quantity = legs[0].quantity if len(legs) == 1 else max([leg.quantity for leg in legs])
        self.order_value = self._order_value()
        self.worst_after = contract.worst(self.buys, self.sells)
        before = contract.worst_value
        self.added_value = None if self.value is None or before is None else self.worst_after * self.value - before
        work = contract.strategy_work.get(intent.strategy)
        self.own_buys, self.own_sells = (work[0], work[1]) if work is not None else (ZERO, ZERO)
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
            if intent.group is _SINGLE:
                leg = intent.legs[0]
                return (leg.quantity, ZERO) if leg.side is _BUY else (ZERO, leg.quantity)
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

    def _order_value(self) -> Decimal | None:
        """Return the largest leg's money at the higher of its own prices and the market's."""
        if self.point is None:
            return None
        most = ZERO
        for leg in self.intent.legs:
            price = self.mark
            for other in (leg.limit_price, leg.stop_price):
                if other is not None and (price is None or abs(other) > price):
                    price = abs(other)
            if price is None:
                return None
            value = leg.quantity * price * self.point
            if value > most:
                most = value
        return most

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


def _facts(leg: OrderLeg) -> LegFacts:
    return leg.parent_leg, leg.side.sign, leg.quantity, ZERO
