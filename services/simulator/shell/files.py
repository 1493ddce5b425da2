"""Read recorded days from disk."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from services.simulator.core.replay import Recording, parse_recording
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
            if path.suffix == ".gz":
                with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
                    recordings[symbol] = parse_recording(name, symbol, lines)
            else:
                with path.open(encoding="utf-8", newline="") as lines:
                    recordings[symbol] = parse_recording(name, symbol, lines)
        except (OSError, EOFError, UnicodeDecodeError, zlib.error) as e:
            raise BadInput(f"{name}: the file cannot be read ({e})") from e
    return recordings
