"""Relay whole frames between clients and the broker's port, as the gate decides.

Bounds: one chunk and one frame per direction and session in memory, plus the sockets' write buffers, whose readers
wait; `MAX_SESSIONS` sessions; `HELLO_TIMEOUT_S` for a hello.

The order of effects is the barrier (see `core.gate`): a batch is carried out without an await between its effects.
The only wait, connecting upstream, comes after them, and the session's first bytes are written only if it has not
been cut meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from dataclasses import dataclass, field

from services.guard.core.gate import Close, Cut, Effect, Forward, Gate, Open, Refused, Remember, Reply
from services.guard.metrics import CUTS, EPOCH, REFUSED, RELAY, SESSIONS
from services.guard.shell.epoch import StateDir
from shared.clock import NS_PER_S, Clock
from shared.errors import ConfigError, DecodeError
from shared.logs import get_logger
from shared.tws.connection import MAX_REQUEST
from shared.tws.framing import FrameReader, encode_frame, split_first
from shared.tws.hello import API_PREFIX, MAX_HELLO

MAX_SESSIONS = 64
"""TWS itself takes 32 (ib-facts A.1)."""
HELLO_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 10.0
FLUSH_TIMEOUT_S = 1.0
_CHUNK = 1 << 16
_WRITE_LIMIT = 1 << 20
_UP = RELAY.labels("up")
_DOWN = RELAY.labels("down")


class _Ended(Exception):
    """The session is over; the reason is in the log already or in the text."""


@dataclass(eq=False)
class _Link:
    """The two sockets of a session."""

    number: int
    client_reader: asyncio.StreamReader
    client: asyncio.StreamWriter
    upstream_reader: asyncio.StreamReader | None = None
    upstream: asyncio.StreamWriter | None = None
    is_cut: bool = False
    first_bytes: bytes | None = None
    closing: str | None = None
    has_version: asyncio.Event = field(default_factory=asyncio.Event)

    def abort(self) -> None:
        """Drop both sockets and every byte that was not sent."""
        self.is_cut = True
        for writer in (self.upstream, self.client):
            if writer is not None:
                _reset(writer)


class Relay:
    """The guard's listening socket and its sessions; `port` is known after `start`."""

    def __init__(self, gate: Gate, store: StateDir, upstream: tuple[str, int], clock: Clock) -> None:
        self.gate = gate
        self.port = 0
        self._store = store
        self._upstream = upstream
        self._clock = clock
        self._links: dict[int, _Link] = {}
        self._numbers = itertools.count(1)
        self._server: asyncio.Server | None = None
        self._log = get_logger()

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            ConfigError: the port cannot be used.
        """
        try:
            self._server = await asyncio.start_server(self._on_client, host, port, limit=_CHUNK)
        except OSError as e:
            raise ConfigError(
                f"GUARD_LISTEN_PORT: port {port} on {host} cannot be used ({e.strerror}): choose another"
            ) from e
        self.port = self._server.sockets[0].getsockname()[1]
        EPOCH.set(self.gate.highest.epoch if self.gate.highest else 0)

    async def serve(self) -> None:
        """Relay until cancelled."""
        assert self._server is not None
        await self._server.serve_forever()

    async def stop(self) -> None:
        """Stop listening and drop every session; orders at the broker keep working."""
        if self._server is not None:
            self._server.close()
        for link in list(self._links.values()):
            link.abort()
        while self._links:  # their handlers leave by themselves now
            await self._clock.sleep(0.005)

    async def flush_trading(self) -> None:
        """Wait until nothing that was forwarded is still in our memory; cut sessions where that takes too long.

        A halt is acknowledged after this: an order in a buffer of ours would otherwise leave after it.
        """
        deadline_ns = self._clock.monotonic_ns() + int(FLUSH_TIMEOUT_S * NS_PER_S)
        for number in [n for n, claim in self.gate.sessions.items() if claim is not None]:
            link = self._links.get(number)
            while link is not None and link.upstream is not None and _buffered(link.upstream):
                if self._clock.monotonic_ns() > deadline_ns:
                    self._log.warning("session.cut", session=number, reason="the broker does not take its bytes")
                    self.gate.closed(number)
                    link.abort()
                    break
                await self._clock.sleep(0.002)

    # ------------------------------------------------------------------------------------------ one session
    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(self._numbers)
        if len(self._links) >= MAX_SESSIONS:
            self._log.warning("session.refused", session=number, reason=f"{MAX_SESSIONS} sessions are open")
            _reset(writer)
            return
        link = self._links[number] = _Link(number, reader, writer)
        _tune(writer)
        reason = ""
        try:
            await self._session(link)
        except (_Ended, ConnectionError, TimeoutError, OSError) as e:
            reason = str(e) or type(e).__name__
        finally:
            await self._let_go(link)
            self._count_sessions()
            self._log.info("session.closed", session=number, reason=link.closing or reason)

    async def _let_go(self, link: _Link) -> None:
        """Close both sockets; until its last byte upstream has left, the gate keeps the session and can cut it."""
        link.client.close()
        if link.upstream is not None:
            link.upstream.close()
            try:
                async with asyncio.timeout(FLUSH_TIMEOUT_S):
                    await link.upstream.wait_closed()
            except (TimeoutError, OSError):
                _reset(link.upstream)
        self.gate.closed(link.number)
        del self._links[link.number]

    async def _session(self, link: _Link) -> None:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            hello, rest = await _read_hello(link.client_reader)
        self._carry_out(self.gate.hello(link.number, hello))
        await self._leave_if_closing(link)
        if link.first_bytes is None:
            raise _Ended("not admitted")
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            link.upstream_reader, link.upstream = await asyncio.open_connection(*self._upstream, limit=_CHUNK)
        if link.is_cut:  # a higher epoch came while we were connecting
            _reset(link.upstream)
            raise _Ended("cut while connecting")
        _tune(link.upstream)
        link.upstream.write(link.first_bytes)
        self._count_sessions()
        claim = self.gate.sessions.get(link.number)
        self._log.info("session.opened", session=link.number, epoch=claim.epoch if claim else None)
        async with asyncio.TaskGroup() as group:
            down = group.create_task(_quietly(self._pump_down(link)), name=f"down-{link.number}")
            up = group.create_task(_quietly(self._pump_up(link, rest)), name=f"up-{link.number}")
            done, _ = await asyncio.wait({down, up}, return_when=asyncio.FIRST_COMPLETED)
            down.cancel()
            up.cancel()
        raise _Ended("; ".join(task.result() for task in done))

    async def _pump_up(self, link: _Link, rest: bytes) -> str:
        frames = FrameReader(MAX_REQUEST)
        await link.has_version.wait()
        assert link.upstream is not None
        loop = asyncio.get_running_loop()
        chunk = rest
        while True:
            read_ns = self._clock.monotonic_ns()
            for payload in frames.receive_data(chunk):
                self._carry_out(self.gate.client_frame(link.number, payload))
                loop.call_soon(self.gate.catch_up)  # after the write, which leaves when this turn of the loop ends
                await self._leave_if_closing(link)
                _UP.observe((self._clock.monotonic_ns() - read_ns) / NS_PER_S)
            if frames.error is not None:
                return str(frames.error)
            await link.upstream.drain()
            await link.client.drain()  # answers of ours, to a client that does not read them
            chunk = await link.client_reader.read(_CHUNK)
            if not chunk:
                return "the client closed the connection"

    async def _pump_down(self, link: _Link) -> str:
        frames = FrameReader()
        assert link.upstream_reader is not None
        while True:
            chunk = await link.upstream_reader.read(_CHUNK)
            if not chunk:
                return "the broker closed the connection"
            read_ns = self._clock.monotonic_ns()
            payloads = frames.receive_data(chunk)
            if payloads and not link.has_version.is_set():
                self._carry_out(self.gate.server_version(link.number, payloads.pop(0)))
                await self._leave_if_closing(link)
                link.has_version.set()
            if payloads:
                link.client.write(b"".join([encode_frame(payload) for payload in payloads]))
                _DOWN.observe((self._clock.monotonic_ns() - read_ns) / NS_PER_S)
                for payload in payloads:
                    self.gate.broker_frame(link.number, payload)
            if frames.error is not None:
                return f"from the broker: {frames.error}"
            await link.client.drain()

    async def _leave_if_closing(self, link: _Link) -> None:
        if link.closing is not None:
            async with asyncio.timeout(1.0):
                await link.client.drain()
            raise _Ended(link.closing)
        if link.is_cut:
            raise _Ended("cut")

    # ------------------------------------------------------------------------------------------ effects
    def _carry_out(self, effects: list[Effect]) -> None:
        """Carry out effects in their order. Not a coroutine on purpose: nothing may come between them."""
        for effect in effects:
            if isinstance(effect, Forward | Reply):
                link = self._links[effect.session]
                writer = link.upstream if isinstance(effect, Forward) else link.client
                if writer is not None and not link.is_cut:
                    writer.write(encode_frame(effect.payload))
            else:
                self._carry_out_rare(effect)

    def _carry_out_rare(self, effect: Remember | Cut | Open | Close | Refused) -> None:
        if isinstance(effect, Remember):
            self._store.save_claim(effect.claim)
            self.gate.stored = effect.claim
            EPOCH.set(effect.claim.epoch)
            self._log.info("epoch.raised", epoch=effect.claim.epoch, owner=effect.claim.owner)
        elif isinstance(effect, Cut):
            CUTS.inc()
            self._log.warning("session.cut", session=effect.session, reason=effect.reason)
            if (link := self._links.get(effect.session)) is not None:
                link.abort()
        elif isinstance(effect, Open):
            self._links[effect.session].first_bytes = effect.first_bytes
        elif isinstance(effect, Close):
            self._links[effect.session].closing = effect.reason
        else:
            REFUSED.labels(effect.kind).inc()
            self._log.warning("request.refused", session=effect.session, kind=effect.kind, reason=effect.text)

    def _count_sessions(self) -> None:
        claims = list(self.gate.sessions.values())
        SESSIONS.labels("trading").set(sum(claim is not None for claim in claims))
        SESSIONS.labels("reading").set(sum(claim is None for claim in claims))


async def _quietly(pump: asyncio.Future[str] | object) -> str:
    """Return why a pump ended: a lost connection is an end, not an error."""
    try:
        return await pump  # type: ignore[misc, no-any-return]
    except (_Ended, ConnectionError, TimeoutError, OSError) as e:
        return str(e) or type(e).__name__


async def _read_hello(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    data = b""
    while True:
        if not API_PREFIX.startswith(data[: len(API_PREFIX)]):
            raise _Ended("the session does not start with API and NUL")
        try:
            parts = split_first(data[len(API_PREFIX) :], MAX_HELLO)
        except DecodeError as e:
            raise _Ended(str(e)) from e
        if parts is not None:
            return parts
        chunk = await reader.read(_CHUNK)
        if not chunk:
            raise _Ended("the client left before its hello")
        data += chunk


def _tune(writer: asyncio.StreamWriter) -> None:
    """Bound the write buffer and let the kernel notice a peer that vanished."""
    writer.transport.set_write_buffer_limits(high=_WRITE_LIMIT)
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once, throwing away what is in our buffer and, by a reset, what is in the kernel's."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _buffered(writer: asyncio.StreamWriter) -> bool:
    return not writer.transport.is_closing() and writer.transport.get_write_buffer_size() > 0
