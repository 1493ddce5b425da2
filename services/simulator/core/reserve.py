"""Say how much margin the working orders of an account claim, beside its positions.

Per contract the dearer side counts: all buys filled, or all sells. Orders that only reduce a position claim nothing;
children that wait for their parent neither, nor orders that TWS still holds.

Known limits: orders of one OCA group each claim their own, and legs of combinations get no credit for each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from services.simulator.core.account import Account, Marks, Rates, order_margin
from services.simulator.core.contracts import Instrument
from services.simulator.core.orders import BrokerOrder

ZERO = Decimal(0)


@dataclass(slots=True)
class Claim:
    """What may still be bought and sold of one contract, and the dearest limit of it."""

    instrument: Instrument
    buys: Decimal = ZERO
    sells: Decimal = ZERO
    dearest: Decimal = ZERO

    def add(self, side: int, quantity: Decimal, limit: Decimal | None) -> None:
        """Take an order in."""
        if side > 0:
            self.buys += quantity
        else:
            self.sells += quantity
        if limit is not None and limit > self.dearest:
            self.dearest = limit

    def margin(self, account: Account, marks: Marks) -> Decimal:
        """Return the initial margin that the dearer side adds, in the contract's currency."""
        price = max(self.dearest, marks(self.instrument))
        more = ZERO
        if self.buys:
            more = max(more, order_margin(account, self.instrument, 1, self.buys, price))
        if self.sells:
            more = max(more, order_margin(account, self.instrument, -1, self.sells, price))
        return more


class Claims:
    """The claims of an account's orders, by conId."""

    def __init__(self, account: Account, orders: Iterable[BrokerOrder]) -> None:
        self._account = account
        self.by_id: dict[int, Claim] = {}
        for order in orders:
            if order.account == account.name and not (order.waits_for_parent or order.is_held or order.is_done):
                self.add(order)

    def add(self, order: BrokerOrder, quantity: Decimal | None = None, limit: Decimal | None = None) -> None:
        """Take an order in, with another quantity and limit if given (a change of it: what is more counts)."""
        amount = order.remaining if quantity is None else quantity
        limit = order.working.limit if limit is None else limit
        legs = order.instrument.legs
        for instrument, ratio in legs or ((order.instrument, 1),):
            claim = self.by_id.get(instrument.con_id)
            if claim is None:
                claim = self.by_id[instrument.con_id] = Claim(instrument)
            side = order.working.side if ratio > 0 else -order.working.side
            claim.add(side, amount * abs(ratio), None if legs else limit)

    def total(self, marks: Marks, rates: Rates) -> Decimal:
        """Return the initial margin of all of them in the base currency."""
        return sum(
            (each.margin(self._account, marks) * rates(each.instrument.currency) for each in self.by_id.values()), ZERO
        )
