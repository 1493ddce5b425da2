"""Run the server's side, and a small client's side, of one TWS session, without any socket.

Bytes in, events out; what must be sent collects in `data_to_send()`.

Invariants:
1. The handshake reply goes out alone: nothing else can be sent before START_API has arrived, since the official
   client throws away whatever else is in that read (ib-facts B.1, measured as M3).
2. Whatever the bytes are, there are only events; the last one is `ProtocolError` if the stream is unusable.
3. A request that does not decode is a `BadRequest`, and the session goes on, as TWS does since 10.28 (ib-facts A.7).

Source: ib-facts B.1, B.2, B.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from shared.errors import DecodeError, InvariantBroken
from shared.tws.fields import Reader, Writer
from shared.tws.framing import MAX_PAYLOAD, FrameReader, encode_frame, split_first
from shared.tws.hello import API_PREFIX, MAX_HELLO, ClientHello, encode_hello, parse_hello
from shared.tws.layout import REQUESTS
from shared.tws.requests import Request, StartApi, UnknownMessage, decode_request, encode_request
from shared.tws.responses import Response, decode_response, encode_response
from shared.tws.versions import DEFAULT_CAP, MAX_SUPPORTED, MIN_SUPPORTED, negotiate

MAX_REQUEST = 1 << 20
"""Bytes in a request's frame; the longest are advisors' XML."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The client has said what it speaks, and `version` is what the session speaks from here on."""

    min_version: int
    max_version: int
    options: str
    version: int


@dataclass(frozen=True, slots=True)
class BadRequest:
    """A frame that is no request of this version; `request_id` is what an error about it should carry, -1 if unknown.

    `message_id` is None if not even that could be read.
    """

    message_id: int | None
    request_id: int
    reason: str
    is_unknown: bool = False
    """The message id itself is not known."""


@dataclass(frozen=True, slots=True)
class ProtocolError:
    """The stream is unusable; send what is left to send and close."""

    reason: str


@dataclass(frozen=True, slots=True)
class ServerHello:
    """What the server has answered to the client's hello."""

    version: int
    connection_time: str


ServerEvent = Hello | Request | BadRequest | ProtocolError
ClientEvent = ServerHello | Response | BadRequest | ProtocolError


class SessionState(Enum):
    """How far a session is."""

    PREFIX = "waiting for API"
    HELLO = "waiting for the versions"
    START = "waiting for START_API"
    READY = "ready"
    CLOSED = "closed"


class ServerConnection:
    """The server's side of one session.

    `StartApi` is the first request event. `connection_time` is what the handshake reply says, such as
    `20250715 19:05:13 EST`; keep to a common zone name, since rust-ibapi fails on others.
    """

    def __init__(self, connection_time: str, *, cap: int = DEFAULT_CAP, max_request: int = MAX_REQUEST) -> None:
        """`cap` is the highest server version to negotiate."""
        self.state = SessionState.PREFIX
        self.version = 0
        self.client_id: int | None = None
        self._connection_time = connection_time
        self._cap = cap
        self._greeting = bytearray()
        self._frames = FrameReader(max_request)
        self._out = bytearray()

    def receive_data(self, data: bytes) -> list[ServerEvent]:
        """Return what the bytes mean, in order."""
        events: list[ServerEvent] = []
        if self.state in (SessionState.PREFIX, SessionState.HELLO):
            self._greeting += data
            data = self._greet(events)
        if self.state in (SessionState.START, SessionState.READY):
            events += [self._request(payload) for payload in self._frames.receive_data(data)]
            if self._frames.error is not None:
                self._fail(str(self._frames.error), events)
        return events

    def send(self, *responses: Response) -> None:
        """Put responses into the output, in order.

        Raises:
            InvariantBroken: START_API has not arrived, or the session is closed.
            ValueError: a value cannot be sent.
        """
        if self.state is not SessionState.READY:
            raise InvariantBroken(f"{type(responses[0]).__name__} was to be sent while {self.state.value}")
        for response in responses:
            self._out += encode_frame(encode_response(response, self.version))

    def data_to_send(self) -> bytes:
        """Return the bytes to write now, and forget them."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def close(self) -> None:
        """Ignore everything from here on; what is in the output may still be written."""
        self.state = SessionState.CLOSED

    def _greet(self, events: list[ServerEvent]) -> bytes:
        """Take the hello once it is complete; return what follows it."""
        head = bytes(self._greeting[: len(API_PREFIX)])
        if not API_PREFIX.startswith(head):
            self._fail("the session does not start with API and NUL", events)
            return b""
        if head == API_PREFIX:
            self.state = SessionState.HELLO
        try:
            parts = split_first(self._greeting[len(API_PREFIX) :], MAX_HELLO)
        except DecodeError as e:
            self._fail(str(e), events)
            return b""
        if parts is None:
            return b""
        self._greeting.clear()
        self._take_hello(parts[0], events)
        return parts[1]

    def _take_hello(self, payload: bytes, events: list[ServerEvent]) -> None:
        try:
            hello = parse_hello(payload)
        except DecodeError as e:
            self._fail(str(e), events)
            return
        version = negotiate(hello.min_version, hello.max_version, self._cap)
        if version is None:
            self._fail(
                f"the client speaks versions {hello.min_version} to {hello.max_version},"
                f" this server {MIN_SUPPORTED} to {min(self._cap, MAX_SUPPORTED)}",
                events,
            )
            return
        self.version = version
        self.state = SessionState.START
        out = Writer(version)
        out.text(str(version))
        out.text(self._connection_time)
        self._out += encode_frame(out.payload())
        events.append(Hello(hello.min_version, hello.max_version, hello.options, version))

    def _request(self, payload: bytes) -> ServerEvent:
        try:
            request = decode_request(payload, self.version)
        except UnknownMessage as e:
            return BadRequest(e.message_id, -1, str(e), is_unknown=True)
        except DecodeError as e:
            message_id, request_id = REQUESTS.ids_of(payload)
            return BadRequest(message_id, request_id, str(e))
        if isinstance(request, StartApi):
            if self.state is SessionState.READY:
                return BadRequest(REQUESTS.message_id(StartApi), -1, "START_API was sent twice")
            self.state = SessionState.READY
            self.client_id = request.client_id
        elif self.state is SessionState.START:
            message_id, request_id = REQUESTS.ids_of(payload)
            return BadRequest(message_id, request_id, "START_API must come first")
        return request

    def _fail(self, reason: str, events: list[ServerEvent]) -> None:
        self.state = SessionState.CLOSED
        events.append(ProtocolError(reason))


class ClientConnection:
    """The client's side of one session, enough for health checks and tests.

    The hello is in the output from the start; call `send` after `ServerHello` was returned.
    """

    def __init__(self, hello: ClientHello | None = None) -> None:
        self.version = 0
        self._frames = FrameReader(MAX_PAYLOAD)
        self._out = bytearray(encode_hello(hello or ClientHello(MIN_SUPPORTED, DEFAULT_CAP)))

    def receive_data(self, data: bytes) -> list[ClientEvent]:
        """Return what the bytes mean, in order; a response unknown here is a `BadRequest`."""
        events = [self._event(payload) for payload in self._frames.receive_data(data)]
        if self._frames.error is not None:
            events.append(ProtocolError(str(self._frames.error)))
        return events

    def send(self, request: Request) -> None:
        """Put a request into the output.

        Raises:
            InvariantBroken: the server has not answered the hello yet.
        """
        if not self.version:
            raise InvariantBroken("a request was to be sent before the server's hello")
        self._out += encode_frame(encode_request(request, self.version))

    def data_to_send(self) -> bytes:
        """Return the bytes to write now, and forget them."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def _event(self, payload: bytes) -> ClientEvent:
        try:
            if self.version:
                return decode_response(payload, self.version)
            return self._server_hello(payload)
        except DecodeError as e:
            return BadRequest(None, -1, str(e), is_unknown=isinstance(e, UnknownMessage))

    def _server_hello(self, payload: bytes) -> ServerHello:
        src = Reader(payload, 0)
        version, connection_time = src.take(), src.take()
        src.finish()
        if not (version.isascii() and version.isdigit() and len(version) <= 4):
            raise DecodeError(f"the server version is {version[:40]!r}, not a number")
        self.version = int(version)
        return ServerHello(self.version, connection_time)
