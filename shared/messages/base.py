"""The envelope every message travels in, and the registry of message types.

Invariants:
1. A message is immutable; its type name and version are part of the class, never of the instance.
2. Release N reads what N-1 wrote: fields are only added, with a default; unknown fields are ignored; a version
   newer than ours is refused with `UnknownVersion`, never guessed at.
3. `ts_event_ns` is when it happened by the clock its docstring names; `ts_init_ns` is when we made the message.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from shared.errors import DecodeError, InvariantBroken

INT64_MAX = (1 << 63) - 1
"""The largest whole number that an entry can carry."""
REGISTRY: dict[str, type[Message]] = {}
M = TypeVar("M", bound="type[Message]")


P = TypeVar("P", bound="Part")
_new, _slots = object.__new__, vars(BaseModel)
_put_values, _put_fields = _slots["__dict__"].__set__, _slots["__pydantic_fields_set__"].__set__
_put_extra = _slots["__pydantic_extra__"].__set__


class Part(BaseModel):
    """A frozen piece of a message."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, ser_json_inf_nan="null")


class Message(Part):
    """Base of everything on the bus; see `register`."""

    TYPE: ClassVar[str] = ""
    VERSION: ClassVar[int] = 1

    ts_init_ns: int = Field(default=0, ge=0, le=INT64_MAX, description="when the sender made the message, Unix ns UTC")

    def envelope_key(self) -> str:
        """Return what a reader would filter by (a conId, a strategy); shown as field `key`."""
        return ""

    def envelope_id(self) -> str:
        """Return the id that makes this message idempotent; shown as field `id`."""
        return ""


def put_together(cls: type[P], values: dict[str, Any], names: set[str]) -> P:
    """Return a message of values that need no check, by hand: they came out of a validated message.

    Private attributes, of which messages have none, stay unset: pydantic compares, copies and dumps such a model alike.

    Args:
        cls: its class.
        values: becomes the message's own; it has every field, defaults too.
        names: the names of all fields; the messages of a class may share it.
    """
    message = _new(cls)
    _put_values(message, values)
    _put_fields(message, names)
    _put_extra(message, None)
    return message


def register(cls: M) -> M:
    """Add a message class to the registry under its TYPE.

    Raises:
        InvariantBroken: the TYPE is empty or taken.
    """
    if not cls.TYPE or cls.TYPE in REGISTRY:
        raise InvariantBroken(f"message type {cls.TYPE!r} of {cls.__name__} is empty or taken")
    REGISTRY[cls.TYPE] = cls
    return cls


def message_class(type_name: str) -> type[Message]:
    """Return the class registered under `type_name`.

    Raises:
        DecodeError: no such type.
    """
    try:
        return REGISTRY[type_name]
    except KeyError as e:
        raise DecodeError(
            f"message type {type_name!r} is unknown to this release; known: {', '.join(sorted(REGISTRY))}"
        ) from e
