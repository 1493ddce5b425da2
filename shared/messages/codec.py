"""Turn messages into stream fields and back.

A stream entry has plain text fields that a person reads with `XRANGE` (type, key, id, source, epoch, ts) and
the message in `body`: a msgpack map with `v` (the version) and the model's fields; Decimals and enums are text,
ids of 64 bits are msgpack integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import msgpack
from pydantic import ValidationError

from shared.clock import iso_utc
from shared.errors import DecodeError, UnknownVersion
from shared.messages.base import Message, Part, message_class

MAX_BODY_BYTES = 1 << 20
"""An entry with a larger body is refused on both sides: nothing legitimate comes near one mebibyte."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A decoded entry: the message and who wrote it.

    `epoch` is the writer's lease epoch, 0 for writers without a lease. `entry_id` is `<ms>-<seq>`.
    """

    message: Message
    source: str
    epoch: int
    entry_id: str = ""
    stream: str = ""


def _plain(value: object) -> object:
    """Return what msgpack does not know by itself as what it knows: exact numbers, parts of a message."""
    if type(value) is Decimal:
        return str(value)
    if isinstance(value, Part):
        return value.__dict__
    raise TypeError(f"a {type(value).__name__} cannot travel in a message")


_packers: list[msgpack.Packer] = []
"""Packers that nobody uses right now, kept: a fresh one takes a mebibyte of memory and gives it back, each time."""


def encode_body(message: Message) -> bytes:
    """Return the msgpack body of a message: its fields as they are, without a dump of the model in between."""
    try:
        packer = _packers.pop()  # so that no two threads have the same
    except IndexError:
        packer = msgpack.Packer(use_bin_type=True, default=_plain)
    try:
        body: bytes = packer.pack({**message.__dict__, "v": message.VERSION})
    finally:
        _packers.append(packer)
    return body


def encode_fields(message: Message, *, source: str, epoch: int = 0, now_ns: int | None = None) -> dict[str, bytes]:
    """Return the fields of a stream entry, in the order people read them.

    Args:
        message: what to send.
        source: `<service>:<instance>` of the writer.
        epoch: the writer's lease epoch, 0 without a lease.
        now_ns: time shown in `ts`; default the message's own `ts_init_ns`.

    Raises:
        DecodeError: the body is larger than `MAX_BODY_BYTES`.
    """
    body = encode_body(message)
    if len(body) > MAX_BODY_BYTES:
        raise DecodeError(f"a {message.TYPE} of {len(body)} bytes is over the limit of {MAX_BODY_BYTES}")
    return {
        "type": message.TYPE.encode(),
        "key": message.envelope_key().encode(),
        "id": message.envelope_id().encode(),
        "source": source.encode(),
        "epoch": str(epoch).encode(),
        "ts": iso_utc(message.ts_init_ns if now_ns is None else now_ns).encode(),
        "body": body,
    }


def decode_body(type_name: str, body: bytes) -> Message:
    """Return the message of a body.

    Raises:
        DecodeError: unknown type, not msgpack, too large, or content that does not fit the model.
        UnknownVersion: written by a newer release.
    """
    cls = message_class(type_name)
    if len(body) > MAX_BODY_BYTES:
        raise DecodeError(f"a {type_name} body of {len(body)} bytes is over the limit of {MAX_BODY_BYTES}")
    try:
        content = msgpack.unpackb(body, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as e:
        raise DecodeError(f"the body of a {type_name} is not msgpack: {e}") from e
    if not isinstance(content, dict):
        raise DecodeError(f"the body of a {type_name} is a {type(content).__name__}, not a map")
    version = content.pop("v", None)
    if not isinstance(version, int) or version < 1:
        raise DecodeError(f"a {type_name} carries no usable version: {version!r}")
    if version > cls.VERSION:
        raise UnknownVersion(
            f"a {type_name} of version {version} is newer than this release knows ({cls.VERSION}): upgrade"
        )
    try:
        return cls.model_validate(content)
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DecodeError(f"a {type_name} does not fit its model at {where!r}: {first['msg']}") from e


def decode_fields(fields: Mapping[bytes, bytes], *, entry_id: str = "", stream: str = "") -> Envelope:
    """Return the envelope of a stream entry.

    Raises:
        DecodeError: a field is missing or unreadable; an entry deleted while pending has no fields at all.
        UnknownVersion: written by a newer release.
    """
    try:
        type_name = fields[b"type"].decode()
        body = fields[b"body"]
        source = fields.get(b"source", b"").decode()
        epoch = int(fields.get(b"epoch", b"0") or b"0")
    except KeyError as e:
        raise DecodeError(f"entry {entry_id} of {stream} has no field {e.args[0].decode()!r}") from e
    except (UnicodeDecodeError, ValueError) as e:
        raise DecodeError(f"entry {entry_id} of {stream} has an unreadable field: {e}") from e
    return Envelope(decode_body(type_name, body), source, epoch, entry_id, stream)
