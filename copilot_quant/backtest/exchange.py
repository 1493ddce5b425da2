"""Be the broker and the exchange of a backtest: the simulator's order desk, matching and account, driven by given time.

Nothing of them is made anew here: orders are taken and refused by `OrderDesk`, trade by `matching`, and are booked by
`Account`, as when the simulator runs as a process. What is left out is what has no use without clients: sessions over
TCP, market data lines, synthetic prices, faults, what is stored on disk.

Invariants:
1. Time only goes on. An order reaches the market after half of the latency, so nothing fills at the moment of what
   caused it.
2. A market event that no order waits for costs nothing here: the book is brought up to date when it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from copilot_quant.backtest.contracts import Contract, universe_of
from services.gateway.core.ledger import ClaimedOrder
from services.simulator.core.account import Account
from services.simulator.core.book import Book
from services.simulator.core.config import ExchangeConfig
from services.simulator.core.executions import Executions
from services.simulator.core.floor import Floor
from services.simulator.core.hours import Hours
from services.simulator.core.ledger import Ledger
from services.simulator.core.market import Quote, Trade
from services.simulator.core.order_days import OrderDays
from services.simulator.core.order_desk import OrderDesk
from services.simulator.core.sessions import Session
from services.simulator.core.times import midnight_ns
from shared.clock import NS_PER_S
from shared.messages.orders import Side
from shared.tws.order import TwsOrder
from shared.tws.requests import CancelOrder, PlaceOrder
from shared.tws.responses import Response

CLIENT_ID = 1
VERSION = 176
BUY, SELL = "BUY", "SELL"


class NoLedger(Ledger):
    """Writes nothing: what happened is in the executions and the result."""

    def append(self, now_ns: int, kind: str, **facts: Any) -> None:
        """Drop an entry."""


class Exchange:
    """One exchange with one account and one client."""

    def __init__(self, contracts: Mapping[str, Contract], config: ExchangeConfig, hours: Hours, now_ns: int) -> None:
        hours.day_zone = config.time_zone
        self.floor = floor = Floor(config, universe_of(contracts), now_ns)
        floor.ledger = NoLedger()
        self.account = Account(config.accounts[0], config.currency)
        self.account.deposit(config.cash, config.currency)
        self.account.previous_equity = config.cash
        self.executions = Executions()
        self.orders = OrderDesk(floor, {self.account.name: self.account}, self.executions, hours)
        self._days = OrderDays(floor, hours, self.orders.life)
        self._days.arm()
        self._contracts = {each.instrument.con_id: each.instrument.contract() for each in contracts.values()}
        self._session: Session = floor.sessions.open(1, VERSION, now_ns, "backtest")
        floor.sessions.start(self._session, CLIENT_ID, now_ns)
        for each in contracts.values():
            floor.prices.anchor(each.instrument, each.instrument.price, now_ns)
            floor.book(each.instrument.con_id)
        self.is_working: Mapping[int, object] = self.orders.book.by_contract
        """The contracts in which an order may trade are its keys."""
        self._arm_midnight()

    # -- what happens in the market

    def book(self, con_id: int) -> Book:
        """Return the top of book of a contract."""
        return self.floor.book(con_id)

    def quote(self, quote: Quote) -> None:
        """Let the resting orders of a contract meet a quote."""
        self.floor.now_ns = max(self.floor.now_ns, quote.ts_ns)
        self.floor.book(quote.con_id).on_quote(quote)
        self.orders.life.on_market(quote)

    def trade(self, trade: Trade) -> None:
        """Let the resting orders of a contract meet a trade of others."""
        self.floor.now_ns = max(self.floor.now_ns, trade.ts_ns)
        self.floor.book(trade.con_id).on_trade(trade)
        self.orders.life.on_market(trade)

    def due_ns(self) -> int | None:
        """Return when `run_one` has something to do."""
        return self.floor.next_timer_ns()

    def run_one(self, now_ns: int) -> None:
        """Let the first thing that is due happen, at its own time."""
        act = self.floor.pop_timer(now_ns)
        if act is not None:
            act()

    def pass_to(self, now_ns: int) -> None:
        """Note that time has come so far."""
        if now_ns > self.floor.now_ns:
            self.floor.now_ns = now_ns

    # -- the client

    def place(self, order: ClaimedOrder) -> None:
        """Take a new or changed order from the gateway."""
        made = TwsOrder(
            action=BUY if order.side is Side.BUY else SELL, total_quantity=order.quantity,
            order_type=str(order.order_type), lmt_price=order.limit_price, aux_price=order.stop_price,
            tif=str(order.tif), order_ref=order.order_ref, account=order.account, transmit=order.transmit,
            outside_rth=order.outside_rth, parent_id=order.parent_id, oca_group=order.oca_group,
            oca_type=1 if order.oca_group else 0,
        )  # fmt: skip
        self.orders.place(self._session, PlaceOrder(order.order_id, self._contracts[order.con_id], made))

    def cancel(self, order_id: int) -> None:
        """Take a cancel from the gateway."""
        self.orders.cancel(self._session, CancelOrder(order_id))

    @property
    def has_news(self) -> bool:
        """Return whether `take` would return anything."""
        return self.floor.has_news

    def take(self) -> list[Response]:
        """Return what the client has been sent since the last call."""
        if not self.floor.has_news:
            return []
        turn = self.floor.take_turn()
        self.orders.book.dirty.clear()
        return [each for each in turn.sends.get(self._session.session, ()) if isinstance(each, Response)]

    # -- the account

    def net_liquidation(self) -> Decimal:
        """Return the account's equity at the marks of now."""
        return self.orders.fills.summary(self.account).net_liquidation

    def _arm_midnight(self) -> None:
        floor = self.floor
        next_ns = midnight_ns(floor.now_ns + 26 * 3600 * NS_PER_S, floor.config.time_zone)
        if next_ns <= floor.now_ns:
            next_ns += 86_400 * NS_PER_S
        floor.later(next_ns - floor.now_ns, self._on_midnight)

    def _on_midnight(self) -> None:
        self.account.new_day()
        self.account.previous_equity = self.net_liquidation()
        self._arm_midnight()
