"""Be risk of a backtest: its own book and `decide`, told what it would read from the bus.

Invariants:
1. Every intent gets one decision by the rules and limits that hold live; approved ones are reserved at once.
2. The book is fed before each decision: prices, orders and fills at once, the account's values when something changed.

What differs from live is only when the account's values come: here before each decision, at IB every few minutes.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from copilot_quant.backtest.units import INCARNATION
from services.risk.core.decide import Verdict, decide
from services.risk.core.exposure import Book
from services.risk.core.limits import Limits
from services.simulator.core.account import Summary
from shared.messages.account import AccountSnapshot, AccountTag, PnlReport, PositionsComplete
from shared.messages.base import Message
from shared.messages.control import BrokerStatus, HaltStage, HaltStatus, LinkState, Reconciled
from shared.messages.market import ContractInfo, DataQuality, TickKind
from shared.messages.orders import Intent

GATEWAY = "backtest"
EPOCH = 1
_LIVE = int(DataQuality.LIVE)
_QUOTE, _TRADE = int(TickKind.QUOTE), int(TickKind.TRADE)


class RiskDesk:
    """Risk for one account."""

    def __init__(
        self, account: str, currency: str, limits: Limits, contracts: Iterable[ContractInfo], now_ns: int
    ) -> None:
        self.limits = limits
        self.book = Book(account, incarnation=INCARNATION, epoch=EPOCH, day=limits.base.trading_day)
        self._account = account
        self._currency = currency
        for message in (
            AccountSnapshot(account=account, currency=currency, is_full=True),
            *contracts,
            BrokerStatus(instance=GATEWAY, state=LinkState.READY, is_leader=True, epoch=EPOCH),
            HaltStatus(stage=HaltStage.NONE),
            PositionsComplete(account=account),
            Reconciled(instance=GATEWAY, epoch=EPOCH, incarnation=INCARNATION),
        ):
            self.book.apply(message, now_ns)

    def decide(self, intent: Intent, now_ns: int) -> Verdict:
        """Decide an intent; an approval counts from now on."""
        verdict = decide(intent, self.book, self.limits, now_ns)
        if verdict.command is not None:
            self.book.reserve(intent, now_ns, verdict.rates)
            self.book.unwritten.pop(intent.intent_id, None)
        return verdict

    def tell(self, message: Message, now_ns: int) -> None:
        """Take what the gateway said."""
        self.book.apply(message, now_ns)

    def quote(self, con_id: int, ts_ns: int, bid: float, ask: float) -> None:
        """Take the last quote of a contract."""
        self.book.apply_tick(con_id, _QUOTE, _LIVE, ts_ns, bid, ask)

    def trade(self, con_id: int, ts_ns: int, price: float) -> None:
        """Take the last trade of a contract."""
        self.book.apply_tick(con_id, _TRADE, _LIVE, ts_ns, price, 0.0)

    def account(self, summary: Summary, previous_equity: Decimal, now_ns: int) -> None:
        """Take the account's values and the profit of the day."""
        tags = (
            ("NetLiquidation", summary.net_liquidation),
            ("TotalCashValue", summary.total_cash),
            ("BuyingPower", summary.buying_power),
        )
        values = tuple(AccountTag(tag=tag, value=f"{value:.2f}", currency=self._currency) for tag, value in tags)
        self.book.apply(AccountSnapshot(account=self._account, currency=self._currency, values=values), now_ns)
        daily = summary.net_liquidation - previous_equity
        self.book.apply(PnlReport(account=self._account, daily=daily), now_ns)
