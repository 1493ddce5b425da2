"""A class with `on_data` runs as a unit: all bars of a moment, its own positions, and what it returns as orders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from copilot_quant.strategies.base import DataStrategy, Order
from copilot_quant.strategies.my_strategy import MyStrategy
from copilot_quant.testing import StrategyTest, stock
from services.strategy.api import Bar, ClosedBar, Strategy
from services.strategy.shell.guide import LATE_S, check_arguments, is_guide_shape, on_data_strategy
from services.strategy.shell.loader import load_strategies
from shared.clock import NS_PER_S
from shared.errors import BadInput

TABLE = '[strategy.mine]\nfile = "mine.py"\nclass = "Mine"\ncontracts = ["IBM", "BAC"]\nbars = ["1s"]\n'
CODE = """
from copilot_quant.strategies.base import DataStrategy, Order


class Mine(DataStrategy):
    def __init__(self, quantity=5):
        super().__init__()
        self.quantity = quantity

    def on_data(self, timestamp, data):
        return [Order("IBM", self.quantity)]
"""


class Looks(DataStrategy):
    """Returns what the test puts there, and keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, dict[str, list[float]], dict[str, float], frozenset[str]]] = []
        self.returns: Any = []

    def on_data(self, timestamp: Any, data: Any) -> Any:
        closes = {symbol: list(rows["close"]) for symbol, rows in data.groupby("symbol")}
        self.seen.append((timestamp, closes, dict(self.positions), self.working))
        return self.returns


def fresh() -> StrategyTest:
    past = [ClosedBar(n * NS_PER_S, n, n, n, n, 100.0) for n in (1, 2)]
    return StrategyTest(
        on_data_strategy(Looks, "1s"), [stock("IBM"), stock("BAC")], lookback=3, history={"IBM": {"1 secs": past}}
    )


@pytest.fixture
def test() -> StrategyTest:
    return fresh()


def inner(test: StrategyTest) -> Looks:
    found = test.strategy.inner  # type: ignore[attr-defined]
    assert isinstance(found, Looks)
    return found


def moment(test: StrategyTest, **closes: float) -> None:
    """Feed bars that end at the same time, and let what is due by then happen."""
    test.wait(1.0)
    for name, close in closes.items():
        info, end_ns = test.strategy.contract(name), test.now_ns
        bar = Bar(info, "1s", end_ns - NS_PER_S, end_ns, close, close, close, close, 100.0)
        test.unit.bar(bar, end_ns, end_ns, "1-1")
    test.wait(0.0)


def test_it_is_called_once_all_bars_of_a_moment_are_there_with_those_from_before_the_start(test: StrategyTest) -> None:
    moment(test, IBM=10.0)
    assert inner(test).seen == []
    test = fresh()
    moment(test, IBM=10.0, BAC=20.0)
    (seen,) = inner(test).seen
    assert seen[1] == {"IBM": [1.0, 2.0, 10.0], "BAC": [20.0]}
    assert str(seen[0].tz) == "UTC"


def test_a_symbol_without_a_bar_delays_it_by_half_a_second(test: StrategyTest) -> None:
    moment(test, IBM=10.0)
    test.wait(LATE_S - 0.1)
    assert inner(test).seen == []
    test.wait(0.2)
    assert len(inner(test).seen) == 1


def test_what_it_returns_is_ordered_and_a_second_order_waits_for_the_first(test: StrategyTest) -> None:
    inner(test).returns = [Order("IBM", 5, order_type="limit", limit_price=9.5), Order("IBM", 7)]
    moment(test, IBM=10.0, BAC=20.0)
    (first,) = test.orders
    assert (first.legs[0].quantity, str(first.legs[0].limit_price), first.legs[0].tif) == (5, "9.50", "DAY")
    inner(test).returns = [Order("BAC", 3, side="sell", order_type="bracket", take_profit=19, stop_loss=21)]
    test.fill(first, price=9.5)
    moment(test, IBM=10.0, BAC=20.0)
    assert inner(test).seen[-1][2] == {"IBM": 5.0}
    assert [leg.order_type for leg in test.orders[-1].legs] == ["MKT", "LMT", "STP"]


@pytest.mark.parametrize("returned", [["buy"], Order("IBM", -1), [Order("MSFT", 1)], [Order("IBM", 1, side="long")]])
def test_nonsense_orders_nothing_and_is_an_error(test: StrategyTest, returned: Any) -> None:
    inner(test).returns = returned
    moment(test, IBM=10.0)
    with pytest.raises(AssertionError, match="on_timer raised"):
        test.wait(1.0)
    assert test.orders == []


def test_a_strategies_file_may_name_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    path = tmp_path / "strategies.toml"
    path.write_text(TABLE + "lookback = 7\nparams = { quantity = 9 }\n")
    loaded = load_strategies(path)
    assert (list(loaded.units), loaded.mistakes) == (["mine/all"], {})
    spec = loaded.units["mine/all"].strategy
    assert spec.history == (("1 secs", 7),) and spec.params.model_dump()["arguments"] == {"quantity": 9}
    assert spec.cls(spec.params).inner.quantity == 9  # type: ignore[attr-defined]
    for text, said in (
        (TABLE, "lookback: say how many bars on_data gets"),
        (TABLE.replace('"1s"', '"1s", "1m"') + "lookback = 7\n", "on_data is called at the end of a bar: choose one"),
        (
            TABLE + "lookback = 7\nparams = { speed = 9 }\n",
            "strategies.toml:1: .* Mine: got an unexpected keyword argument 'speed'",
        ),
        (TABLE + "lookback = 0\n", "lookback: Input should be greater"),
    ):
        path.write_text(text)
        (mistake,) = load_strategies(path).mistakes.values()
        with pytest.raises(BadInput, match=said):
            raise BadInput(mistake)


def test_while_it_does_not_import_the_platform_looks_after_the_same_unit(tmp_path: Path) -> None:
    path = tmp_path / "strategies.toml"
    path.write_text(TABLE + 'lookback = 7\nsession = "rth"\nflat_by = "15 min"\n')
    ours = []
    for code in (CODE, "import nothing_such\n"):
        (tmp_path / "mine.py").write_text(code)
        ours.append(load_strategies(path, fresh=True))
    assert [list(one.units) for one in ours] == [["mine/all"], ["mine/all"]]
    assert ours[1].units["mine/all"].why_in_care


def test_shapes_are_told_apart() -> None:
    assert is_guide_shape(Looks) and not is_guide_shape(Strategy) and not is_guide_shape(on_data_strategy(Looks, "1s"))
    check_arguments(MyStrategy, {"fast": 3})
    with pytest.raises(BadInput, match="MyStrategy: got an unexpected keyword argument 'speed'"):
        check_arguments(MyStrategy, {"speed": 1})
