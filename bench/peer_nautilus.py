"""Run the measured strategy in nautilus_trader; a script of its own process, with its folder of `.cache/peers`.

Usage: peer_nautilus.py FOLDER   (columns as .npy files; prints one line of JSON)
"""

from __future__ import annotations

import json
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import nautilus_trader
import numpy as np
import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TraderId, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import QuoteTickDataWrangler, TradeTickDataWrangler
from nautilus_trader.trading.strategy import Strategy

from bench.crossing import SHARES, Crossing

VENUE = Venue("SIM")


class Cross(Strategy):  # type: ignore[misc]
    """The measured strategy."""

    def __init__(self, instruments: list[Any]) -> None:
        super().__init__()
        self.instruments = {one.id: one for one in instruments}
        self.means = {one.id: Crossing() for one in instruments}
        self.held = dict.fromkeys(self.means, 0)
        self.events = self.orders = 0

    def on_start(self) -> None:
        for key in self.instruments:
            self.subscribe_quote_ticks(key)
            self.subscribe_trade_ticks(key)

    def on_quote_tick(self, tick: Any) -> None:
        self.take(tick.instrument_id, (tick.bid_price.as_double() + tick.ask_price.as_double()) / 2)

    def on_trade_tick(self, tick: Any) -> None:
        self.take(tick.instrument_id, tick.price.as_double())

    def take(self, key: Any, price: float) -> None:
        self.events += 1
        sign = self.means[key].add(price)
        if not sign:
            return
        self.orders += 1
        missing = sign * SHARES - self.held[key]
        self.held[key] += missing
        side = OrderSide.BUY if missing > 0 else OrderSide.SELL
        self.submit_order(self.order_factory.market(key, side, Quantity.from_int(abs(missing))))


def instrument_of(name: str) -> Any:
    return Equity(
        instrument_id=InstrumentId(Symbol(name), VENUE), raw_symbol=Symbol(name), currency=USD, price_precision=4,
        price_increment=Price.from_str("0.0001"), lot_size=Quantity.from_int(1), ts_event=0, ts_init=0,
        maker_fee=Decimal("0.001"), taker_fee=Decimal("0.001"),
    )  # fmt: skip


def ticks_of(instrument: Any, columns: Any) -> list[Any]:
    at_ns, is_quote, a, b, c, d = columns
    times = pd.DatetimeIndex(at_ns.astype("int64"), tz="UTC")
    quotes, trades = is_quote > 0, is_quote == 0
    made: list[Any] = []
    if quotes.any():
        table = pd.DataFrame(
            {"bid_price": a[quotes], "ask_price": c[quotes], "bid_size": b[quotes], "ask_size": d[quotes]},
            index=times[quotes],
        )
        made += QuoteTickDataWrangler(instrument).process(table)
    numbers = [str(number) for number in range(int(trades.sum()))]
    table = pd.DataFrame({"price": a[trades], "quantity": b[trades], "trade_id": numbers}, index=times[trades])
    return made + list(TradeTickDataWrangler(instrument).process(table))


def main(folder: Path) -> dict[str, Any]:
    began = time.process_time()
    engine = BacktestEngine(
        BacktestEngineConfig(trader_id=TraderId("BENCH-001"), logging=LoggingConfig(bypass_logging=True))
    )
    engine.add_venue(
        venue=VENUE, oms_type=OmsType.NETTING, account_type=AccountType.MARGIN, base_currency=USD,
        starting_balances=[Money(100_000, USD)], trade_execution=True,
    )  # fmt: skip
    instruments = []
    for path in sorted(folder.glob("*.npy")):
        instrument = instrument_of(path.stem)
        instruments.append(instrument)
        engine.add_instrument(instrument)
        engine.add_data(ticks_of(instrument, np.load(path)))
    strategy = Cross(instruments)
    engine.add_strategy(strategy)
    prepared = time.process_time()
    engine.run()
    ended = time.process_time()
    account = engine.cache.account_for_venue(VENUE)
    return {
        "events": strategy.events, "orders": strategy.orders, "prepare_s": prepared - began, "run_s": ended - prepared,
        "final": float(account.balance_total(USD)), "version": nautilus_trader.__version__,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
