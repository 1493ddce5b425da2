"""Say what each strategy unit made: from its own book, the commissions in `fills`, and the last prices.

A unit's book is made of its executions alone and outlives the streams, so its result is that since the unit began. A
commission is known as long as its entry in `fills` is retained. Amounts are per currency: nothing is converted.

Known limit: what is open in a contract without a last price counts 0 and is named in `unpriced`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from shared.messages.market import ContractInfo
from shared.messages.orders import Commission
from shared.money import ZERO

_CENT = Decimal("0.01")


@dataclass(slots=True)
class Profit:
    """The result in one currency."""

    realized: Decimal = ZERO
    unrealized: Decimal = ZERO
    commissions: Decimal = ZERO

    @property
    def net(self) -> Decimal:
        """Return what is left of both after commissions."""
        return self.realized + self.unrealized - self.commissions


@dataclass(slots=True)
class UnitProfit:
    """The result of one unit by currency, and the contracts it holds whose price is not known."""

    by_currency: dict[str, Profit] = field(default_factory=dict)
    unpriced: list[str] = field(default_factory=list)

    def of(self, currency: str) -> Profit:
        """Return the result in a currency, made empty if it is new."""
        return self.by_currency.setdefault(currency, Profit())

    def as_json(self) -> dict[str, Any]:
        """Return it with amounts as text, in cents."""
        rows = {
            currency: {
                "realized": _text(one.realized), "unrealized": _text(one.unrealized),
                "commissions": _text(one.commissions), "net": _text(one.net),
            }
            for currency, one in self.by_currency.items()
        }  # fmt: skip
        return {"by_currency": rows, "unpriced": self.unpriced}


def profit_of(
    row: Mapping[str, Any], infos: Mapping[int, ContractInfo], prices: Mapping[int, Decimal],
    commissions: Iterable[Commission],
) -> UnitProfit:  # fmt: skip
    """Return the result of one unit.

    Args:
        row: what its worker wrote into the `strategies` hash.
        infos: definitions by conId.
        prices: last prices by conId, as quoted.
        commissions: those in `fills`, each execution once.
    """
    result = UnitProfit()
    con_ids = [con_id for con_id in row.get("contracts") or () if isinstance(con_id, int)]
    positions: Mapping[str, Mapping[str, str]] = row.get("positions") or {}
    for con_id, name in zip(con_ids, row.get("names") or (), strict=False):
        held, info = positions.get(name), infos.get(con_id)
        if held is None:
            continue
        point = info.multiplier / info.price_magnifier if info is not None else Decimal(1)
        profit = result.of(info.currency if info is not None else "?")
        quantity = _number(held.get("position"))
        profit.realized += _number(held.get("realized")) * point
        price = prices.get(con_id)
        if quantity and price is None:
            result.unpriced.append(name)
        elif quantity and price is not None:
            profit.unrealized += quantity * (price - _number(held.get("average_price"))) * point
    for each in commissions:
        if each.strategy == row.get("strategy") and each.con_id in con_ids:
            result.of(each.currency).commissions += each.commission
    return result


def price_in(last: Mapping[str, str]) -> Decimal | None:
    """Return the middle of a snapshot's quote, else its last trade, None if it has neither."""
    bid, ask = _number(last.get("bid")), _number(last.get("ask"))
    if bid > 0 and ask > 0:
        return (bid + ask) / 2
    trade = _number(last.get("last"))
    return trade if trade > 0 else None


def profit_text(profit: Mapping[str, Any]) -> str:
    """Return a unit's result as people read it: what is left in each currency."""
    parts = [f"{Decimal(one['net']):+,} {currency}" for currency, one in profit["by_currency"].items()]
    return ", ".join(parts) + (f" (no price: {', '.join(profit['unpriced'])})" if profit["unpriced"] else "")


def _number(text: object) -> Decimal:
    try:
        value = Decimal(str(text or 0))
    except InvalidOperation:
        return ZERO
    return value if value.is_finite() else ZERO


def _text(value: Decimal) -> str:
    return str(value.quantize(_CENT) + ZERO)
