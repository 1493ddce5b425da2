from __future__ import annotations

from decimal import Decimal

import pytest

from copilot_quant import frames
from shared.clock import NS_PER_S
from shared.errors import ConfigError
from shared.messages.requests import HistoryBar


def test_bars_become_a_table_by_their_opening_time() -> None:
    bar = HistoryBar(ts_ns=86_400 * NS_PER_S, open=1, high=3, low=1, close=2, volume=Decimal(10))  # type: ignore[arg-type]
    table = frames.bars_frame([bar])
    assert table.index.name == "date" and str(table.index[0]) == "1970-01-02 00:00:00+00:00"
    assert table["close"].tolist() == [2.0] and table["vwap"].isna().all()
    assert len(frames.bars_frame([])) == 0


def test_an_empty_table_has_its_columns() -> None:
    assert list(frames.frame([], ["a", "b"]).columns) == ["a", "b"]
    assert frames.frame([{"a": 1}], ["a"])["a"].tolist() == [1]


def test_without_pandas_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"copilot-quant\[history\]"):
        frames.pandas()
