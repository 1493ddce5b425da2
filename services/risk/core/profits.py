"""Know what each strategy made or lost in a trading day, from its own executions (RTS 6 article 15; P11).

Average cost per strategy and contract: an execution that closes realises against it. The day's figure is what was
realised in the day and what is open now, against its average cost: a loss that was carried over from yesterday counts
today as well, which errs to the careful side and needs no price of the past.

Commissions count as they are reported, each once. Money paid in or out is no execution: neither loss nor profit. A
split changes shares and average cost, and is neither; while the broker shows a position that we cannot explain, what is
open there is not counted, since shares and price may be of different terms.

Known limits: a contract or a commission whose price or rate is unknown adds only 0; a price in the terms of after a
split that comes before the broker shows the new position looks like a loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from services.risk.core.days import TradingDay
from services.risk.core.positions import ContractExposure
from shared.money import ZERO

CHARGES_MAX = 2000


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

    __slots__ = ("_accepted", "_charged", "_charges", "_day", "_holdings", "_peaks", "_started_ns")

    def __init__(self, day: TradingDay) -> None:
        self._day = day
        self._started_ns = 0
        self._accepted: dict[str, Decimal] = {}
        """Strategy → loss of the day that a person accepted by resuming it."""
        self._holdings: dict[str, dict[int, Holding]] = {}
        self._charged: dict[str, Decimal] = {}
        """Strategy → commissions of the day in base currency."""
        self._peaks: dict[str, Decimal] = {}
        """Strategy → its best profit of the day, or since a person resumed it, of those that `fell` was told."""
        self._charges: dict[str, None] = {}
        """Executions whose commission was counted, the newest `CHARGES_MAX`."""

    @property
    def strategies(self) -> list[str]:
        """Return who has traded."""
        return list(self._holdings)

    def advance(self, now_ns: int) -> None:
        """Forget what was realised on an earlier trading day."""
        start_ns = self._day.start_ns(now_ns)
        if start_ns > self._started_ns:
            self._started_ns = start_ns
            self._charged = {}
            self._accepted, self._peaks = {}, {}
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

    def split(self, con_id: int, before: Decimal, after: Decimal) -> None:
        """Take a split that made `after` of `before`: the same for the shares of whoever holds some, and their cost."""
        for rows in self._holdings.values():
            row = rows.get(con_id)
            if row is not None:
                row.position = row.position * after / before
                row.average = row.average * before / after

    def charged(self, strategy: str, exec_id: str, amount: Decimal, now_ns: int) -> None:
        """Take the commission of an execution in base currency; a second time changes nothing."""
        self.advance(now_ns)
        if exec_id in self._charges:
            return
        if len(self._charges) >= CHARGES_MAX:
            del self._charges[next(iter(self._charges))]
        self._charges[exec_id] = None
        self._charged[strategy] = self._charged.get(strategy, ZERO) + amount

    def of_all(self, contracts: Mapping[int, ContractExposure], now_ns: int) -> Decimal:
        """Return the day's profit (negative: loss) of everybody who traded, by hand or by program, in base currency."""
        return sum((self.of(owner, contracts, now_ns) for owner in {**self._holdings, **self._charged}), ZERO)

    def of(self, strategy: str, contracts: Mapping[int, ContractExposure], now_ns: int) -> Decimal:
        """Return the day's profit (negative: loss) of a strategy in base currency."""
        self.advance(now_ns)
        total = -self._charged.get(strategy, ZERO)
        for con_id, row in self._holdings.get(strategy, {}).items():
            contract = contracts.get(con_id)
            if contract is None or contract.point is None:
                continue
            points, price = row.realized, contract.price()
            if row.position and price is not None and not contract.is_ahead:
                points += row.position * (price - row.average)
            total += points * contract.point
        return total

    def lost(self, strategy: str, contracts: Mapping[int, ContractExposure], now_ns: int) -> Decimal:
        """Return what a strategy lost in the day (negative: made), beyond what a person accepted by resuming it."""
        return -self.of(strategy, contracts, now_ns) - self._accepted.get(strategy, ZERO)

    def fell(self, strategy: str, profit: Decimal) -> Decimal:
        """Return how far a strategy's profit of the day, as it is now, is below its best."""
        peak = self._peaks.get(strategy)
        if peak is None or profit > peak:
            self._peaks[strategy] = peak = profit
        return peak - profit

    def accept(self, strategy: str, contracts: Mapping[int, ContractExposure], now_ns: int) -> None:
        """Take a person's word: what a strategy ("": each) has lost till now counts no more today."""
        for name in [strategy] if strategy else self.strategies:
            self._accepted[name] = max(ZERO, -self.of(name, contracts, now_ns))
            self._peaks.pop(name, None)

    def stored(self) -> dict[str, object]:
        """Return the holdings, for a snapshot."""
        rows = [
            [strategy, con_id, str(row.position), str(row.average), str(row.realized)]
            for strategy, held in self._holdings.items()
            for con_id, row in held.items()
        ]
        charged = {strategy: str(amount) for strategy, amount in self._charged.items()}
        accepted = {strategy: str(amount) for strategy, amount in self._accepted.items()}
        return {
            "started_ns": self._started_ns, "rows": rows, "charged": charged, "charges": list(self._charges),
            "accepted": accepted, "peaks": {strategy: str(amount) for strategy, amount in self._peaks.items()},
        }  # fmt: skip

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Take `stored` of a snapshot."""
        self._started_ns = stored["started_ns"]
        self._charged = {name: Decimal(amount) for name, amount in stored.get("charged", {}).items()}
        self._accepted = {name: Decimal(amount) for name, amount in stored.get("accepted", {}).items()}
        self._peaks = {name: Decimal(amount) for name, amount in stored.get("peaks", {}).items()}
        self._charges = dict.fromkeys(stored.get("charges", ()))
        for strategy, con_id, position, average, realized in stored["rows"]:
            row = self._holdings.setdefault(strategy, {}).setdefault(con_id, Holding())
            row.position, row.average, row.realized = Decimal(position), Decimal(average), Decimal(realized)
