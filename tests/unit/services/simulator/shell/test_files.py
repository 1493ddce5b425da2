from __future__ import annotations

from pathlib import Path

import pytest

from services.simulator.core.replay import HEADER
from services.simulator.shell.files import read_recordings, read_scenario
from shared.errors import BadInput
from tests.unit.services.simulator.exchange_support import Driver

COLUMNS = HEADER.split(",")
ROWS: list[list[object]] = [
    [1381239000000, "Q", 100.0, 300.0, 100.02, 200.0],
    [1381239001000, "T", 100.02, 50.0, None, None],
]


def parquet_file(path: Path, rows: list[list[object]], columns: list[str] = COLUMNS) -> str:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow: pip install 'copilot-quant[parquet]'")
    from pyarrow import parquet

    table = pyarrow.table({name: [row[index] for row in rows] for index, name in enumerate(columns)})
    parquet.write_table(table, path)
    return str(path)


def test_parquet_and_csv_read_the_same(tmp_path: Path) -> None:
    name = parquet_file(tmp_path / "IBM_day.parquet", ROWS)
    text = "\n".join([HEADER, *(",".join("" if cell is None else str(cell) for cell in row) for row in ROWS)])
    (tmp_path / "BAC_day.csv").write_text(text)
    read = read_recordings((name, str(tmp_path / "BAC_day.csv")))
    for column in ("ts_ms", "is_quote", "bid", "bid_size", "ask", "ask_size"):
        assert getattr(read["IBM"], column) == getattr(read["BAC"], column)
    assert len(read["IBM"]) == 2


def test_a_bad_parquet_file_is_refused_with_its_place(tmp_path: Path) -> None:
    crossed = [*ROWS, [1381239002000, "Q", 3.0, 1.0, 2.0, 1.0]]
    with pytest.raises(BadInput, match="row 3, column bid_or_price: the quote is crossed"):
        read_recordings((parquet_file(tmp_path / "IBM_a.parquet", crossed),))
    short = [row[:5] for row in ROWS]
    with pytest.raises(BadInput, match="the columns ask_size are missing"):
        read_recordings((parquet_file(tmp_path / "IBM_b.parquet", short, COLUMNS[:5]),))
    (tmp_path / "IBM_c.parquet").write_bytes(b"no parquet")
    with pytest.raises(BadInput, match="cannot be read"):
        read_recordings((str(tmp_path / "IBM_c.parquet"),))


def test_a_bad_cell_of_a_csv_names_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "IBM_day.csv"
    path.write_text(f"{HEADER}\n1381239000000,Q,100.0,300,1oo,5\n")
    with pytest.raises(BadInput, match="line 2, column 27: ask '1oo' is not a number"):
        read_recordings((str(path),))


def test_scenarios_are_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "night.toml"
    path.write_text('[[step]]\nafter_s = 1\ndo = "clear"\n')
    check = Driver().engine.commands.check
    assert len(read_scenario(str(path), check).steps) == 1
    with pytest.raises(BadInput, match="cannot be read"):
        read_scenario(str(tmp_path / "missing.toml"), check)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="cannot be read"):
        read_scenario(str(path), check)
