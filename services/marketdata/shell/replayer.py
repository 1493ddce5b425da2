"""Read a recording back: what the deployment was, and its entries in the order in which the bus had them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

from services.marketdata.core.replay import merged
from services.marketdata.shell.recorder import SESSION_FILE, read_progress, stream_of
from services.marketdata.shell.recording import HISTORY, recorded_streams
from shared.bus.keys import Keys
from shared.bus.ports import Entry, entry_order
from shared.clock import NS_PER_MS
from shared.errors import BadInput
from shared.messages.codec import decode_body, decode_fields
from shared.messages.market import ContractInfo
from shared.messages.orders import Intent
from shared.messages.requests import BarsAnswer

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class UnitBegan:
    """Where a unit began when it was recorded: entries after these cursors, at this wall time; and how far it came."""

    cursors: Mapping[str, str]
    at_ns: int
    until: Mapping[str, str]


class RecordedSession:
    """One recording folder.

    Raises:
        BadInput: there is no recording in it, or what it says of the deployment is unreadable.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        path = directory / SESSION_FILE
        try:
            content: dict[str, Any] = msgpack.unpackb(path.read_bytes(), strict_map_key=False)
            self.keys = Keys(content["deployment"], content["tick_partitions"])
            self.identity: dict[str, str] = content["identity"]
            self._names: dict[str, str] = content["contract_names"]
            self._contracts: dict[str, bytes] = content["contracts"]
            self.units = {
                name: UnitBegan(row["began"], int(row["began_ns"]), row["until"])
                for name, row in content["units"].items()
            }
        except OSError as e:
            raise BadInput(f"{directory} holds no recording: {path.name} cannot be read ({e.strerror or e})") from e
        except (ValueError, KeyError, TypeError, AttributeError, msgpack.UnpackException) as e:
            raise BadInput(f"{path} is unreadable: {type(e).__name__} {e}") from e
        self._streams = recorded_streams(self.keys)
        self._sizes = read_progress(directory).sizes

    def contract(self, name: str) -> ContractInfo | None:
        """Return what a name in a strategies file meant, None if nobody had asked."""
        con_id = self._names.get(name, name.removeprefix("#"))
        body = self._contracts.get(con_id)
        info = decode_body(ContractInfo.TYPE, body) if body is not None else None
        return info if isinstance(info, ContractInfo) else None

    def entries(self, *, from_ns: int = 0, to_ns: int = 1 << 62) -> Iterator[Entry]:
        """Yield the entries that units read, oldest first.

        Raises:
            BadInput: a file is no recording, or goes back in time.
        """
        names = [name for name in self._streams if name != "intents"]
        parts = {self._streams[name]: self._stream(name, self._streams[name]) for name in names}
        for entry in merged(parts):
            at_ns = entry_order(entry.entry_id)[0] * NS_PER_MS
            if at_ns >= to_ns:
                return
            if at_ns >= from_ns:
                yield entry

    def intents(self) -> dict[str, list[Intent]]:
        """Return unit → the intents it made, each once, in their order."""
        found: dict[str, dict[str, Intent]] = {}
        for entry in merged({"intents": self._stream("intents", self._streams["intents"])}):
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
            if isinstance(message, Intent) and message.unit:
                found.setdefault(message.unit, {}).setdefault(message.intent_id, message)
        return {unit: list(intents.values()) for unit, intents in found.items()}

    def history(self) -> list[BarsAnswer]:
        """Return the bars that units were given to look back on, oldest answer first."""
        answers = []
        for entry in self._stream(HISTORY, HISTORY):
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
            if isinstance(message, BarsAnswer):
                answers.append(message)
        return answers

    def _stream(self, name: str, key: str) -> Iterator[Entry]:
        for path, size in sorted(self._sizes.items()):
            if stream_of(path.rpartition("/")[2]) == name:
                yield from rows_of(self._directory / path, key, size)


class _Head:
    """The noted part of a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, count: int) -> bytes:
        data = self._file.read(min(count, self._left))
        self._left -= len(data)
        return data


def rows_of(path: Path, stream: str, size: int) -> Iterator[Entry]:
    """Yield the entries of the first `size` bytes of a file.

    Raises:
        BadInput: something in it is no recorded entry.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=1 << 30)
    number = 0
    try:
        with path.open("rb") as raw, gzip.GzipFile(fileobj=_Head(raw, size)) as file:  # type: ignore[call-overload]
            while chunk := file.read(CHUNK):
                unpacker.feed(chunk)
                for row in unpacker:
                    number += 1
                    entry_id, fields = row
                    yield Entry(stream, str(entry_id), {bytes(key): bytes(value) for key, value in fields.items()})
    except (OSError, EOFError, zlib.error, ValueError, TypeError, AttributeError, msgpack.UnpackException) as e:
        raise BadInput(f"{path} row {number + 1} is no recorded entry: {type(e).__name__} {e}") from e
