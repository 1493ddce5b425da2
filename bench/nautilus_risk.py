"""Time nautilus_trader's RiskEngine on the load of `bench/risk.py`, in a process of its own.

50 equities with quotes, 20 strategies, 200 working orders in its cache, a cash account with ample money, the same
limit orders. What is timed is `RiskEngine.execute` of a ready command up to the execution engine's endpoint, where a
counter waits. Its checks on that way: reduce-only, instrument known, price, quantity, notional per order (its own and
the instrument's), free balance, cumulative balance, trading state, rate.

`bench/risk.py` starts it, with `.cache/peers/nautilus_trader` on the path, and asks for one pass at a time.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from decimal import Decimal
from typing import Any

from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.common.factories import OrderFactory
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import SubmitOrder
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OrderSide
from nautilus_trader.model.events import AccountState
from nautilus_trader.model.identifiers import AccountId, InstrumentId, StrategyId, Symbol, TraderId, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import AccountBalance, Money, Price, Quantity
from nautilus_trader.portfolio.portfolio import Portfolio
from nautilus_trader.risk.config import RiskEngineConfig
from nautilus_trader.risk.engine import RiskEngine

CONTRACTS, STRATEGIES, WORKING, INTENTS = 50, 20, 200, 2000
TRADER = TraderId("BENCH-001")
VENUE = Venue("SIM")


class World:
    """An engine with what it reads, and orders to ask it about."""

    def __init__(self) -> None:
        self.clock = TestClock()
        bus = MessageBus(trader_id=TRADER, clock=self.clock)
        self.cache = Cache(database=None)
        portfolio = Portfolio(msgbus=bus, cache=self.cache, clock=self.clock)
        bus.register(endpoint="ExecEngine.execute", handler=self._sent)
        bus.register(endpoint="ExecEngine.process", handler=self._denied)
        self.sent = self.denied = 0
        self.instruments = [self._instrument(number) for number in range(CONTRACTS)]
        limits = {str(one.id): 10_000_000 for one in self.instruments}
        config = RiskEngineConfig(max_order_submit_rate="1000000/00:00:01", max_notional_per_order=limits)
        self.engine = RiskEngine(portfolio, bus, self.cache, self.clock, config)
        self._open_account(portfolio)
        self.factories = [
            OrderFactory(trader_id=TRADER, strategy_id=StrategyId(f"S-{number:03d}"), clock=self.clock)
            for number in range(STRATEGIES)
        ]
        for number in range(WORKING):
            side = OrderSide.BUY if number % 2 else OrderSide.SELL
            self.cache.add_order(self._order(number, number % CONTRACTS, side, 10, 100), None)

    def _sent(self, command: Any) -> None:
        self.sent += 1

    def _denied(self, event: Any) -> None:
        self.denied += 1

    def _instrument(self, number: int) -> Equity:
        symbol = Symbol(f"S{number}")
        made = Equity(
            instrument_id=InstrumentId(symbol, VENUE), raw_symbol=symbol, currency=USD, price_precision=2,
            price_increment=Price.from_str("0.01"), lot_size=Quantity.from_int(1), ts_event=0, ts_init=0,
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
            account_id=AccountId("SIM-001"), account_type=AccountType.CASH, base_currency=USD, reported=True,
            balances=[balance], margins=[], info={}, event_id=UUID4(), ts_event=0, ts_init=0,
        )  # fmt: skip
        portfolio.update_account(state)
        if self.cache.account_for_venue(VENUE) is None:
            raise AssertionError("without an account the engine leaves its checks out: this measures nothing")

    def _order(self, strategy: int, contract: int, side: OrderSide, quantity: int, price: object) -> Any:
        return self.factories[strategy % STRATEGIES].limit(
            self.instruments[contract].id, side, Quantity.from_int(quantity), Price(Decimal(str(price)), 2)
        )

    def commands(self) -> list[SubmitOrder]:
        """Return the same orders as `bench/risk.py` asks about."""
        chance = random.Random(5)
        made = []
        for number in range(INTENTS):
            side = chance.choice((OrderSide.BUY, OrderSide.SELL))
            price = "99.90" if side is OrderSide.BUY else "100.10"
            quantity, contract = chance.randint(1, 20), chance.randint(1, CONTRACTS) - 1
            order = self._order(number, contract, side, quantity, price)
            made.append(SubmitOrder(TRADER, order.strategy_id, order, UUID4(), 0))
        return made


def main() -> None:
    """Answer each line on standard input with the CPU microseconds per order of one pass over all orders."""
    world = World()
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
