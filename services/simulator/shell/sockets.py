"""Serve the exchange over TCP: bytes to the codec, requests to the engine, responses back, time to the engine.

Invariants:
1. What the engine wants sent within one turn of the event loop leaves in one write per session.
2. State and ledger are stored before anything they led to is written to a socket.
3. A client that does not read is cut when `MAX_UNSENT` bytes wait for it; others do not notice.
4. A client that sends much is read in turns with the others, and not beyond `MAX_INBOX` requests ahead.
5. The engine is called at its deadline, at most every `QUANTUM_S`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import Any, cast

from services.simulator.core.engine import Engine
from services.simulator.core.floor import AbandonSession, CloseSession, Save, SetListening, Turn
from services.simulator.core.times import zoned_text
from services.simulator.shell.metrics import LATE, MESSAGES_SENT, MOST_LATE, REQUESTS_RECEIVED, SESSIONS_CUT
from services.simulator.shell.quick_orders import OrderFrames
from services.simulator.shell.quick_ticks import quick_frames
from services.simulator.shell.store import Store
from shared.clock import NS_PER_S, Clock
from shared.errors import ConfigError, InvariantBroken
from shared.logs import get_logger
from shared.tws.connection import BadRequest, Hello, ProtocolError, ServerConnection, SessionState
from shared.tws.requests import Request
from shared.tws.responses import OpenOrder

MAX_UNSENT = 16 << 20
MAX_INBOX = 1000
EVENTS_PER_TURN = 20
QUANTUM_S = 0.001
LISTEN_RETRY_S = 0.1


class Exchange:
    """One engine, its listening port, its sessions and its clock."""

    def __init__(self, engine: Engine, store: Store, clock: Clock, *, host: str, port: int) -> None:
        self.engine = engine
        self.clock = clock
        self.host = host
        self.port = port
        self._store = store
        self._protocols: dict[int, SessionProtocol] = {}
        self._last_session = 0
        self._to_flush: set[int] = set()
        self._closing: list[CloseSession | AbandonSession] = []
        self._abandoned: list[SessionProtocol] = []
        self._saves: list[Save] = []
        self._is_flush_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._most_late_s = 0.0
        self._server: asyncio.Server | None = None
        self._is_wanted = True
        self._changed = asyncio.Event()
        self._failure: Exception | None = None
        self.log = get_logger()

    # -------------------------------------------------------------------------------------------- port
    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the port cannot be used.
        """
        try:
            await self._listen()
        except OSError as e:
            raise ConfigError(
                f"SIM_PORT: port {self.port} on {self.host} cannot be used ({e.strerror or e}): "
                "stop what uses it or choose another"
            ) from e
        self.engine.open(self.now_ns())
        self._arm()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: SessionProtocol(self), self.host, self.port, backlog=128)
        self.port = self._server.sockets[0].getsockname()[1]

    async def serve(self) -> None:
        """Open and close the port as faults ask, until cancelled."""
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                if self._failure is not None:
                    raise InvariantBroken(f"the exchange failed: {self._failure}") from self._failure
                if self._is_wanted and self._server is None:
                    await self._listen_again()
                elif not self._is_wanted and self._server is not None:
                    self._server.close()
                    self._server = None
        finally:
            self.stop()

    async def _listen_again(self) -> None:
        try:
            await self._listen()
        except OSError:
            await self.clock.sleep(LISTEN_RETRY_S)
            self._changed.set()

    def stop(self) -> None:
        """Close the port, the sessions and the files."""
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            self._server.close()
            self._server = None
        self._flush()
        for protocol in (*self._protocols.values(), *self._abandoned):
            protocol.close(abrupt=False)
        self._store.save(self._saves, self.engine.floor.ledger.take_unsaved())
        self._saves = []
        self._store.close()

    @property
    def is_listening(self) -> bool:
        """Return whether the port is open."""
        return self._server is not None

    # -------------------------------------------------------------------------------------------- engine
    def now_ns(self) -> int:
        """Return the exchange's time."""
        return self.clock.wall_ns()

    def next_session(self, protocol: SessionProtocol) -> int:
        """Return a fresh session number for a connection."""
        self._last_session += 1
        self._protocols[self._last_session] = protocol
        return self._last_session

    def apply(self, turn: Turn) -> None:
        """Carry out what a call of the engine returned, at the end of this turn of the loop."""
        for session, responses in turn.sends.items():
            protocol = self._protocols.get(session)
            if protocol is not None:
                protocol.queue(responses)
                self._to_flush.add(session)
        for effect in turn.effects:
            if isinstance(effect, Save):
                self._saves.append(effect)
            elif isinstance(effect, CloseSession | AbandonSession):
                self._closing.append(effect)
            else:
                self._set_listening(effect)
        if not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)
        self._arm()

    def receive(self, session: int, request: Request | BadRequest, arrived_ns: int) -> None:
        """Let the engine answer a request; a request that breaks it is answered 322, and all others go on."""
        now_ns = arrived_ns or self.now_ns()
        try:
            turn = self.engine.receive(session, request, now_ns)
        except Exception:  # one client's request must never end the others' sessions
            self.log.exception("request.failed", session=session, request=type(request).__name__)
            turn = self.engine.refuse(session, request, now_ns)
        self.apply(turn)

    def inject_fault(self, name: str, parameters: dict[str, Any]) -> None:
        """Carry out a fault.

        Raises:
            BadFault: unknown name or parameters.
        """
        self.apply(self.engine.inject_fault(name, parameters, self.now_ns()))
        self._flush()  # what a command does is done when it is answered

    def ended(self, session: int) -> None:
        """Take note that a connection is gone."""
        if self._protocols.pop(session, None) is not None:
            self.apply(self.engine.close_session(session, self.now_ns()))

    def _set_listening(self, effect: SetListening) -> None:
        self._is_wanted = effect.on
        if not effect.on and self._server is not None:
            self._server.close()
            self._server = None
        self._changed.set()

    def _flush(self) -> None:
        self._is_flush_due = False
        ledger = self.engine.floor.ledger.take_unsaved()
        if ledger or self._saves:
            saves, self._saves = self._saves, []
            self._store.save(saves, ledger)
        for session in self._to_flush:
            protocol = self._protocols.get(session)
            if protocol is not None and not protocol.flush():
                SESSIONS_CUT.inc()
                self.log.warning("session.cut", session=session, unsent_bytes=MAX_UNSENT)
                protocol.close(abrupt=True)
        self._to_flush.clear()
        closing, self._closing = self._closing, []
        for each in closing:
            protocol = self._protocols.get(each.session)
            if protocol is None:
                continue
            if isinstance(each, AbandonSession):
                self._abandoned.append(protocol)
                protocol.fall_silent()
                self.ended(each.session)
            else:
                protocol.close(abrupt=each.abrupt)

    # -------------------------------------------------------------------------------------------- time
    def _arm(self) -> None:
        due_ns = self.engine.deadline_ns()
        if due_ns is None or (self._timer is not None and self._timer_ns <= due_ns):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ns = due_ns
        delay_s = max(QUANTUM_S, (due_ns - self.now_ns()) / NS_PER_S)
        self._timer = asyncio.get_running_loop().call_later(min(delay_s, 1.0), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now_ns = self.now_ns()
        late_s = max(0.0, (now_ns - self._timer_ns) / NS_PER_S)
        LATE.observe(late_s)
        if late_s > self._most_late_s:
            self._most_late_s = late_s
            MOST_LATE.set(late_s)
        try:
            self.apply(self.engine.advance(now_ns))
        except Exception as e:  # noqa: BLE001 - a bug of ours: `serve` raises it, and we start again with our books
            self._failure = e
            self._changed.set()


class SessionProtocol(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        engine = exchange.engine
        config = engine.floor.config
        self._codec = ServerConnection(zoned_text(exchange.now_ns(), "UTC"), cap=config.max_version)
        self._order_frames: OrderFrames | None = None
        self._out = bytearray()
        self._transport: asyncio.Transport | None = None
        self._session = 0
        self._is_open = False
        self._is_hanging = engine.floor.faults.is_hanging
        self._inbox: deque[Any] = deque()
        self._is_draining = False
        self._arrived_ns = 0
        """When the bytes came whose requests are handled now, 0 for "now": decoding a long one takes its time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's is one by shape, not by class
        transport.set_write_buffer_limits(high=MAX_UNSENT)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._session = self._exchange.next_session(self)

    def data_received(self, data: bytes) -> None:
        """Turn bytes into requests, and let the engine answer."""
        if self._is_hanging or self._transport is None:
            return
        self._arrived_ns = self._exchange.now_ns()
        self._inbox.extend(self._codec.receive_data(data))
        if len(self._inbox) > MAX_INBOX:
            self._transport.pause_reading()
        if not self._is_draining:
            self._drain()

    def _drain(self) -> None:
        """Handle some of what has arrived, and let other sessions have their turn before the rest."""
        self._is_draining = False
        for _ in range(min(len(self._inbox), EVENTS_PER_TURN)):
            if self._transport is None:
                return
            self._take(self._inbox.popleft())
        if self._inbox:
            self._is_draining = True
            self._arrived_ns = 0  # by their turn it is a time past, and the exchange's time does not go back
            asyncio.get_running_loop().call_soon(self._drain)
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _take(self, event: Any) -> None:
        exchange = self._exchange
        if isinstance(event, Hello):
            self._open(event)
        elif isinstance(event, ProtocolError):
            exchange.log.warning("session.unusable", session=self._session, reason=event.reason)
            self.close(abrupt=False)
        elif self._is_open:
            REQUESTS_RECEIVED.inc()
            if isinstance(event, BadRequest) and self._codec.state is not SessionState.READY:
                self.close(abrupt=False)
                return
            exchange.receive(self._session, event, self._arrived_ns)

    def _open(self, hello: Hello) -> None:
        assert self._transport is not None
        self._is_open = True
        # The reply leaves at once and alone: the official client drops whatever else is in that read.
        self._transport.write(self._codec.data_to_send())
        peer = str(self._transport.get_extra_info("peername"))
        exchange = self._exchange
        exchange.apply(exchange.engine.open_session(self._session, hello.version, exchange.now_ns(), peer))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Take note of the end."""
        self._transport = None
        self._exchange.ended(self._session)

    def fall_silent(self) -> None:
        """Leave the connection open, never answer it again, and read on into nothing."""
        self._is_hanging = True
        self._inbox.clear()

    def queue(self, responses: list[Any]) -> None:
        """Encode responses into the output."""
        if self._codec.state is not SessionState.READY:
            return
        self._out += quick_frames(responses, self._encode)
        MESSAGES_SENT.inc(len(responses))

    def _encode(self, response: Any) -> bytes:
        if isinstance(response, OpenOrder):
            if self._order_frames is None:
                self._order_frames = OrderFrames(self._codec.version)
            return self._order_frames.frame(response)
        self._codec.send(response)
        return self._codec.data_to_send()

    def flush(self) -> bool:
        """Write the output; False if too much waits for this client already."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return True
        data, self._out = self._out, bytearray()
        transport.write(data)
        return transport.get_write_buffer_size() <= MAX_UNSENT

    def close(self, *, abrupt: bool) -> None:
        """End the connection: FIN after what is queued, or RST at once."""
        transport = self._transport
        if transport is None:
            return
        if abrupt:
            connection = transport.get_extra_info("socket")
            if connection is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
