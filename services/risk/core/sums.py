"""Keep the account's exposure in base currency as running sums, one contract's share at a time (P7).

Invariants:
1. A sum is the total of the shares that the contracts carry themselves; a share is taken out and put back whole, so
   nothing drifts.
2. A contract whose price, multiplier or rate is unknown adds nothing and stands in `unvalued` while it has a position
   or work: no sum is true then, and RISK_MONEY_UNKNOWN says so.
3. Prices come far more often than intents: a tick only marks its contract, `advance` counts it once per decision.
"""

from __future__ import annotations

from decimal import Decimal

from services.risk.core.positions import ContractExposure
from shared.messages.market import ContractInfo
from shared.money import ZERO, notional

ONE = Decimal(1)


class Sums:
    """The account's sums, each in base currency and in the worst case of all that works.

    `gross_worst` and `gross_position` are sums of absolute values, with and without what works; `net_high` and
    `net_low` are the signed position if all buys (all sells) fill; `by_currency` is the gross worst case of what is
    quoted in another currency than the base.
    """

    __slots__ = (
        "base_currency",
        "by_currency",
        "dirty",
        "gross_position",
        "gross_worst",
        "net_high",
        "net_low",
        "rates",
        "unvalued",
    )  # fmt: skip

    def __init__(self) -> None:
        self.base_currency = ""
        self.rates: dict[str, Decimal] = {}
        self.gross_worst = ZERO
        self.gross_position = ZERO
        self.net_high = ZERO
        self.net_low = ZERO
        self.by_currency: dict[str, Decimal] = {}
        self.unvalued: dict[int, None] = {}
        """Contracts with a position or work whose value is unknown."""
        self.dirty: dict[int, ContractExposure] = {}

    # -- what changed

    def price_moved(self, contract: ContractExposure) -> None:
        """Note that a contract has a new price."""
        self.dirty[contract.con_id] = contract

    def terms_changed(self, contract: ContractExposure) -> None:
        """Take a contract's new definition or rate."""
        contract.terms.clear()
        info = contract.info
        if info is not None:
            rate = self.rate_of(info.currency)
            contract.steps = _steps(info)
            contract.point = notional(ONE, ONE, info.multiplier, info.price_magnifier, rate)
        self.dirty[contract.con_id] = contract

    def set_base(self, currency: str, contracts: dict[int, ContractExposure]) -> None:
        """Take the account's base currency: every value changes."""
        self.base_currency = currency
        for contract in contracts.values():
            self.terms_changed(contract)
            self._put_share(contract)

    def set_rate(self, currency: str, rate: Decimal | None, contracts: dict[int, ContractExposure]) -> None:
        """Take base currency per unit of a currency; what is no rate is ignored."""
        if rate is None or rate <= 0 or self.rates.get(currency) == rate:
            return
        self.rates[currency] = rate
        for contract in contracts.values():
            if contract.info is not None and contract.info.currency == currency:
                self.terms_changed(contract)

    def rate_of(self, currency: str) -> Decimal | None:
        """Return base currency per unit of a currency, None when not known."""
        if currency and currency == self.base_currency:
            return ONE
        return self.rates.get(currency)

    # -- the sums

    def advance(self) -> None:
        """Count every contract whose price or terms changed; what has no position and no work waits until asked."""
        for contract in self.dirty.values():
            if contract.is_used or contract.broker or contract.value is None:
                self.refresh(contract)
            else:
                contract.is_price_old = True
        self.dirty.clear()

    def refresh(self, contract: ContractExposure) -> None:
        """Bring the value of one contract up to date, and its share of the sums if it changed."""
        contract.is_price_old = False
        point, price = contract.point, contract.price()
        value = None if point is None or price is None else abs(price) * point
        if value != contract.value:
            contract.value = value
            self._put_share(contract)

    def quantities_changed(self, contract: ContractExposure) -> None:
        """Bring a contract's worst case up to date after its position or work changed."""
        contract.recount()
        self._put_share(contract)
        if contract.is_price_old and contract.is_used:
            self.dirty[contract.con_id] = contract

    def _put_share(self, contract: ContractExposure) -> None:
        worst, position, high, low, currency = contract.share
        value = contract.value
        if value is None:
            self._take_out(contract)
            return
        # Most changes move one or two of these: what is as it was is left alone.
        new_worst = contract.worst_value = contract.worst_quantity * value
        new_position, new_high, new_low = contract.held_quantity * value, contract.top * value, contract.bottom * value
        new_currency = "" if contract.currency == self.base_currency else contract.currency
        if new_worst != worst:
            self.gross_worst = self.gross_worst - worst + new_worst
        if new_position != position:
            self.gross_position = self.gross_position - position + new_position
        if new_high != high:
            self.net_high = self.net_high - high + new_high
        if new_low != low:
            self.net_low = self.net_low - low + new_low
        if currency or new_currency:
            if currency:
                self.by_currency[currency] -= worst
            if new_currency:
                self.by_currency[new_currency] = self.by_currency.get(new_currency, ZERO) + new_worst
        contract.share = (new_worst, new_position, new_high, new_low, new_currency)
        if contract.con_id in self.unvalued:
            del self.unvalued[contract.con_id]

    def _take_out(self, contract: ContractExposure) -> None:
        """Count nothing of a contract whose value is not known."""
        worst, position, high, low, currency = contract.share
        self.gross_worst -= worst
        self.gross_position -= position
        self.net_high -= high
        self.net_low -= low
        if currency:
            self.by_currency[currency] -= worst
        contract.worst_value = None
        contract.share = (ZERO, ZERO, ZERO, ZERO, "")
        if contract.is_used:
            self.unvalued[contract.con_id] = None
        else:
            self.unvalued.pop(contract.con_id, None)


def _steps(info: ContractInfo) -> tuple[Decimal, Decimal, Decimal] | None:
    rows = info.increments
    if len(rows) > 1 or (rows and rows[0].low_edge > ZERO):
        return None
    tick = rows[0].increment if rows else info.min_tick
    if tick <= ZERO or info.size_increment <= ZERO:
        return None
    return tick, info.size_increment, info.min_size
