"""Pair executions into round trips: from flat to flat, or to the other side, per strategy and contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from copilot_quant.backtest.journal import TradeRecord
from shared.money import ZERO


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A position that was opened and closed; `quantity` is its largest size, `profit` is after commissions."""

    strategy: str
    contract: str
    side: str
    quantity: Decimal
    opened_ns: int
    closed_ns: int
    profit: Decimal
    commission: Decimal


@dataclass(slots=True)
class _Open:
    side: int
    opened_ns: int
    held: Decimal = ZERO
    largest: Decimal = ZERO
    money: Decimal = ZERO
    commission: Decimal = ZERO


def round_trips(trades: Iterable[TradeRecord], multipliers: Mapping[str, Decimal]) -> list[RoundTrip]:
    """Return the round trips in the order in which they closed.

    An execution that turns a position around closes one and opens another; its commission is shared by size.

    Args:
        trades: executions in the order of time.
        multipliers: contract → money per point.
    """
    found: list[RoundTrip] = []
    running: dict[tuple[str, str], _Open] = {}
    for trade in trades:
        key, sign, left = (trade.strategy, trade.contract), 1 if trade.side == "BUY" else -1, trade.quantity
        each = trade.commission / trade.quantity if trade.quantity else ZERO
        point = trade.price * multipliers.get(trade.contract, Decimal(1))
        while left > ZERO:
            position = running.get(key)
            if position is None:
                position = running[key] = _Open(sign, trade.ts_ns)
            part = left if position.side == sign else min(left, position.held)
            position.held += part if position.side == sign else -part
            position.largest = max(position.largest, position.held)
            position.money -= sign * part * point + each * part
            position.commission += each * part
            left -= part
            if not position.held:
                del running[key]
                found.append(
                    RoundTrip(
                        *key, "long" if position.side > 0 else "short", position.largest, position.opened_ns,
                        trade.ts_ns, position.money, position.commission,
                    )
                )  # fmt: skip
    return found
