"""Read recorded days and scenarios from disk."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.simulator.core.replay import HEADER, Recording, parse_recording, recording_of_rows
from services.simulator.core.scenario import Check, Scenario, parse_scenario
from shared.errors import BadInput


def symbol_of(path: Path) -> str:
    """Return the symbol that a file's name begins with: `IBM_20131008.csv.gz` is IBM."""
    return path.name.split(".")[0].split("_")[0].upper()


def read_recordings(names: tuple[str, ...]) -> dict[str, Recording]:
    """Read several files, one symbol each.

    Raises:
        BadInput: a file cannot be read, a row is bad (with file and line), or a symbol comes twice.
    """
    recordings: dict[str, Recording] = {}
    for name in names:
        path = Path(name)
        symbol = symbol_of(path)
        if symbol in recordings:
            raise BadInput(f"{name}: there is already a file for {symbol}: name one file per symbol")
        try:
            if path.suffix == ".parquet":
                recordings[symbol] = recording_of_rows(name, symbol, _parquet_rows(path))
            elif path.suffix == ".gz":
                with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
                    recordings[symbol] = parse_recording(name, symbol, lines)
            else:
                with path.open(encoding="utf-8", newline="") as lines:
                    recordings[symbol] = parse_recording(name, symbol, lines)
        except (OSError, EOFError, UnicodeDecodeError, zlib.error) as e:
            raise BadInput(f"{name}: the file cannot be read ({e})") from e
    return recordings


def _parquet_rows(path: Path) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a Parquet file, batch by batch.

    Raises:
        BadInput: the library is missing, or the file is not Parquet or lacks a column.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as e:
        raise BadInput(f"{path}: Parquet needs one more package: pip install 'copilot-quant[parquet]'") from e
    columns = HEADER.split(",")
    try:
        file = parquet.ParquetFile(path)
        missing = [each for each in columns if each not in file.schema_arrow.names]
        if missing:
            raise BadInput(f"{path}: the columns {', '.join(missing)} are missing")
        for batch in file.iter_batches(columns=columns):
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
    except pyarrow.ArrowException as e:
        raise BadInput(f"{path}: the file cannot be read ({e})") from e


def read_scenario(name: str, check: Check) -> Scenario:
    """Read a scenario file.

    Raises:
        BadInput: the file cannot be read, or a step makes no sense (with file, line and column).
    """
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise BadInput(f"{name}: the file cannot be read ({e})") from e
    return parse_scenario(name, text, check)
