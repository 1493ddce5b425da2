"""Keep the audit in SQLite files that only grow: `audit-<first number>.sqlite`, each with a part of the one chain.

Invariants:
1. Records and the cursors up to which the streams were read are one transaction: a crash leaves neither a gap nor a
   record twice.
2. A new file begins, in one transaction, with the head and the cursors of the one before.
3. Triggers refuse UPDATE and DELETE of records: who wants to change one must do so on purpose, and the chain shows it.
4. One writer at a time: it holds `audit.lock`. Readers need no lock.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO

from services.monitoring.core.audit import Head, Record, link, subject_of, verified
from shared.bus.ports import Entry
from shared.errors import BadInput, ConfigError

ROWS_PER_FILE = 250_000
_SCHEMA = """
CREATE TABLE record (number INTEGER PRIMARY KEY, stream TEXT NOT NULL, entry_id TEXT NOT NULL, type TEXT NOT NULL,
    subject TEXT NOT NULL, packed BLOB NOT NULL, hash BLOB NOT NULL);
CREATE INDEX record_by_subject ON record (subject) WHERE subject <> '';
CREATE TABLE cursor (stream TEXT PRIMARY KEY, entry_id TEXT NOT NULL);
CREATE TABLE begins (number INTEGER NOT NULL, hash BLOB NOT NULL);
CREATE TRIGGER record_is_kept BEFORE UPDATE ON record BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END;
CREATE TRIGGER record_stays BEFORE DELETE ON record BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END;
"""


def segments(directory: Path) -> list[Path]:
    """Return the files of an audit, oldest first."""
    return sorted(directory.glob("audit-*.sqlite"))


class AuditStore:
    """The writer's side. Used from one thread at a time.

    Args:
        directory: made if needed.
        rows_per_file: after so many a new file begins.
    """

    def __init__(self, directory: Path, *, rows_per_file: int = ROWS_PER_FILE) -> None:
        """Take the lock and find the head.

        Raises:
            ConfigError: the directory cannot be used, another writer is at work in it, or its last file is unreadable.
        """
        self._directory = directory
        self._rows_per_file = rows_per_file
        self._lock = _lock(directory)
        self.head = Head()
        self.cursors: dict[str, str] = {}
        self._begins = 0
        try:
            found = segments(directory)
            self._file = self._open(found[-1]) if found else self._begin()
        except sqlite3.Error as e:
            self._lock.close()
            raise ConfigError(f"CQ_AUDIT_DIR: {directory} cannot be read ({e}): `cq audit verify` says more") from e

    def append(self, entries: Sequence[Entry], cursors: Mapping[str, str]) -> None:
        """Keep entries, in this order, and how far the streams were read: all or nothing.

        Raises:
            OSError: it could not be written; nothing changed.
        """
        head, rows = self.head, []
        for entry in entries:
            record = link(head, entry.stream, entry.entry_id, entry.fields)
            head = Head(record.number, record.hash)
            kind = entry.fields.get(b"type", b"").decode(errors="replace")
            subject = subject_of(entry.fields)
            rows.append((record.number, record.stream, record.entry_id, kind, subject, record.packed, record.hash))
        try:
            with self._file:
                self._file.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
                self._file.executemany("INSERT OR REPLACE INTO cursor VALUES (?, ?)", cursors.items())
            self.head = head
            self.cursors = {**self.cursors, **cursors}
            if head.number - self._begins >= self._rows_per_file:
                self._file.close()
                self._file = self._begin()
        except sqlite3.Error as e:
            raise OSError(str(e)) from e

    def close(self) -> None:
        """Close the file and give the lock back."""
        self._file.close()
        self._lock.close()

    def _begin(self) -> sqlite3.Connection:
        path = self._directory / f"audit-{self.head.number + 1:012d}.sqlite"
        file = _connect(path)
        file.executescript(f"BEGIN; {_SCHEMA}")
        file.execute("INSERT INTO begins VALUES (?, ?)", (self.head.number, self.head.hash))
        file.executemany("INSERT INTO cursor VALUES (?, ?)", self.cursors.items())
        file.commit()
        self._begins = self.head.number
        return file

    def _open(self, path: Path) -> sqlite3.Connection:
        file = _connect(path)
        if not file.execute("SELECT 1 FROM sqlite_master WHERE name = 'begins'").fetchone():
            file.close()  # a crash came between the file and its first transaction
            path.unlink()
            before = segments(self._directory)
            if not before:
                return self._begin()
            with closing(_connect(before[-1])) as last:
                self._take_head(last)
            return self._begin()
        self._take_head(file)
        return file

    def _take_head(self, file: sqlite3.Connection) -> None:
        self._begins, begin_hash = file.execute("SELECT number, hash FROM begins").fetchone()
        last = file.execute("SELECT number, hash FROM record ORDER BY number DESC LIMIT 1").fetchone()
        self.head = Head(*(last or (self._begins, begin_hash)))
        self.cursors = dict(file.execute("SELECT stream, entry_id FROM cursor"))


def _lock(directory: Path) -> IO[str]:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (directory / "audit.lock").open("w")
    except OSError as e:
        raise ConfigError(f"CQ_AUDIT_DIR: {str(directory)!r} cannot be used ({e.strerror}): choose another") from e
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        file.close()
        raise ConfigError(f"CQ_AUDIT_DIR: another process writes the audit in {directory}: stop it first") from e
    return file


def _connect(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, check_same_thread=False)
    file.execute("PRAGMA journal_mode = WAL")
    file.execute("PRAGMA synchronous = NORMAL")  # a power cut may undo the last transactions whole: read again, then
    return file


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)


def read_records(directory: Path, *, is_checked: bool = True) -> Iterator[Record]:
    """Yield every record of an audit, oldest first.

    Args:
        directory: where its files are.
        is_checked: whether the chain is verified on the way, from the first record that is there.

    Raises:
        BadInput: there is no audit, or a file cannot be read.
        ChainBroken: a record was changed, is missing, or does not belong there.
    """
    paths = segments(directory)
    if not paths:
        raise BadInput(f"there is no audit in {directory}")
    records = _all_records(paths)
    try:
        if is_checked:
            with closing(_read_only(paths[0])) as file:
                first = Head(*file.execute("SELECT number, hash FROM begins").fetchone())
            records = verified(records, first)
        yield from records
    except sqlite3.Error as e:
        raise BadInput(f"the audit in {directory} cannot be read: {e}") from e


def _all_records(paths: Sequence[Path]) -> Iterator[Record]:
    for path in paths:
        with closing(_read_only(path)) as file:
            for row in file.execute("SELECT number, stream, entry_id, packed, hash FROM record ORDER BY number"):
                yield Record(*row)


def records_about(directory: Path, subject: str) -> list[Record]:
    """Return the records about one intent, oldest first; none where there is no audit.

    Raises:
        BadInput: a file cannot be read.
    """
    found: list[Record] = []
    query = "SELECT number, stream, entry_id, packed, hash FROM record WHERE subject = ? ORDER BY number"
    for path in segments(directory):
        try:
            with closing(_read_only(path)) as file:
                found += [Record(*row) for row in file.execute(query, (subject,))]
        except sqlite3.Error as e:
            raise BadInput(f"{path} cannot be read: {e}") from e
    return found
