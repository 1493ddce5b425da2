"""Write down what a backtest's account does: executions, orders' ends, the curve of its equity.

Everything here is plain numbers in the order of time, so that a result can be compared byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from shared.messages.orders import Commission, Decision, Fill, Intent, OrderEvent, OrderState
from shared.money import ZERO


@dataclass(slots=True)
class TradeRecord:
    """One execution; `realized` is None while it only opened, after commissions else."""

    ts_ns: int
    strategy: str
    contract: str
    side: str
    quantity: Decimal
    price: Decimal
    exec_id: str
    intent_id: str
    reason: str
    cause_ts_ns: int
    commission: Decimal = ZERO
    realized: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """The account at one moment, base currency; `gross` is the sum of the positions' absolute values."""

    ts_ns: int
    equity: float
    gross: float
    net: float


@dataclass(slots=True)
class Journal:
    """The record of one run."""

    trades: list[TradeRecord] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    prices: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Contract → price at each sample."""
    intents: list[Intent] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)
    """Rule of risk, or code of the broker → how often it refused."""
    first_refusals: dict[str, str] = field(default_factory=dict)
    ends: dict[tuple[str, int], OrderState] = field(default_factory=dict)
    """Intent and leg → the state in which the order ended."""
    cancels: int = 0
    _by_exec: dict[str, TradeRecord] = field(default_factory=dict)
    _reasons: dict[str, Intent] = field(default_factory=dict)

    def asked(self, intent: Intent) -> None:
        """Note an intent."""
        self.intents.append(intent)
        self._reasons[intent.intent_id] = intent

    def decided(self, decision: Decision) -> None:
        """Note a rejection by risk."""
        if not decision.approved:
            self._refused(decision.code, decision.text)

    def order(self, event: OrderEvent) -> None:
        """Note how an order ended."""
        key = (event.intent_id, event.leg)
        if not event.state.is_final or self.ends.get(key) is event.state:
            return
        self.ends[key] = event.state
        if event.state in (OrderState.REJECTED, OrderState.REFUSED, OrderState.EXPIRED):
            self._refused(event.code or "BROKER", event.text)

    def _refused(self, code: str, text: str) -> None:
        self.rejected[code] = self.rejected.get(code, 0) + 1
        self.first_refusals.setdefault(code, text)

    def fill(self, fill: Fill, names: Mapping[int, str]) -> None:
        """Note an execution."""
        intent = self._reasons.get(fill.intent_id)
        trade = TradeRecord(
            fill.ts_event_ns, fill.strategy, names.get(fill.con_id, str(fill.con_id)), fill.side.value, fill.quantity,
            fill.price, fill.exec_id, fill.intent_id, intent.reason if intent else "",
            intent.cause_ts_ns if intent else 0,
        )  # fmt: skip
        self.trades.append(trade)
        self._by_exec[fill.exec_id] = trade

    def commission(self, report: Commission) -> None:
        """Note what an execution cost."""
        trade = self._by_exec.pop(report.exec_id, None)
        if trade is not None:
            trade.commission, trade.realized = report.commission, report.realized_pnl
