"""Write stream entries to files as they are: a folder for each UTC day, in it a file for each stream.

`<day>/<stream>.mpk.gz` (`:` in a stream's name becomes `~`) is gzip over msgpack rows `[entry id, {field: bytes}]`. The
day is that of the entry's id. `progress.json` says how far each stream is recorded and how long each file is; it is
written after the entries, and what lies in a file behind its noted length was cut off by a crash: it is written again.
Beside the days, `session.msgpack` holds what a replay needs to know of the deployment.

Known limit: what cannot be written (a full disk) is lost, with a warning; recording goes on once it can.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

from shared.bus.ports import Entry, entry_order
from shared.clock import NS_PER_MS, iso_utc
from shared.errors import BadInput
from shared.logs import get_logger

FLUSH_BYTES = 1 << 20
SESSION_FILE = "session.msgpack"
PROGRESS_FILE = "progress.json"
SUFFIX = ".mpk.gz"


def file_name(stream: str) -> str:
    """Return the name of a stream's file."""
    return stream.replace(":", "~") + SUFFIX


def stream_of(name: str) -> str:
    """Return the stream whose file has this name."""
    return name.removesuffix(SUFFIX).replace("~", ":")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far each stream is recorded, and the length in bytes of each file, by its path below the folder."""

    cursors: dict[str, str]
    sizes: dict[str, int]


def read_progress(directory: Path) -> Progress:
    """Return how far a recording is, nothing for a new one.

    Raises:
        BadInput: the note about it is unreadable.
    """
    path = directory / PROGRESS_FILE
    try:
        found = json.loads(path.read_text())
        cursors = {str(stream): str(entry_id) for stream, entry_id in found["cursors"].items()}
        return Progress(cursors, {str(name): int(size) for name, size in found["sizes"].items()})
    except FileNotFoundError:
        return Progress({}, {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise BadInput(f"{path} is unreadable ({e}): move this recording away, and a new one begins") from e


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows by (day, stream), and how far each stream is recorded once they are written."""

    rows: dict[tuple[str, str], list[bytes]]
    cursors: dict[str, str]


class Recorder:
    """Appends to the files below `directory`; stream names are those without the deployment's prefix."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._rows: dict[tuple[str, str], list[bytes]] = {}
        self._noted: dict[str, str] = {}
        self._bytes = 0
        self._failed = False

    def progress(self) -> Progress:
        """Return how far the recording is.

        Raises:
            BadInput: the note about it is unreadable: where to go on is not known.
        """
        return read_progress(self._directory)

    def note(self, stream: str, entry: Entry) -> None:
        """Take an entry."""
        row: bytes = msgpack.packb([entry.entry_id, dict(entry.fields)])
        day = iso_utc(entry_order(entry.entry_id)[0] * NS_PER_MS)[:10]
        self._rows.setdefault((day, stream), []).append(row)
        self._noted[stream] = entry.entry_id
        self._bytes += len(row)

    @property
    def is_full(self) -> bool:
        """Return whether it is time to flush."""
        return self._bytes >= FLUSH_BYTES

    def take(self) -> Batch:
        """Return what was noted since the last time, for `write`, which may run in a thread."""
        batch = Batch(self._rows, dict(self._noted))
        self._rows, self._bytes = {}, 0
        return batch

    def write(self, batch: Batch) -> None:
        """Append a batch to the files; a full or missing disk stops recording, never the service."""
        if not batch.rows:
            return
        try:
            before = self.progress()
            sizes = dict(before.sizes)
            for (day, stream), parts in batch.rows.items():
                name = f"{day}/{file_name(stream)}"
                sizes[name] = self._append(name, sizes.get(name, 0), gzip.compress(b"".join(parts), compresslevel=3))
            content = {"cursors": {**before.cursors, **batch.cursors}, "sizes": sizes}
            self._replace(PROGRESS_FILE, json.dumps(content).encode())
            self._failed = False
        except (OSError, BadInput) as e:
            if not self._failed:
                get_logger().warning("recording.failed", directory=str(self._directory), error=str(e))
            self._failed = True

    def _append(self, name: str, size: int, content: bytes) -> int:
        """Write behind the noted end of a file; return its new length."""
        path = self._directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        with path.open("r+b") as file:
            file.truncate(size)
            file.seek(size)
            file.write(content)
        return size + len(content)

    def flush(self) -> None:
        """Write what was noted."""
        self.write(self.take())

    def write_session(self, content: Mapping[str, Any]) -> None:
        """Write what a replay needs to know; the same rules as `write`."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._replace(SESSION_FILE, msgpack.packb(dict(content)))
        except OSError as e:
            if not self._failed:
                get_logger().warning("recording.failed", directory=str(self._directory), error=str(e))
            self._failed = True

    def _replace(self, name: str, content: bytes) -> None:
        fresh = self._directory / f"{name}.new"
        fresh.write_bytes(content)
        fresh.replace(self._directory / name)
