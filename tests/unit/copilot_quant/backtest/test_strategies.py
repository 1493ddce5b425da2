from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from copilot_quant.backtest.contracts import day_of, exchange_hours
from copilot_quant.backtest.runner import Costs, limits_of, run_backtest
from copilot_quant.backtest.strategies import declared_of
from copilot_quant.strategies.base import DataStrategy, Order
from copilot_quant.strategies.my_strategy import MyStrategy
from services.strategy.api import Strategy
from services.strategy.shell.guide import is_guide_shape
from shared.errors import BadInput, ConfigError
from tests.backtests import trade, write_daily, write_ticks

CODE = """
from pydantic import BaseModel
from services.strategy.api import Strategy

class Dip(Strategy):
    class Params(BaseModel):
        quantity: int = 10

    def on_trade(self, trade):
        self.target_position(trade.contract, self.params.quantity)
"""


def weekdays(count: int, first: date = date(2013, 10, 7)) -> list[date]:
    sessions = exchange_hours(first, first + timedelta(days=2 * count)).calendars["XNYS"]
    days = [day_of(one.open_ns) for one in sessions]
    return [day for day in days if day >= first][:count]


def test_a_file_with_one_class_needs_no_name(tmp_path: Path) -> None:
    path = tmp_path / "dip.py"
    path.write_text(CODE)
    one, other = declared_of(path, ["IBM", "BAC"], params={"quantity": 3}, bars=["1m"])
    assert (one.unit_id, other.unit_id) == ("dip/IBM", "dip/BAC") and one.strategy.bars == ("1m",)
    assert one.strategy.params.model_dump() == {"quantity": 3}
    (both,) = declared_of(path, ["IBM", "BAC"], per="all")
    assert both.unit_id == "dip/all" and both.contracts == ("IBM", "BAC")


@pytest.mark.parametrize(
    ("code", "options", "said"),
    [
        ("def x(:\n", {}, r"bad\.py:1: "),
        ("\n1/0\n", {}, r"bad\.py:2: ZeroDivisionError"),
        ("x = 1\n", {}, "not exactly one strategy class; it has none"),
        (CODE, {"class_name": "Other"}, "no strategy class 'Other'; it has Dip"),
        (CODE, {"params": {"quantity": "many"}}, r"Dip\.Params\.quantity: Input should be a valid integer"),
        (CODE, {"params": {"size": 1}}, r"Dip\.Params\.size: there is no such key"),
        (CODE, {"bars": ["2m"]}, "'2m' is no bar"),
        (CODE, {"session": "night"}, "session 'night' is unknown"),
        (CODE, {"flat_by": "15 min"}, "need a session"),
        (CODE, {"session": "rth", "flat_by": "soon"}, "'soon' is neither a time"),
    ],
)
def test_every_mistake_is_a_sentence(tmp_path: Path, code: str, options: dict[str, Any], said: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(code)
    with pytest.raises(BadInput, match=said):
        declared_of(path, ["IBM"], **options)


def test_other_mistakes_too(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no file"):
        declared_of(tmp_path / "none.py", ["IBM"])
    with pytest.raises(BadInput, match="no symbols"):
        declared_of(MyStrategy, [])
    with pytest.raises(BadInput, match="choose one, such as 1d"):
        declared_of(MyStrategy, ["IBM"])
    with pytest.raises(ConfigError, match="neither a profile"):
        limits_of(tmp_path / "none.toml")
    for wrong in ({"commission": "free"}, {"commission": 2.0}, {"slippage": -1.0}, {"latency_ms": 0.0}):
        with pytest.raises(BadInput):
            Costs(**wrong)


def test_a_strategies_file_runs_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "dip.py").write_text(CODE)
    path = tmp_path / "strategies.toml"
    path.write_text(
        '[strategy.mine]\nfile = "dip.py"\nclass = "Dip"\ncontracts = ["IBM", "BAC"]\nparams = {quantity = 7}\n'
    )
    write_ticks(tmp_path, "IBM", [trade(0, 10.0), trade(100, 10.0), trade(200, 10.0)])
    result = run_backtest(path, symbols=["IBM"], data=tmp_path)
    assert result.options["strategies"] == ["mine"] and [one.quantity for one in result.trades] == [7]
    with pytest.raises(BadInput, match="no strategy trades SPY"):
        run_backtest(path, symbols=["SPY"], data=tmp_path)


class Looks(Strategy):
    """Remembers what it may look back on."""

    class State(BaseModel):
        closes: list[float] = []

    @classmethod
    def history_needs(cls, params: Any) -> dict[str, int]:
        return {"1 day": 3}

    def on_bar(self, bar: Any) -> None:
        self.state.closes = [one.close for one in self.history_bars(bar.contract, "1 day")]
        if len(self.state.closes) == 3 and self.state.closes[0] == 3.0:
            self.buy(bar.contract, 1, reason=str(self.state.closes))


def test_warm_up_is_there_before_the_first_bar(tmp_path: Path) -> None:
    days = weekdays(6)
    write_daily(tmp_path, "IBM", [(day, n, n, n, n, 100) for n, day in enumerate(days, start=1)])
    result = run_backtest(Looks, symbols=["IBM"], data=tmp_path, bars=["1d"], first=days[3], limits="small-paper")
    assert [one.reason for one in result.intents] == ["[3.0, 4.0, 5.0]"]
    assert result.trades[0].price > 6 and result.trades[0].ts_ns > result.trades[0].cause_ts_ns  # the next open


class Table(DataStrategy):
    """Buys when the last of three closes is the highest; keeps what it saw."""

    seen: ClassVar[list[tuple[str, list[str], list[float]]]] = []

    def on_data(self, timestamp: Any, data: Any) -> list[Order]:
        ibm = data[data["symbol"] == "IBM"]
        self.seen.append((str(timestamp), sorted(set(data["symbol"])), list(ibm["close"])))
        orders = []
        if len(ibm) == 3 and ibm["close"].iloc[-1] == max(ibm["close"]) and not self.positions:
            orders.append(Order("IBM", 10, side="buy", order_type="limit", limit_price=10.3))
        elif self.positions and "IBM" not in self.working:
            orders.append(Order("IBM", self.positions["IBM"], side="sell"))
        return orders


def test_the_guides_shape_runs_with_all_symbols_of_a_moment(tmp_path: Path) -> None:
    days = weekdays(6)
    for symbol in ("IBM", "BAC"):
        write_daily(tmp_path, symbol, [(day, *[10 + n / 100] * 4, 1000) for n, day in enumerate(days)])
    Table.seen.clear()
    result = run_backtest(Table, symbols=["IBM", "BAC"], data=tmp_path, bars=["1d"], lookback=3)
    assert not result.errors, result.errors
    assert len(Table.seen) == 6 and Table.seen[3][1] == ["BAC", "IBM"] and Table.seen[3][2] == [10.01, 10.02, 10.03]
    assert Table.seen[0][0].startswith(f"{days[0]} 20:00:00+00:00")
    assert [(one.side, one.quantity) for one in result.trades][:2] == [("BUY", 10), ("SELL", 10)]
    assert is_guide_shape(Table) and not is_guide_shape(Looks)


def test_an_argument_of_the_guides_shape_that_does_not_fit_is_a_sentence(tmp_path: Path) -> None:
    write_daily(tmp_path, "IBM", [(day, 1, 1, 1, 1, 1) for day in weekdays(2)])
    with pytest.raises(BadInput, match=r"MyStrategy: .*unexpected keyword"):
        run_backtest(MyStrategy, symbols=["IBM"], data=tmp_path, bars=["1d"], params={"speed": 1})
