"""The library's encoders and decoders on our own bytes: nothing logged and dropped, no throttle, no event loop look-up.

What that avoids (ib-facts D.1): 326 noticed only at the time-out (M1), a send queue that is lost silently (M7),
executions dropped for their time zone (M9), the policy's loop instead of the running one (M12).
"""

from __future__ import annotations

import asyncio
import dataclasses
import struct
from collections.abc import Callable, Sequence
from datetime import UTC
from functools import cache, lru_cache
from typing import Any, Protocol

from services.gateway.ports import SessionListener
from services.gateway.shell.ib_library import Library
from shared.errors import BrokerUnavailable
from shared.logs import get_logger

MAX_FRAME_BYTES = 1 << 24
HEAD = struct.Struct(">I")
_EXEC_TIME = 15
"""Index of the time in an execDetails message."""


class Ends(Protocol):
    """The session that a wire belongs to."""

    listener: SessionListener

    def write(self, data: bytes) -> None:
        """Write bytes."""
        ...

    def take_bytes(self, data: bytes) -> None:
        """Take bytes that came."""
        ...

    def lost(self, reason: str) -> None:
        """Note the end of the socket."""
        ...


class Answers:
    """What the decoder and client call; what is not set as an attribute is ignored."""

    def __init__(self, client_id: int, time_zone: str) -> None:
        self.ib = self
        self.TimezoneTWS = time_zone  # read by the decoder for times without a zone
        self.defaultTimezone = UTC  # of times that ib_async hands out
        self.clientId = client_id

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _ignore


def _ignore(*_: object) -> None:
    """Take a message that this system has no use for."""


class _TellingDecoder:
    """The library's decoder without its habit of logging and dropping what fails; mixed into it."""

    handlers: dict[int, Callable[[Sequence[str]], None]]
    wrapper: Any

    def __init__(self, wrapper: Any, session: Ends) -> None:
        super().__init__(wrapper, 0)  # type: ignore[call-arg]
        self._session = session
        self.handlers[1] = self._price
        self.handlers[2] = self._size

    def wrap(self, methodName: str, types: Sequence[type], skip: int = 2) -> Callable[[Any], None]:  # noqa: N803
        """Return a handler that converts fields and lets errors out."""
        convert = [_CONVERT[each] for each in types]

        def handler(fields: Sequence[str]) -> None:
            method = getattr(self.wrapper, methodName)
            method(*[make(text) for make, text in zip(convert, fields[skip:], strict=False)])

        return handler

    def parse(self, obj: Any) -> None:
        """Give the fields of an object the types of their defaults.

        As the library does, which looks through the class anew for each object: three times for an order's 150 fields.
        """
        values = vars(obj)
        for name, convert, default in _typed_fields(obj.__class__):
            text = values[name]
            if text is not default:
                values[name] = convert(text) if text else default

    def _price(self, fields: Sequence[str]) -> None:
        price = fields[4]
        if price:
            self._session.listener.price_tick(int(fields[2]), int(fields[3]), float(price), float(fields[5] or 0))

    def _size(self, fields: Sequence[str]) -> None:
        self._session.listener.size_tick(int(fields[2]), int(fields[3]), float(fields[4] or 0))

    def execDetails(self, fields: Sequence[str]) -> None:  # noqa: N802
        """Decode an execution even if its time zone is unknown here: the fill counts more than its hour (M9)."""
        try:
            super().execDetails(list(fields))  # type: ignore[misc]
        except (ValueError, KeyError, LookupError, OSError):
            plain = list(fields)
            words = plain[_EXEC_TIME].replace("-", " ").split()
            plain[_EXEC_TIME] = f"{words[0]}-{words[1][:8]}"
            get_logger().warning("execution.zone_unknown", time=fields[_EXEC_TIME])
            super().execDetails(plain)  # type: ignore[misc]

    def interpret(self, fields: Sequence[str]) -> None:
        """Decode one message; what fails is told."""
        handler = None
        try:
            handler = self.handlers.get(int(fields[0]))
            if handler is not None:
                handler(fields)
        except Exception as e:  # noqa: BLE001 - a message that does not decode must not end the session (P10)
            message_id = int(fields[0]) if fields and fields[0].isdigit() else -1
            self._session.listener.unreadable(message_id, fields, f"{type(e).__name__}: {e}")


_CONVERT: dict[type, Callable[[str], Any]] = {
    str: str,
    int: lambda text: int(text or 0),
    float: lambda text: float(text or 0),
    bool: lambda text: bool(int(text or 0)),
}


@cache
def _typed_fields(kind: type) -> tuple[tuple[str, Callable[[Any], Any], Any], ...]:
    """Return the fields of one of the library's classes that are no text: name, conversion, default."""
    makers: dict[type, Callable[[Any], Any]] = {int: int, float: float, bool: lambda text: bool(int(text))}
    return tuple(
        (field.name, makers[type(field.default)], field.default)
        for field in dataclasses.fields(kind)
        if type(field.default) in makers
    )


class _OwnWire:
    """The library's encoders on our own socket handling; mixed into its client."""

    MaxRequests = 0

    def __init__(self, wrapper: Answers, session: Ends, library: Library) -> None:
        super().__init__(wrapper)  # type: ignore[call-arg]
        self._session = session
        self.decoder = _decoder_class(library)(wrapper, session)
        self.batch: list[bytes] | None = None
        self.buffer = bytearray()

    def sendMsg(self, msg: str) -> None:  # noqa: N802
        """Write one frame, or keep it for the write of its group."""
        data = msg.encode()
        frame = HEAD.pack(len(data)) + data
        if self.batch is not None:
            self.batch.append(frame)
        else:
            self._session.write(frame)

    def take_bytes(self, data: bytes) -> list[list[str]]:
        """Return the frames that are complete now, as fields."""
        buffer = self.buffer
        buffer += data
        frames: list[list[str]] = []
        at, end = 0, len(buffer)
        while end - at >= 4:
            (size,) = HEAD.unpack_from(buffer, at)
            if size > MAX_FRAME_BYTES:
                raise BrokerUnavailable(f"the broker sent a frame of {size} bytes: this is no TWS port")
            if end - at - 4 < size:
                break
            text = buffer[at + 4 : at + 4 + size].decode(errors="backslashreplace")
            frames.append(text.split("\0")[:-1])
            at += 4 + size
        del buffer[:at]
        return frames


class Socket(asyncio.Protocol):
    """Bytes in, and the end."""

    def __init__(self, session: Ends) -> None:
        self._session = session

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self._session.take_bytes(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end."""
        self._session.lost(str(exc) if exc else "the broker closed the connection")


@lru_cache(maxsize=2)
def _decoder_class(library: Library) -> Any:
    return type("Decoder", (_TellingDecoder, library.decoder), {})


@lru_cache(maxsize=2)
def _wire_class(library: Library) -> Any:
    return type("Wire", (_OwnWire, library.client), {})


def open_wire(library: Library, answers: Answers, session: Ends) -> Any:
    """Return the encoders and decoders of one session; it is the library's `Client` with what is replaced above."""
    return _wire_class(library)(answers, session, library)
