from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from copilot_quant.backtest.contracts import CALENDAR, contracts_of, exchange_hours
from copilot_quant.backtest.daily import read_daily, ticks_of_days
from copilot_quant.backtest.data import MarketData
from copilot_quant.backtest.market import rows_of
from copilot_quant.backtest.ticks import Ticks, read_ticks, ticks_of
from services.simulator.shell.files import read_recordings
from shared.errors import BadInput
from tests.backtests import DAY, OPEN_MS, columns, quote, trade, walk, write_daily, write_ticks

HEAD = "ts_ms,kind,bid_or_price,bid_size_or_size,ask,ask_size"
DAYS = [
    ("2013-10-07", 100.0, 102.0, 99.0, 101.0, 1000),
    ("2013-10-08", 101.0, 101.5, 97.0, 98.0, 2000),
    ("2013-10-09", 98.0, 99.0, 97.5, 98.5, 1500),
]


def same(one: Ticks, other: Ticks) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.columns(), other.columns(), strict=True))


def test_the_fast_reader_sees_what_the_simulator_sees(tmp_path: Path) -> None:
    path = write_ticks(tmp_path, "IBM", walk(3, 200))
    found = read_ticks(path)
    assert len(found) == 200 and same(found, ticks_of(read_recordings((str(path),))["IBM"]))
    packed = tmp_path / "BAC_20131008.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert same(read_ticks(packed), found)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("x,Q,1,1,2,1", "line 3, column 1: 'x' is not a whole number"),
        (f"{OPEN_MS - 1},Q,1,1,2,1", "line 3, column 1: time goes back"),
        (f"{OPEN_MS},X,1,1,2,1", "line 3, column 15: kind must be Q or T"),
        (f"{OPEN_MS},Q,2,1,2,1", "line 3, column 17: the quote is crossed or locked"),
        (f"{OPEN_MS},Q,1,1,nan,1", "line 3, column 21: ask 'nan'"),
        (f"{OPEN_MS},T,-1,1,,", "line 3, column 17: price '-1'"),
        (f"{OPEN_MS},T,1,1,2,", "line 3, column 21: a trade has only four values"),
        (f"{OPEN_MS},Q,1,1,2,1,9", "line 3, column 1: 6 columns are needed, there are 7"),
    ],
)
def test_a_bad_row_is_named_with_file_line_and_column(tmp_path: Path, row: str, said: str) -> None:
    path = tmp_path / "IBM_20131008.csv"
    path.write_text(f"{HEAD}\n{OPEN_MS},T,1,1,,\n{row}\n")
    with pytest.raises(BadInput, match=r"IBM_20131008\.csv") as e:
        read_ticks(path)
    assert said in str(e.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("2013-10-08,1,2,0.5,nan,1", "line 3: column close: 'nan' is not finite"),
        ("2013-10-08,1,2,0.5,3,1", "do not lie between low 0.5 and high 2"),
        ("2013-10-07,1,2,0.5,1,1", "time goes back from 2013-10-07 to 2013-10-07"),
        ("8.10.2013,1,2,0.5,1,1", "is not a date such as"),
        ("2013-10-08,1,2", "6 columns are needed, there are 3"),
        ("2013-10-08,0,2,0,1,1", "prices have to be positive"),
    ],
)
def test_a_bad_daily_row_is_named_with_file_and_line(tmp_path: Path, row: str, said: str) -> None:
    path = tmp_path / "IBM_daily.csv"
    path.write_text(f"date,open,high,low,close,volume\n2013-10-07,1,2,0.5,1,1\n{row}\n")
    with pytest.raises(BadInput, match=r"IBM_daily\.csv, line 3") as e:
        read_daily(path)
    assert said in str(e.value)


def test_a_daily_bar_becomes_open_the_nearer_extreme_the_other_and_close(tmp_path: Path) -> None:
    days = read_daily(write_daily(tmp_path, "IBM", DAYS[:2]))
    sessions = exchange_hours(DAY, DAY).calendars[CALENDAR]
    opened = {date(2013, 10, 7): sessions[4], date(2013, 10, 8): sessions[5]}
    ticks = ticks_of_days([(day, opened[day.date]) for day in days])
    assert list(ticks.a) == [100.0, 99.0, 102.0, 101.0, 101.0, 101.5, 97.0, 98.0]
    assert ticks.at_ns[4] == OPEN_MS * 1_000_000 and list(np.diff(ticks.at_ns) > 0) == [True] * 7
    assert not ticks.has_quotes and set(ticks.b) == {250.0, 500.0}


def test_symbols_are_merged_by_time_and_the_first_named_goes_first() -> None:
    one = columns([trade(0, 1.0), trade(5, 2.0)])
    other = columns([quote(0, 3.0, 4.0), quote(4, 5.0, 6.0), trade(5, 7.0)])
    rows = [row for piece in rows_of([one, other]) for row in piece]
    assert [(row[2], row[4]) for row in rows] == [(0, 1.0), (1, 3.0), (1, 5.0), (0, 2.0), (1, 7.0)]


def test_what_lies_before_the_begin_warms_up_and_is_not_played(tmp_path: Path) -> None:
    write_ticks(tmp_path, "IBM", [trade(at_ms, 100 + at_ms / 60_000) for at_ms in range(0, 600_000, 10_000)])
    data = MarketData.load(tmp_path, ["IBM"], first="2013-10-08T09:35", last="2013-10-08T09:38")
    assert data.count() == 18 and data.start_ns == (OPEN_MS + 300_000) * 1_000_000
    info = contracts_of(["IBM"], data.hours, data.first_prices(), {})["IBM"].info
    bars = data.history("IBM", info, "1 min")
    assert [bar.close for bar in bars] == [pytest.approx(100 + minute + 50 / 60) for minute in range(5)]


def test_daily_bars_are_played_where_there_are_no_ticks(tmp_path: Path) -> None:
    write_daily(tmp_path, "IBM", DAYS)
    data = MarketData.load(tmp_path, ["IBM"], first=date(2013, 10, 8), reads={"1d"})
    assert data.is_daily and data.count() == 8
    contracts = contracts_of(["IBM"], data.hours, data.first_prices(), {})
    infos = {"IBM": contracts["IBM"].info}
    bars = data.given_bars(infos)
    assert [float(bar.message.close) for bar in bars] == [98.0, 98.5]
    assert all(bar.at_ns == bar.message.ts_close_ns for bar in bars)
    assert [bar.close for bar in data.history("IBM", infos["IBM"], "1 day")] == [101.0]


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no folder"):
        MarketData.load(tmp_path / "none", ["IBM"])
    with pytest.raises(BadInput, match=r"has no daily bars .* of IBM"):
        MarketData.load(tmp_path, ["IBM"])
    write_ticks(tmp_path, "IBM", [trade(0, 1.0)])
    with pytest.raises(BadInput, match=r"has no ticks .* of BAC"):
        MarketData.load(tmp_path, ["IBM", "BAC"])
    with pytest.raises(BadInput, match="within the span"):
        MarketData.load(tmp_path, ["IBM"], first="2014-01-01")
    with pytest.raises(BadInput, match="is no date or time"):
        MarketData.load(tmp_path, ["IBM"], first="yesterday")
    write_daily(tmp_path, "IBM", [("2013-10-05", 1, 1, 1, 1, 1)])
    with pytest.raises(BadInput, match="2013-10-05 has a daily bar, and the exchange was closed"):
        MarketData.load(tmp_path, ["IBM"], is_daily=True, reads={"1d"})
    with pytest.raises(BadInput, match="1m bars cannot be made of daily bars"):
        MarketData.load(tmp_path, ["IBM"], is_daily=True, reads={"1m"})


def test_files_of_one_symbol_follow_each_other(tmp_path: Path) -> None:
    write_ticks(tmp_path, "IBM", [trade(0, 1.0), trade(9, 1.0)])
    write_ticks(tmp_path, "IBM", [trade(5, 1.0)], date(2013, 10, 9))
    with pytest.raises(BadInput, match=r"IBM_20131009\.csv begins before IBM_20131008\.csv ends"):
        MarketData.load(tmp_path, ["IBM"])
    data = MarketData.load(tmp_path, ["IBM"], last="2013-10-08")
    assert data.count() == 2


def test_parquet_holds_the_same_columns(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow: pip install 'copilot-quant[parquet]'")
    from pyarrow import parquet

    names = ("date", "open", "high", "low", "close", "volume")
    parquet.write_table(
        pyarrow.table(dict(zip(names, map(list, zip(*DAYS, strict=True)), strict=True))), tmp_path / "IBM_daily.parquet"
    )
    assert [day.close for day in read_daily(tmp_path / "IBM_daily.parquet")] == [101.0, 98.0, 98.5]
