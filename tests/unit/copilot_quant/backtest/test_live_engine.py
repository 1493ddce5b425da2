from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from copilot_quant.backtest.live_engine import ERRORS_MAX, LiveStrategyEngine, with_price
from copilot_quant.strategies.base import DataStrategy, Order
from shared.errors import BadInput
from shared.messages.market import ContractInfo

APPLE = ContractInfo(con_id=1, name="AAPL@NASDAQ", symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")
TODAY = pd.Timestamp.now(tz="UTC").normalize()


def some_bars() -> pd.DataFrame:
    index = pd.DatetimeIndex([TODAY - pd.Timedelta(days=2), TODAY - pd.Timedelta(days=1)], name="date")
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume", "vwap"), 10.0), index=index)


class Feed:
    """Prices as the test says."""

    price: float | None = 11.0

    def subscribe(self, symbols: list[str]) -> dict[str, bool]:
        return {name: name == "AAPL" for name in symbols}

    def contracts(self) -> dict[str, ContractInfo]:
        return {"AAPL": APPLE}

    def get_latest_price(self, symbol: str, timeout: float = 5.0) -> float | None:
        return self.price

    def get_historical_bars(self, symbol: str, duration: str, bar_size: str) -> pd.DataFrame:
        assert (duration, bar_size) == ("30 D", "1 day")
        return some_bars()

    def disconnect(self) -> None:
        pass


class Broker:
    """A system that holds five shares and answers every order the same way."""

    status = "filled"

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.access = SimpleNamespace(run=lambda work, limit_s: work, desk=self)

    def strategy_positions(self, name: str) -> dict[int, Decimal]:
        return {1: Decimal(5)}

    def open_orders(self) -> list[Any]:
        return []

    def execute_order(self, symbol: str, quantity: float, order_type: str, side: str, **more: Any) -> dict[str, Any]:
        self.sent.append((symbol, quantity, order_type, side, more["strategy"]))
        return {"status": self.status, "avg_fill_price": 100.0}

    def disconnect(self) -> None:
        pass


class Wants(DataStrategy):
    """Returns what the test wants."""

    def __init__(self, act: Callable[[Any], list[Order]]) -> None:
        super().__init__()
        self.act = act
        self.seen: list[Any] = []

    def on_data(self, timestamp: Any, data: Any) -> list[Order]:
        self.seen.append((timestamp, data, self.positions))
        return self.act(data)


def an_engine(act: Callable[[Any], list[Order]]) -> tuple[LiveStrategyEngine, Wants, Broker]:
    engine, broker = LiveStrategyEngine(update_interval=3600.0, commission=0.001, slippage=0.0005), Broker()
    engine.broker, engine.feed = broker, Feed()  # type: ignore[assignment]
    strategy = Wants(act)
    engine.add_strategy(strategy)
    engine._symbols, engine._lookback_days, engine._bar_size = ["AAPL"], 30, "1 day"
    return engine, strategy, broker


def test_a_strategy_sees_bars_with_the_latest_price_and_its_position() -> None:
    engine, strategy, broker = an_engine(lambda _: [Order("AAPL", 2)])
    engine.update()
    _, data, positions = strategy.seen[0]
    assert list(data.columns) == ["symbol", "open", "high", "low", "close", "volume"]
    assert data["close"].tolist() == [10.0, 10.0, 11.0] and data.index[-1] == TODAY
    assert positions == {"AAPL": 5.0}
    assert broker.sent == [("AAPL", 2, "market", "buy", "wants")]
    assert engine.orders[0]["estimated_commission"] == 0.2 and engine.orders[0]["estimated_slippage"] == 0.1


@pytest.mark.parametrize("status, sent", [("filled", 4), ("rejected", 4), ("working", 2), ("unanswered", 1)])
def test_no_second_order_while_the_first_may_still_fill(status: str, sent: int) -> None:
    engine, _, broker = an_engine(lambda _: [Order("AAPL", 1), Order("AAPL", 1)])
    broker.status = status
    engine.update()
    engine.update()  # a working order would be among the open orders by now; this broker shows none
    assert len(broker.sent) == sent


def test_a_strategy_that_fails_is_taken_out() -> None:
    def fail(_: Any) -> list[Order]:
        raise ValueError("mine")

    engine, strategy, _ = an_engine(fail)
    for _ in range(ERRORS_MAX + 2):
        engine.update()
    assert len(strategy.seen) == ERRORS_MAX and engine.updates == ERRORS_MAX + 2


def test_without_a_price_nothing_is_called() -> None:
    engine, strategy, _ = an_engine(lambda _: [])
    engine.feed.price = None  # type: ignore[attr-defined]
    engine.update()
    assert strategy.seen == []


def test_it_starts_on_a_thread_and_stops_at_once() -> None:
    engine, strategy, _ = an_engine(lambda _: [])
    engine.start(["AAPL"], lookback_days=30, data_interval="1d")
    assert engine.is_running
    with pytest.raises(BadInput, match="already"):
        engine.start(["AAPL"])
    engine.stop()
    engine.disconnect()
    assert not engine.is_running and len(strategy.seen) <= 1


def test_what_cannot_run_is_said_before_it_starts() -> None:
    engine, _, _ = an_engine(lambda _: [])
    with pytest.raises(BadInput, match="NOSUCH"):
        engine.start(["AAPL", "NOSUCH"])
    with pytest.raises(BadInput, match="bar size"):
        engine.start(["AAPL"], data_interval="fortnight")
    with pytest.raises(BadInput, match="nothing to run"):
        LiveStrategyEngine().start(["AAPL"])
    with pytest.raises(BadInput, match="on_data"):
        engine.add_strategy(object())
    with pytest.raises(BadInput, match="already"):
        engine.add_strategy(Wants(lambda _: []))
    with pytest.raises(BadInput, match="update_interval"):
        LiveStrategyEngine(update_interval=0)


def test_a_growing_bar_takes_the_price_in() -> None:
    table = with_price(some_bars(), "AAPL", 12.0, int((TODAY - pd.Timedelta(days=1)).timestamp()))
    assert table.iloc[-1][["open", "high", "low", "close"]].tolist() == [10.0, 12.0, 10.0, 12.0] and len(table) == 2
