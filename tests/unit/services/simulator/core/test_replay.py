from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from services.simulator.core.config import ExchangeConfig
from services.simulator.core.engine import Engine
from services.simulator.core.market import Quote, Trade
from services.simulator.core.replay import HEADER, BadReplayRow, Recording, ReplayMarket, parse_recording
from services.simulator.shell.files import read_recordings, symbol_of
from shared.errors import BadInput

ROWS = [
    "1381239000000,Q,100.00,300,100.02,200",
    "1381239001000,T,100.02,50,,",
    "1381239003000,Q,100.01,300,100.03,200",
]
NS = 1_000_000_000


def recording(rows: list[str] | None = None, symbol: str = "IBM") -> Recording:
    return parse_recording("f.csv", symbol, [HEADER, *(ROWS if rows is None else rows)])


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("x,Q,1,1,2,2", 1),
        ("1381239004000,Q,1,1,2", 1),
        ("1381239004000,Z,1,1,2,2", 15),
        ("1381239004000,Q,2,1,2,2", 17),
        ("1381239004000,Q,-1,1,2,2", 17),
        ("1381239004000,T,nan,1,,", 17),
        ("1381239004000,T,1,1,2,", 21),
        ("1381238000000,T,1,1,,", 1),
    ],
)
def test_a_bad_row_names_file_line_and_column(row: str, column: int) -> None:
    with pytest.raises(BadReplayRow, match=f"f.csv, line 5, column {column}:"):
        recording([*ROWS, row])


def test_a_bad_header_and_an_empty_file() -> None:
    with pytest.raises(BadReplayRow, match="line 1"):
        parse_recording("f.csv", "X", ["time,price"])
    with pytest.raises(BadReplayRow, match="no rows"):
        parse_recording("f.csv", "X", [HEADER])


def test_rows_keep_order_and_rhythm_at_any_speed() -> None:
    market = ReplayMarket({1: recording()}, {1: 0.01}, speed=2.0, loop=False, start_ns=1000 * NS)
    assert market.next_ns() == 1000 * NS
    assert market.advance(1000 * NS) == [Quote(1, 1000 * NS, 100.00, 300, 100.02, 200)]
    assert market.next_ns() == 1000 * NS + NS // 2
    assert market.advance(1001 * NS) == [Trade(1, 1000 * NS + NS // 2, 100.02, 50)]
    assert [type(each) for each in market.advance(1010 * NS)] == [Quote]
    assert market.next_ns() is None


def test_files_are_merged_by_time_and_loop() -> None:
    other = recording(["1381239000500,T,50.00,10,,", "1381239002000,T,50.01,10,,"], "BAC")
    market = ReplayMarket({1: recording(), 2: other}, {1: 0.01, 2: 0.01}, speed=1.0, loop=True, start_ns=0)
    events = market.advance(3 * NS)
    assert [(each.con_id, each.ts_ns) for each in events if not (each.con_id == 2 and isinstance(each, Quote))] == [
        (1, 0), (2, NS // 2), (1, NS), (2, 2 * NS), (1, 3 * NS),
    ]  # fmt: skip
    assert market.loops_done == 1 and market.next_ns() == 4 * NS


def test_a_symbol_without_quotes_gets_one_tick_around_each_trade() -> None:
    market = ReplayMarket(
        {2: recording(["1381239000000,T,50.00,10,,"], "SPY")}, {2: 0.01}, speed=1, loop=False, start_ns=0
    )
    assert market.advance(0) == [Quote(2, 0, 49.99, 10, 50.01, 10), Trade(2, 0, 50.00, 10)]


def test_the_exchange_plays_a_recording_and_keeps_its_bars() -> None:
    engine = Engine(ExchangeConfig(), 1000 * NS, recordings={"IBM": recording()}, speed=1.0)
    engine.advance(1004 * NS)
    book = engine.floor.book(8314)
    assert (book.bid, book.ask, book.last) == (100.01, 100.03, 100.02)
    instrument = engine.floor.universe.by_id(8314)
    assert instrument is not None
    bars = engine.history._history.bars(
        instrument, end_ns=1004 * NS, duration_s=60, bar_s=1, what="TRADES", use_rth=False
    )
    assert bars[-3].close == 100.02 and abs(bars[0].close - 100.0) < 1.0


def test_an_unlisted_symbol_is_refused() -> None:
    with pytest.raises(BadInput, match="ZZZZ"):
        Engine(ExchangeConfig(), 0, recordings={"ZZZZ": recording()})


def test_files_plain_and_packed(tmp_path: Path) -> None:
    text = "\n".join([HEADER, *ROWS]) + "\n"
    plain, packed = tmp_path / "IBM_day.csv", tmp_path / "BAC_day.csv.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    found = read_recordings((str(plain), str(packed)))
    assert {symbol: len(each) for symbol, each in found.items()} == {"IBM": 3, "BAC": 3}
    assert symbol_of(packed) == "BAC"
    with pytest.raises(BadInput, match="one file per symbol"):
        read_recordings((str(plain), str(plain)))
    packed.write_bytes(b"not gzip")
    with pytest.raises(BadInput, match="cannot be read"):
        read_recordings((str(packed),))


def test_a_replay_begins_when_the_exchange_opens_but_never_again() -> None:
    recording = parse_recording("x", "AAPL", [HEADER, "1000,T,100,1,,", "2000,T,101,1,,"])
    market = ReplayMarket({1: recording}, {1: 0.01}, speed=1.0, loop=False, start_ns=0)
    market.begin(5_000_000_000)
    assert market.next_ns() == 5_000_000_000
    assert market.advance(5_000_000_000)
    market.begin(9_000_000_000)
    assert market.next_ns() == 6_000_000_000
