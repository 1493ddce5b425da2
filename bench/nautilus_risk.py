"""Time nautilus_trader's RiskEngine on the load of `bench/risk.py`, in a process of its own.

50 equities with quotes, least and largest quantities and a position each, 20 strategies, 200 working orders in its
cache, a cash account with ample money, the same orders: limit and market, entries and exits, an exit by the strategy
that holds the position, named and reduce-only. What is timed is `RiskEngine.execute` of a ready command up to the
execution engine's endpoint, where a counter waits. All that it can check of such orders is set: reduce-only against
the position, instrument known, price, quantity (precision, least, largest), notional per order, free balance,
cumulative balance, trading state, and a rate whose window is full. An equity has no least or largest notional of its
own there; modifies and lists of orders are not measured.

With `unbounded` as argument the equities have no least and no largest quantity, as its adapter for Interactive Brokers
makes them: it then leaves out these two checks, which are more than half of its time (each compares as Decimals,
twice an order). Ours always checks both.

`bench/risk.py` starts it, with `.cache/peers/nautilus_trader` on the path, and asks for one pass at a time.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from typing import Any

from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.common.factories import OrderFactory
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import SubmitOrder
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, LiquiditySide, OmsType, OrderSide, OrderType
from nautilus_trader.model.events import AccountState, OrderFilled
from nautilus_trader.model.identifiers import (
    AccountId,
    InstrumentId,
    PositionId,
    StrategyId,
    Symbol,
    TradeId,
    TraderId,
    Venue,
    VenueOrderId,
)
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import AccountBalance, Money, Price, Quantity
from nautilus_trader.model.position import Position
from nautilus_trader.portfolio.portfolio import Portfolio
from nautilus_trader.risk.config import RiskEngineConfig
from nautilus_trader.risk.engine import RiskEngine

from bench.risk_orders import CONTRACTS, INTENTS, STRATEGIES, WORKING, Asked, holder, orders

TRADER = TraderId("BENCH-001")
VENUE = Venue("SIM")
ACCOUNT = AccountId("SIM-001")


class World:
    """An engine with what it reads, and orders to ask it about."""

    def __init__(self, *, is_bounded: bool) -> None:
        self._bounds = {}
        if is_bounded:
            self._bounds = {"min_quantity": Quantity.from_int(1), "max_quantity": Quantity.from_int(1_000_000)}
        self.clock = TestClock()
        bus = MessageBus(trader_id=TRADER, clock=self.clock)
        self.cache = Cache(database=None)
        portfolio = Portfolio(msgbus=bus, cache=self.cache, clock=self.clock)
        bus.register(endpoint="ExecEngine.execute", handler=self._sent)
        bus.register(endpoint="ExecEngine.process", handler=self._denied)
        self.sent = self.denied = 0
        self.instruments = [self._instrument(number) for number in range(CONTRACTS)]
        limits = {str(one.id): 10_000_000 for one in self.instruments}
        config = RiskEngineConfig(max_order_submit_rate=f"{INTENTS}/00:00:01", max_notional_per_order=limits)
        self.engine = RiskEngine(portfolio, bus, self.cache, self.clock, config)
        self._open_account(portfolio)
        self.factories = [
            OrderFactory(trader_id=TRADER, strategy_id=StrategyId(f"S-{number:03d}"), clock=self.clock)
            for number in range(STRATEGIES)
        ]
        for number in range(WORKING):
            is_exit, price = number % 2 == 0, "99.50" if number % 2 else "100.50"
            asked = Asked(number % CONTRACTS + 1, number % STRATEGIES, is_exit, 10, price)
            self.cache.add_order(self._order(asked), None)
        self.positions = {number: self._position(number) for number in range(1, CONTRACTS + 1)}

    def _sent(self, command: Any) -> None:
        self.sent += 1

    def _denied(self, event: Any) -> None:
        self.denied += 1

    def _instrument(self, number: int) -> Equity:
        symbol = Symbol(f"S{number}")
        made = Equity(
            instrument_id=InstrumentId(symbol, VENUE), raw_symbol=symbol, currency=USD, price_precision=2,
            price_increment=Price.from_str("0.01"), lot_size=Quantity.from_int(1), ts_event=0, ts_init=0,
            **self._bounds,
        )  # fmt: skip
        self.cache.add_instrument(made)
        quote = QuoteTick(
            made.id, Price.from_str("99.99"), Price.from_str("100.01"), Quantity.from_int(100), Quantity.from_int(100),
            0, 0,
        )  # fmt: skip
        self.cache.add_quote_tick(quote)
        return made

    def _open_account(self, portfolio: Portfolio) -> None:
        money = Money(100_000_000, USD)
        balance = AccountBalance(total=money, locked=Money(0, USD), free=money)
        state = AccountState(
            account_id=ACCOUNT, account_type=AccountType.CASH, base_currency=USD, reported=True,
            balances=[balance], margins=[], info={}, event_id=UUID4(), ts_event=0, ts_init=0,
        )  # fmt: skip
        portfolio.update_account(state)
        if self.cache.account_for_venue(VENUE) is None:
            raise AssertionError("without an account the engine leaves its checks out: this measures nothing")

    def _position(self, contract: int) -> PositionId:
        """Give a contract's holder 100 of it."""
        instrument, strategy = self.instruments[contract - 1], self.factories[holder(contract)].strategy_id
        bought = self._order(Asked(contract, holder(contract), is_exit=False, quantity=100, price="100.00"))
        named = PositionId(f"{instrument.id}-{strategy}")
        fill = OrderFilled(
            TRADER, strategy, instrument.id, bought.client_order_id, VenueOrderId(f"V-{contract}"), ACCOUNT,
            TradeId(f"T-{contract}"), named, OrderSide.BUY, OrderType.LIMIT, bought.quantity, bought.price, USD,
            Money(0, USD), LiquiditySide.TAKER, UUID4(), 0, 0,
        )  # fmt: skip
        self.cache.add_position(Position(instrument, fill), OmsType.NETTING)
        return named

    def _order(self, asked: Asked, *, is_reduce_only: bool = False) -> Any:
        factory, instrument = self.factories[asked.strategy], self.instruments[asked.contract - 1]
        side, quantity = OrderSide.SELL if asked.is_exit else OrderSide.BUY, Quantity.from_int(asked.quantity)
        if asked.price is None:
            return factory.market(instrument.id, side, quantity, reduce_only=is_reduce_only)
        price = Price.from_str(asked.price)
        return factory.limit(instrument.id, side, quantity, price, reduce_only=is_reduce_only)

    def commands(self) -> list[SubmitOrder]:
        """Return commands for the orders that `bench/risk.py` asks about too."""
        made = []
        for asked in orders():
            order = self._order(asked, is_reduce_only=asked.is_exit)
            position = self.positions[asked.contract] if asked.is_exit else None
            made.append(SubmitOrder(TRADER, order.strategy_id, order, UUID4(), 0, position))
        return made


def main() -> None:
    """Answer each line on standard input with the CPU microseconds per order of one pass over all orders."""
    world = World(is_bounded="unbounded" not in sys.argv)
    commands, execute = world.commands(), world.engine.execute
    gc.collect()
    gc.disable()
    for passes, _ in enumerate(sys.stdin, start=1):
        world.clock.advance_time(world.clock.timestamp_ns() + 10_000_000_000)
        begun = time.process_time_ns()
        for command in commands:
            execute(command)
        spent = time.process_time_ns() - begun
        if world.denied or world.sent != passes * INTENTS:
            raise AssertionError(f"{world.denied} orders were denied: this measures denials")
        print(json.dumps(spent / 1000 / len(commands)), flush=True)


if __name__ == "__main__":
    main()
