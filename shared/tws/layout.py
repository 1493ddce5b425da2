"""Derive a message's wire layout from its dataclass, and keep the table of message ids.

`@message(table, id, version=...)` on a frozen dataclass whose attributes are annotated with wires (`fields.py`) makes
it a message: its fields go out in the order of the attributes, after the id and, where the protocol has one, the
literal version field. A class with methods `write_fields(out)` and `read_fields(src)` lays itself out instead
(orders, whose fields depend on each other).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from shared.errors import DecodeError
from shared.tws.fields import Gate, Reader, Writer

T = TypeVar("T")


class UnknownMessage(DecodeError):
    """A message id that this table does not have; `message_id` names it."""

    def __init__(self, message_id: int) -> None:
        super().__init__(f"message id {message_id} is not known")
        self.message_id = message_id


class Record(Generic[T]):
    """The wire of a dataclass, field after field, each within its gate."""

    __slots__ = ("_cls", "_items")

    def __init__(self, cls: type[T], only: tuple[str, ...] | None = None) -> None:
        """Take the annotated attributes of `cls`, or those named in `only`, in that order."""
        self._cls = cls
        hints = get_type_hints(cls, include_extras=True)
        names = only or tuple(field.name for field in fields(cls))  # type: ignore[arg-type]
        self._items: list[tuple[str, Any, int, int]] = []
        for name in names:
            if get_origin(hints[name]) is not Annotated:
                raise TypeError(f"{cls.__name__}.{name} names no wire")
            marks = get_args(hints[name])[1:]
            gate = next((mark for mark in marks if isinstance(mark, Gate)), Gate())
            wire = next(mark for mark in reversed(marks) if not isinstance(mark, Gate))
            self._items.append((name, wire, gate.since, gate.until))

    def write(self, out: Writer, value: T) -> None:
        """Append the fields that exist at the writer's version."""
        version = out.version
        for name, wire, since, until in self._items:
            if since <= version < until:
                wire.write(out, getattr(value, name))

    def read(self, src: Reader) -> T:
        """Take the fields that exist at the reader's version; others keep their defaults."""
        version = src.version
        values = {}
        for name, wire, since, until in self._items:
            if since <= version < until:
                src.label = name
                values[name] = wire.read(src)
        return self._cls(**values)


class SelfLaidOut(Generic[T]):
    """The wire of a class that writes and reads itself."""

    __slots__ = ("_cls",)

    def __init__(self, cls: type[T]) -> None:
        self._cls: Any = cls

    def write(self, out: Writer, value: T) -> None:
        """Let the value write itself."""
        self._cls.write_fields(value, out)

    def read(self, src: Reader) -> T:
        """Let the class read itself."""
        result: T = self._cls.read_fields(src)
        return result


@dataclass(frozen=True, slots=True)
class _Entry:
    message_id: int
    head: str
    version_field: int | None
    version_until: int
    wire: Any
    id_index: int
    """Where the order or request id stands among the fields; 0 if the message has none."""
    since: int = 0


class Table:
    """All messages of one direction, by id and by class."""

    def __init__(self, direction: str, *, escapes: bool) -> None:
        """`escapes` says whether texts go as ASCII with escapes, as from TWS to its clients."""
        self.direction = direction
        self._escapes = escapes
        self._by_class: dict[type, _Entry] = {}
        self._by_id: dict[int, _Entry] = {}

    @property
    def classes(self) -> tuple[type, ...]:
        """Every message class, in the order of the declarations."""
        return tuple(self._by_class)

    def add(self, cls: type, message_id: int, version: int | None, version_until: int, since: int) -> None:
        """Register a class under its id."""
        if message_id in self._by_id:
            raise TypeError(f"message id {message_id} is taken by {self._by_id[message_id]}")
        wire: Any = SelfLaidOut(cls) if hasattr(cls, "write_fields") else Record(cls)
        has_id = next((field.name for field in fields(cls)), "") in ("order_id", "req_id")
        id_index = (1 if version is None else 2) if has_id else 0
        entry = _Entry(message_id, str(message_id), version, version_until, wire, id_index, since)
        self._by_class[cls] = self._by_id[message_id] = entry

    def message_id(self, cls: type) -> int:
        """Return the id of a message class."""
        return self._by_class[cls].message_id

    def since(self, cls: type) -> int:
        """Return the server version from which a message exists, 0 if it always did."""
        return self._by_class[cls].since

    def encode(self, message: object, version: int) -> bytes:
        """Return the frame's payload of a message for a connection of this server version.

        Raises:
            ValueError: a value cannot be sent (a NUL in a text, a NaN).
        """
        entry = self._by_class[type(message)]
        out = Writer(version, ascii7=self._escapes)
        out.raw(entry.head)
        if entry.version_field is not None and version < entry.version_until:
            out.raw(str(entry.version_field))
        entry.wire.write(out, message)
        return out.payload()

    def decode(self, payload: bytes, version: int) -> Any:
        """Return the message of a frame's payload, which must be used up exactly.

        Raises:
            UnknownMessage: no message has this id.
            DecodeError: the fields are not this message's.
        """
        src = Reader(payload, version, unescape=self._escapes)
        message_id = read_message_id(src)
        entry = self._by_id.get(message_id)
        if entry is None:
            raise UnknownMessage(message_id)
        if entry.version_field is not None and version < entry.version_until:
            src.label = "version"
            src.take()  # no client and no server of these versions looks at it
        message = entry.wire.read(src)
        src.finish()
        return message

    def ids_of(self, payload: bytes) -> tuple[int | None, int]:
        """Return the message id, and the order or request id, of a payload that need not be well formed.

        None and -1 stand for what cannot be read: this is for error messages and for routing, not for deciding what a
        message means.
        """
        words = payload[:64].split(b"\0")
        if not _is_number(words[0]) or len(words) < 2:
            return None, -1
        message_id = int(words[0])
        entry = self._by_id.get(message_id)
        if entry is None or entry.id_index >= len(words) - 1:
            return message_id, -1
        word = words[entry.id_index]
        return message_id, int(word) if entry.id_index and _is_number(word) else -1


def _is_number(word: bytes) -> bool:
    return word.isdigit() and len(word) <= 10


def read_message_id(src: Reader) -> int:
    """Take the message id, the first field of every text message.

    Raises:
        DecodeError: it is not a number between 0 and 9999.
    """
    text = src.take()
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise DecodeError(f"the message id is {text[:40]!r}, not a number")
    return int(text)


def message(
    table: Table, message_id: int, *, version: int | None = None, version_until: int = 1 << 30, since: int = 0
) -> Callable[[type[T]], type[T]]:
    """Register the decorated dataclass in a table.

    `version` is the literal version field that this message carries after its id up to server version
    `version_until`; most clients ignore its value. `since` is the server version from which the message exists:
    it is for those who send; a reader takes it at any version.
    """

    def register(cls: type[T]) -> type[T]:
        table.add(cls, message_id, version, version_until, since)
        return cls

    return register


class Request:
    """Base of every message from a client to the server."""

    __slots__ = ()


class Response:
    """Base of every message from the server to a client."""

    __slots__ = ()


REQUESTS = Table("client to server", escapes=False)
RESPONSES = Table("server to client", escapes=True)
