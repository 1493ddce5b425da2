"""What authors call that no unit test of the core sees: the history as a DataFrame."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import pytest

from services.strategy.api import Bar, ClosedBar, Strategy
from services.strategy.core.ordering import Identity
from services.strategy.core.unit import Unit
from shared.errors import BadInput
from tests.unit.services.strategy.parts import IBM, T0

MINUTE = 60_000_000_000
START = T0 - T0 % MINUTE


class Looks(Strategy):
    """Keeps what it saw."""

    def __init__(self) -> None:
        super().__init__(self.Params())
        self.frames: list[Any] = []
        self.bars: list[Bar] = []

    @classmethod
    def history_needs(cls, params: Any) -> Mapping[str, int]:
        return {"1 min": 3}

    def on_start(self) -> None:
        self.frames.append(self.history("IBM", "1 min"))

    def on_bar(self, bar: Bar) -> None:
        self.bars.append(bar)


@pytest.fixture
def strategy() -> Looks:
    strategy = Looks()
    identity = Identity("deployment", "DUSIM0001", "s", "s/IBM", "inc")
    unit = Unit(
        identity, strategy, {IBM.con_id: IBM}, history_needs=Looks.history_needs(None), on_bar_intervals=("5s",)
    )
    strategy.bind(unit)
    bars = [ClosedBar(START + number * MINUTE, 1.0, 2.0, 0.5, 1.5 + number, 100.0) for number in range(4)]
    unit.history.load(IBM.con_id, "1 min", bars)
    unit.history.begin(START + 4 * MINUTE)
    return strategy


def test_the_history_is_a_frame_by_utc_time(strategy: Looks) -> None:
    strategy.unit.start(T0, T0)
    (frame,) = strategy.frames
    assert list(frame.columns) == ["open", "high", "low", "close", "volume", "vwap"]
    assert str(frame.index.tz) == "UTC"
    assert frame.attrs == {"bar_size": "1 min", "hours": "all", "time_zone": "UTC"}
    assert [int(at.timestamp()) * 10**9 for at in frame.index] == [START + n * MINUTE for n in (1, 2, 3)]
    assert frame["close"].tolist() == [2.5, 3.5, 4.5]
    assert frame["close"].mean() == 3.5
    assert len(strategy.history(IBM, "1m", 1)) == 1


def test_no_bars_are_an_empty_frame_of_the_same_shape(strategy: Looks) -> None:
    strategy.unit.history.horizons.clear()
    frame = strategy.history(IBM, "1 min")
    assert len(frame) == 0 and str(frame["close"].dtype) == "float64" and str(frame.index.tz) == "UTC"


def test_without_pandas_the_sentence_says_what_to_install(strategy: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(BadInput, match=r"copilot-quant\[history\]"):
        strategy.history(IBM, "1 min")
    assert [bar.close for bar in strategy.history_bars(IBM, "1 min")] == [2.5, 3.5, 4.5]


def test_bars_for_the_history_alone_do_not_reach_on_bar(strategy: Looks) -> None:
    minute = Bar(IBM, "1m", START + 4 * MINUTE, START + 5 * MINUTE, 9.0, 9.0, 9.0, 9.0, 1.0)
    strategy.unit.bar(minute, T0, T0, "1-1")
    five = Bar(IBM, "5s", START, START + MINUTE // 12, 1.0, 1.0, 1.0, 1.0, 1.0)
    strategy.unit.bar(five, T0, T0, "1-2")
    assert strategy.bars == [five]
    assert strategy.history_bars(IBM, "1 min", 1)[0].close == 9.0


def test_the_horizon_is_saved_with_the_unit(strategy: Looks) -> None:
    unit = strategy.unit
    unit.start(T0, T0)
    commit = unit.commit(T0, force=True)
    assert commit is not None
    again = Looks()
    other = Unit(unit.identity, again, unit.contracts, history_needs={"1 min": 3})
    again.bind(other)
    other.restore(
        commit=commit.number, state=commit.state, timers=commit.timers, cursors=commit.cursors, past=commit.past or b""
    )
    other.history.load(IBM.con_id, "1 min", [ClosedBar(START + n * MINUTE, 1, 1, 1, n, 1) for n in range(9)])
    assert [bar.close for bar in again.history_bars(IBM, "1 min")] == [1, 2, 3]
