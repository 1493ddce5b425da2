from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

from copilot_quant.strategies.base import DataStrategy, Order
from copilot_quant.strategies.my_strategy import MyStrategy

NOW = pd.Timestamp("2026-11-26", tz="UTC")


def a_table(closes: Sequence[float], symbol: str = "AAPL") -> pd.DataFrame:
    index = pd.date_range("2026-01-01", periods=len(closes), tz="UTC", name="date")
    return pd.DataFrame({"symbol": symbol, "close": list(closes)}, index=index)


def a_strategy() -> MyStrategy:
    return MyStrategy(fast=2, slow=4, quantity=10)


RISING, FALLING = [1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]


def test_it_buys_what_rises_and_sells_all_of_what_falls() -> None:
    strategy = a_strategy()
    assert strategy.on_data(NOW, a_table(RISING)) == [Order("AAPL", 10, side="buy")]
    strategy.positions = {"AAPL": 7.0}
    assert strategy.on_data(NOW, a_table(RISING)) == []
    assert strategy.on_data(NOW, a_table(FALLING)) == [Order("AAPL", 7.0, side="sell")]
    strategy.positions = {}
    assert strategy.on_data(NOW, a_table(FALLING)) == []


def test_it_waits_for_bars_and_for_its_own_order() -> None:
    strategy = a_strategy()
    assert strategy.on_data(NOW, a_table(RISING[:3])) == []
    strategy.working = frozenset({"AAPL"})
    assert strategy.on_data(NOW, a_table(RISING)) == []


def test_each_symbol_is_looked_at_alone() -> None:
    both = pd.concat([a_table(FALLING, "MSFT"), a_table(RISING)])
    assert [order.symbol for order in a_strategy().on_data(NOW, both)] == ["AAPL"]


def test_a_strategy_has_a_name_and_has_to_be_written() -> None:
    assert MyStrategy().name == "my_strategy"
    with pytest.raises(NotImplementedError):
        DataStrategy().on_data(NOW, None)
