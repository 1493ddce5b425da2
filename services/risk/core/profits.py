"""Know what each strategy made or lost in a trading day, from its own executions (RTS 6 article 15; P11).

Average cost per strategy and contract: an execution that closes realises against it. The day's figure is what was
realised in the day and what is open now, against its average cost: a loss that was carried over from yesterday counts
today as well, which errs to the careful side and needs no price of the past.

Known limit: commissions are not in it, and a contract whose price or rate is unknown adds only 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from services.risk.core.days import TradingDay
from services.risk.core.positions import ContractExposure
from shared.money import ZERO


class Holding:
    """One strategy's position in one contract; `realized` is price points times quantity, of the day."""

    __slots__ = ("average", "position", "realized")

    def __init__(self) -> None:
        self.position = ZERO
        self.average = ZERO
        self.realized = ZERO

    def take(self, change: Decimal, price: Decimal) -> None:
        """Take an execution of signed shares."""
        before = self.position
        self.position += change
        if before == ZERO or (before > ZERO) == (change > ZERO):
            self.average = (self.average * before + price * change) / self.position
            return
        closed = change if abs(change) <= abs(before) else -before
        self.realized -= closed * (price - self.average)
        if abs(change) > abs(before):
            self.average = price


class Profits:
    """Holdings per strategy and contract."""

    __slots__ = ("_day", "_holdings", "_started_ns")

    def __init__(self, day: TradingDay) -> None:
        self._day = day
        self._started_ns = 0
        self._holdings: dict[str, dict[int, Holding]] = {}

    @property
    def strategies(self) -> list[str]:
        """Return who has traded."""
        return list(self._holdings)

    def advance(self, now_ns: int) -> None:
        """Forget what was realised on an earlier trading day."""
        start_ns = self._day.start_ns(now_ns)
        if start_ns > self._started_ns:
            self._started_ns = start_ns
            for rows in self._holdings.values():
                for con_id in [con_id for con_id, row in rows.items() if not row.position]:
                    del rows[con_id]
                for row in rows.values():
                    row.realized = ZERO

    def executed(self, strategy: str, con_id: int, change: Decimal, price: Decimal, now_ns: int) -> None:
        """Take an execution (or what a correction changed) of signed shares."""
        self.advance(now_ns)
        if change:
            self._holdings.setdefault(strategy, {}).setdefault(con_id, Holding()).take(change, price)

    def of(self, strategy: str, contracts: Mapping[int, ContractExposure], now_ns: int) -> Decimal:
        """Return the day's profit (negative: loss) of a strategy in base currency."""
        self.advance(now_ns)
        total = ZERO
        for con_id, row in self._holdings.get(strategy, {}).items():
            contract = contracts.get(con_id)
            if contract is None or contract.point is None:
                continue
            points, price = row.realized, contract.price()
            if row.position and price is not None:
                points += row.position * (price - row.average)
            total += points * contract.point
        return total

    def stored(self) -> dict[str, object]:
        """Return the holdings, for a snapshot."""
        rows = [
            [strategy, con_id, str(row.position), str(row.average), str(row.realized)]
            for strategy, held in self._holdings.items()
            for con_id, row in held.items()
        ]
        return {"started_ns": self._started_ns, "rows": rows}

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Take `stored` of a snapshot."""
        self._started_ns = stored["started_ns"]
        for strategy, con_id, position, average, realized in stored["rows"]:
            row = self._holdings.setdefault(strategy, {}).setdefault(con_id, Holding())
            row.position, row.average, row.realized = Decimal(position), Decimal(average), Decimal(realized)
