"""Chain the audit: each record's hash covers the record and the hash before it, so that none can be changed or lost.

A record is one stream entry as it was written (fields and entry id), or a note of the writer itself, of no stream
(`gap`: entries that retention took before they were read; `incarnation`: Redis came back as another). Records are
numbered from 1 without a hole. The hash of record 0 is 32 zero bytes.

What the chain shows: that nothing in it was changed, removed or put in between. That nothing was cut off at its end is
seen only against a head (number and hash) kept elsewhere, or against the streams.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgpack

START = bytes(32)
"""The hash before the first record."""
GAP, INCARNATION = "gap", "incarnation"
NOTES = (GAP, INCARNATION)


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `packed` is the msgpack list of the entry's field names and values, in their order."""

    number: int
    stream: str
    entry_id: str
    packed: bytes
    hash: bytes

    @property
    def fields(self) -> dict[bytes, bytes]:
        """Return the entry's fields."""
        parts: list[bytes] = msgpack.unpackb(self.packed, raw=True)
        return dict(zip(parts[::2], parts[1::2], strict=True))


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain."""

    number: int = 0
    hash: bytes = START

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"


class ChainBroken(Exception):
    """A record does not follow the one before it; the text names it."""


def pack(fields: Mapping[bytes, bytes]) -> bytes:
    """Return the fields as they are kept and hashed."""
    packed: bytes = msgpack.packb([part for pair in fields.items() for part in pair], use_bin_type=True)
    return packed


def hash_of(before: bytes, number: int, stream: str, entry_id: str, packed: bytes) -> bytes:
    """Return a record's hash; every part is preceded by its length, so that no two records hash alike."""
    digest = hashlib.sha256(before)
    for part in (str(number).encode(), stream.encode(), entry_id.encode(), packed):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def link(head: Head, stream: str, entry_id: str, fields: Mapping[bytes, bytes]) -> Record:
    """Return the record that follows a head."""
    number, packed = head.number + 1, pack(fields)
    return Record(number, stream, entry_id, packed, hash_of(head.hash, number, stream, entry_id, packed))


def verified(records: Iterable[Record], head: Head) -> Iterator[Record]:
    """Yield records as long as each follows the one before.

    Raises:
        ChainBroken: a number is missing or twice, or a hash is not that of its record.
    """
    for record in records:
        if record.number != head.number + 1:
            raise ChainBroken(f"record {record.number} of {record.stream} follows record {head.number}")
        expected = hash_of(head.hash, record.number, record.stream, record.entry_id, record.packed)
        if record.hash != expected:
            raise ChainBroken(f"record {record.number} ({record.stream} {record.entry_id}) is not what was written")
        head = Head(record.number, record.hash)
        yield record


def subject_of(fields: Mapping[bytes, bytes]) -> str:
    """Return the intent an entry is about (a commission: its execution), "" where it is about none or unreadable."""
    if fields.get(b"type") in (b"intent", b"decision", b"command", b"commission"):
        return fields.get(b"id", b"").decode(errors="replace")
    try:
        content = msgpack.unpackb(fields.get(b"body", b""), raw=False)
    except (ValueError, msgpack.UnpackException):
        return ""
    if not isinstance(content, dict):
        return ""
    inner: Any = content.get("cancel")
    found = inner.get("intent_id") if isinstance(inner, dict) else content.get("intent_id")
    return found if isinstance(found, str) else ""
