"""The guide's `LiveStrategyEngine`: call strategies with bars at an interval, send what they return through risk.

```python
engine = LiveStrategyEngine(paper_trading=True, update_interval=60.0)
engine.add_strategy(MyStrategy())
if engine.connect():
    engine.start(symbols=["AAPL", "MSFT"], lookback_days=30, data_interval="1d")
```

1. Strategies run in this process, on one thread, one after the other; the orders go the way of all orders.
2. A strategy gets no second order in a symbol while its last one there may still fill, or got no answer.
3. A strategy that fails five times in a row is taken out; the others go on.
4. `commission` and `slippage` are estimates: they are reported beside the orders and change no book.

Known limit: what a strategy remembers is gone with this process. Units that survive crashes and move between workers
are `services.strategy.api.Strategy`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from copilot_quant.brokers.interactive_brokers import IBKRBroker
from copilot_quant.brokers.live_market_data import IBKRLiveDataFeed
from copilot_quant.frames import pandas
from copilot_quant.strategies.base import Order
from shared.bar_sizes import BAR_SIZES, parse_bar_size
from shared.clock import NS_PER_S, SYSTEM_CLOCK
from shared.errors import BadInput, BrokerUnavailable, CqError, InvariantBroken
from shared.messages.orders import OrderState

log = logging.getLogger("copilot_quant.engine")
ERRORS_MAX = 5
SETTLING_S = 60.0
"""An order without an answer cannot reach the broker later than this: intents say until when they are valid."""
STOP_LIMIT_S = 60.0
SETTLED = frozenset(state.value for state in OrderState if state.is_final)
"""States of an answer after which nothing of the order can fill any more."""
BAR_COLUMNS = ["open", "high", "low", "close", "volume"]


@dataclass(slots=True)
class _Running:
    """One strategy and how it fares."""

    strategy: Any
    name: str
    errors_in_row: int = 0
    is_out: bool = False
    unanswered_ns: dict[str, int] = field(default_factory=dict)


class LiveStrategyEngine:
    """Strategies of the guide's shape on live data.

    Args:
        paper_trading: paper account; False: the live one, which also needs `CQ_MODE=live`.
        commission: expected commission as a fraction of an order's value.
        slippage: expected slippage as a fraction of the price.
        update_interval: seconds between two calls of `on_data`.
    """

    def __init__(
        self,
        paper_trading: bool = True,  # noqa: FBT001, FBT002 - the guide's signature
        commission: float = 0.001,
        slippage: float = 0.0005,
        update_interval: float = 60.0,
    ) -> None:
        if update_interval <= 0:
            raise BadInput(f"update_interval {update_interval!r} has to be positive")
        self.commission, self.slippage, self.update_interval = commission, slippage, update_interval
        self.broker = IBKRBroker(paper_trading)
        self.feed = IBKRLiveDataFeed(paper_trading)
        self.orders: list[dict[str, Any]] = []
        """The answer to every order, with strategy and estimated costs, oldest first; the last thousand."""
        self.updates = 0
        self._strategies: list[_Running] = []
        self._symbols: list[str] = []
        self._bars: dict[str, Any] = {}
        self._loaded_period = -1
        self._lookback_days, self._bar_size = 0, ""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # -- the guide's methods

    def add_strategy(self, strategy: Any) -> None:
        """Add an object with `on_data(timestamp, data) -> list[Order]`; see `copilot_quant.strategies.base`.

        Raises:
            BadInput: it has no `on_data`, or another one has its name.
        """
        if not callable(getattr(strategy, "on_data", None)):
            raise BadInput(f"{type(strategy).__name__} has no on_data(timestamp, data) -> list[Order]")
        name = getattr(strategy, "name", "") or type(strategy).__name__.lower()
        if any(each.name == name for each in self._strategies):
            raise BadInput(f"there is a strategy {name!r} already: give each a name of its own")
        self._strategies.append(_Running(strategy, name))

    def connect(self) -> bool:
        """Find the system of this directory, or start one; say whether it worked."""
        return self.broker.connect() and self.feed.connect()

    @property
    def last_error(self) -> str:
        """Say why `connect` failed."""
        return self.broker.last_error or self.feed.last_error

    def start(self, symbols: Sequence[str], lookback_days: int = 30, data_interval: str = "1d") -> None:
        """Load bars, then call the strategies on a thread at every interval; return when the bars are there.

        Raises:
            BadInput: unknown symbol or interval, nothing to run, or it runs already.
            BrokerUnavailable: not connected.
            CqError: the bars did not come.
        """
        if self.is_running:
            raise BadInput("the engine runs already: stop() it first")
        if not self._strategies or not symbols:
            raise BadInput("nothing to run: add_strategy() first, and name at least one symbol")
        self._symbols, self._lookback_days = list(symbols), lookback_days
        self._bar_size = parse_bar_size(data_interval)
        unknown = [name for name, found in self.feed.subscribe(self._symbols).items() if not found]
        if unknown:
            raise BadInput(f"no contract is called {', '.join(unknown)}: `cq contract find` shows what there is")
        self._load_bars()
        for each in self._strategies:
            if callable(getattr(each.strategy, "on_start", None)):
                each.strategy.on_start(self._symbols)
        self._stopping.clear()
        self._thread = threading.Thread(target=self._serve, name="cq-engine", daemon=True)
        self._thread.start()
        log.info("started: %s on %s", ", ".join(each.name for each in self._strategies), ", ".join(self._symbols))

    @property
    def is_running(self) -> bool:
        """Say whether strategies are being called."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Call no strategy any more, after the call that runs; working orders stay.

        Raises:
            InvariantBroken: a strategy did not return within a minute; it cannot order any more.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping.set()
        thread.join(STOP_LIMIT_S)
        if thread.is_alive():
            raise InvariantBroken(f"a strategy has not returned from on_data for {STOP_LIMIT_S:g} s")
        for each in self._strategies:
            if callable(getattr(each.strategy, "on_stop", None)):
                each.strategy.on_stop()
        log.info("stopped after %s updates and %s orders", self.updates, len(self.orders))

    def disconnect(self) -> None:
        """Stop if need be, and let go of the system."""
        self.stop()
        self.feed.disconnect()
        self.broker.disconnect()

    # -- the thread

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                self.update()
            except CqError as e:
                log.warning("no update: %s", e)
            self._stopping.wait(self.update_interval)

    def update(self) -> None:
        """Call every strategy once with what is known now, and send what it returns.

        Raises:
            CqError: data or positions cannot be read at the moment; nothing was called.
        """
        now_ns = SYSTEM_CLOCK.wall_ns()
        if now_ns // (BAR_SIZES[self._bar_size] * NS_PER_S) != self._loaded_period:
            self._load_bars()
        data = self._data(now_ns)
        if data is None:
            log.warning("no prices for %s: is their market open?", ", ".join(self._symbols))
            return
        timestamp = pandas().Timestamp(now_ns, unit="ns", tz="UTC")
        for each in self._strategies:
            if not each.is_out and not self._stopping.is_set():
                self._call(each, timestamp, data.copy())
        self.updates += 1

    def _call(self, running: _Running, timestamp: Any, data: Any) -> None:
        self._tell_positions(running)
        try:
            wanted = list(running.strategy.on_data(timestamp, data) or [])
        except Exception:
            running.errors_in_row += 1
            running.is_out = running.errors_in_row >= ERRORS_MAX
            end = ": it is taken out" if running.is_out else ""
            log.exception("%s failed, %s in a row%s", running.name, running.errors_in_row, end)
            return
        running.errors_in_row = 0
        for order in wanted:
            if not self._stopping.is_set():
                self._send(running, order)

    def _tell_positions(self, running: _Running) -> None:
        """Bring `positions` and `working` of a strategy up to date."""
        access = self.broker.access
        held = access.run(access.desk.strategy_positions(running.name), limit_s=10.0)
        names = {info.con_id: name for name, info in self.feed.contracts().items()}
        now_ns = SYSTEM_CLOCK.wall_ns()
        unanswered = {
            name: since for name, since in running.unanswered_ns.items() if now_ns - since < SETTLING_S * NS_PER_S
        }
        running.unanswered_ns = unanswered
        events = access.run(access.desk.open_orders(), limit_s=10.0)
        open_in = {names[each.con_id] for each in events if each.strategy == running.name and each.con_id in names}
        running.strategy.positions = {names[key]: float(value) for key, value in held.items() if key in names and value}
        running.strategy.working = frozenset(open_in | set(unanswered))

    def _send(self, running: _Running, order: Order) -> None:
        if order.symbol in running.strategy.working:
            log.warning("%s: no second order in %s while the last may still fill", running.name, order.symbol)
            return
        try:
            answer = self.broker.execute_order(
                order.symbol, order.quantity, order.order_type, order.side,
                limit_price=order.limit_price, stop_price=order.stop_price,
                take_profit=order.take_profit, stop_loss=order.stop_loss,
                strategy=running.name, reason="LiveStrategyEngine",
            )  # fmt: skip
        except (BadInput, BrokerUnavailable) as e:
            log.warning("%s: not sent: %s", running.name, e)
            return
        except CqError:
            running.unanswered_ns[order.symbol] = SYSTEM_CLOCK.wall_ns()
            raise
        if answer["status"] == "unanswered":
            running.unanswered_ns[order.symbol] = SYSTEM_CLOCK.wall_ns()
        if answer["status"] not in SETTLED:
            running.strategy.working |= {order.symbol}
        price = answer["avg_fill_price"] or self.feed.get_latest_price(order.symbol, 0.0) or 0.0
        costs = self.estimate(float(order.quantity), price)
        self.orders = [*self.orders[-999:], {**answer, "strategy": running.name, **costs}]

    def estimate(self, quantity: float, price: float) -> Mapping[str, float]:
        """Return what an order is expected to cost beside its price; nothing is booked."""
        value = abs(quantity) * price
        return {
            "estimated_commission": round(value * self.commission, 4),
            "estimated_slippage": round(value * self.slippage, 4),
        }

    # -- data

    def _load_bars(self) -> None:
        """Ask for the bars of the lookback; the system has most of them in its cache."""
        for symbol in self._symbols:
            self._bars[symbol] = self.feed.get_historical_bars(symbol, f"{self._lookback_days} D", self._bar_size)
        self._loaded_period = SYSTEM_CLOCK.wall_ns() // (BAR_SIZES[self._bar_size] * NS_PER_S)

    def _data(self, now_ns: int) -> Any:
        """Return bars and the latest prices as one table; None where there is no price at all."""
        prices = {symbol: self.feed.get_latest_price(symbol) for symbol in self._symbols}
        period_s = BAR_SIZES[self._bar_size]
        begun_s = now_ns // NS_PER_S // period_s * period_s
        tables = [
            with_price(self._bars[symbol], symbol, price, begun_s)
            for symbol, price in prices.items()
            if price is not None
        ]
        return pandas().concat(tables) if tables else None


def with_price(bars: Any, symbol: str, price: float, begun_s: int) -> Any:
    """Return the bars of a symbol whose last one, opened at `begun_s`, is closed at the latest price."""
    moment = pandas().Timestamp(begun_s, unit="s", tz="UTC")
    table = bars[BAR_COLUMNS].copy()
    if len(table) and table.index[-1] >= moment:
        last = table.index[-1]
        table.loc[last, "high"] = max(table.loc[last, "high"], price)
        table.loc[last, "low"] = min(table.loc[last, "low"], price)
        table.loc[last, "close"] = price
    else:
        table.loc[moment] = [price, price, price, price, 0.0]
    table.insert(0, "symbol", symbol)
    table.index.name = "date"
    return table
