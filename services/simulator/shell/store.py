"""Keep the exchange's books over a restart: state in SQLite, the ledger as JSON lines.

What is told to a client is stored first (a write to the operating system survives a killed process, not a power cut).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from services.simulator.core.floor import Save
from shared.errors import ConfigError

ORDER_OF_KINDS = ("listing", "next_order_id", "order", "execution", "account", "dividend")


class Store:
    """The files of one exchange; without a directory nothing is kept."""

    def __init__(self, directory: str) -> None:
        """Open or create the files.

        Raises:
            ConfigError: the directory cannot be used.
        """
        self._db: sqlite3.Connection | None = None
        self._ledger: TextIO | None = None
        self.ledger_path: Path | None = None
        if not directory:
            return
        path = Path(directory)
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path / "state.sqlite", isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=OFF")  # as promised above: no power cuts
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS state (kind TEXT, key TEXT, value TEXT, PRIMARY KEY (kind, key))"
            )
            self.ledger_path = path / "ledger.jsonl"
            self._ledger = self.ledger_path.open("a", encoding="utf-8")
            _end_the_last_line(self.ledger_path, self._ledger)
        except (OSError, sqlite3.Error) as e:
            raise ConfigError(f"SIM_STATE_DIR: {directory!r} cannot be used ({e}): choose a writable directory") from e

    def stored(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Return everything stored, in the order in which it must be restored."""
        if self._db is None:
            return
        for kind in ORDER_OF_KINDS:
            query = "SELECT key, value FROM state WHERE kind = ? ORDER BY rowid"
            for key, value in self._db.execute(query, (kind,)).fetchall():
                yield kind, key, json.loads(value)

    def ledger_lines(self) -> Iterator[str]:
        """Return the ledger's lines; a last line cut by a crash is left out."""
        if self.ledger_path is None:
            return
        with self.ledger_path.open(encoding="utf-8") as lines:
            for line in lines:
                if _is_whole(line):
                    yield line.rstrip("\n")

    def save(self, saves: list[Save], ledger: list[str]) -> None:
        """Store changes and ledger entries in one go."""
        if self._ledger is not None and ledger:
            self._ledger.write("\n".join(ledger) + "\n")
            self._ledger.flush()
        if self._db is None or not saves:
            return
        self._db.execute("BEGIN")
        for each in saves:
            if each.value is None:
                self._db.execute("DELETE FROM state WHERE kind = ? AND key = ?", (each.kind, each.key))
            else:
                row = (each.kind, each.key, json.dumps(each.value))
                self._db.execute(
                    "INSERT INTO state VALUES (?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value",
                    row,
                )
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the files."""
        if self._ledger is not None:
            self._ledger.close()
        if self._db is not None:
            self._db.close()


def _end_the_last_line(path: Path, ledger: TextIO) -> None:
    """Keep a line that a crash cut off from swallowing the next one."""
    with path.open("rb") as content:
        content.seek(0, 2)
        if content.tell():
            content.seek(-1, 2)
            if content.read(1) != b"\n":
                ledger.write("\n")


def _is_whole(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False
