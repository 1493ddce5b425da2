"""One connection to a Redis (or Valkey) server: bytes out in the order of the calls, replies back in the same order.

An `asyncio.Protocol` around hiredis' parser, without streams, locks or a timer per call: what a call costs here is paid
for every tick, intent and order. Calls of several tasks share a connection; each gets the replies to its own commands.

Invariants:
1. Replies belong to calls by order alone, so a connection that missed one (late, cut, unreadable) is closed at once.
2. Every call ends: with its replies, or with `ConnectionLost` by its deadline.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import hiredis

Argument = str | bytes | int

DEADLINE_CHECK_S = 0.5
"""How often the oldest call's deadline is looked at; a deadline is kept to within this."""


class ConnectionLost(Exception):
    """The connection ended, or a reply did not come in time; the sentence says which."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where one server listens and as whom to greet it.

    Args:
        host: name or address; empty with `path`.
        port: TCP port.
        path: a Unix socket instead of host and port.
        username: ACL user, empty for the default user.
        password: empty for none.
        database: number to SELECT.
        tls: whether to speak TLS.
    """

    host: str = "127.0.0.1"
    port: int = 6379
    path: str = ""
    username: str = ""
    password: str = ""
    database: int = 0
    tls: bool = False

    def __str__(self) -> str:
        """Return the address without the secrets."""
        return self.path or f"{self.host}:{self.port}"

    def greeting(self, client_name: str) -> list[tuple[Argument, ...]]:
        """Return the commands that a fresh connection sends first."""
        commands: list[tuple[Argument, ...]] = []
        if self.password:
            commands.append(("AUTH", self.username, self.password) if self.username else ("AUTH", self.password))
        if client_name:
            commands.append(("CLIENT", "SETNAME", client_name))
        if self.database:
            commands.append(("SELECT", self.database))
        return commands


@dataclass(slots=True)
class _Call:
    """What a caller waits for: that many replies, by a time on the loop's clock."""

    future: asyncio.Future[list[Any]]
    expected: int
    deadline: float
    replies: list[Any]


class RedisConnection(asyncio.Protocol):
    """A connection; make it with `open_connection`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._calls: deque[_Call] = deque()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = "the connection is closed"

    @property
    def is_open(self) -> bool:
        """Return whether calls can be sent."""
        return self._transport is not None

    @property
    def waiting(self) -> int:
        """Return how many calls wait for replies."""
        return len(self._calls)

    async def call(
        self, commands: Sequence[Sequence[Argument]], limit_s: float, *, expected: int | None = None
    ) -> list[Any]:
        """Send commands in one write and return their replies in order; an error reply is a `hiredis.ReplyError` in it.

        `expected` says how many replies come when some commands get none (CLIENT REPLY SKIP).
        Cancelling the caller leaves the connection usable: its replies are dropped when they come.

        Raises:
            ConnectionLost: before or after the write; whether the server acted is not known.
        """
        transport = self._transport
        if transport is None:
            raise ConnectionLost(self._ended)
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self._calls.append(_Call(future, expected or len(commands), self._loop.time() + limit_s, []))
        if self._timer is None:
            self._timer = self._loop.call_later(min(limit_s, DEADLINE_CHECK_S), self._check_deadline)
        pack: Any = hiredis.pack_command
        if len(commands) == 1:
            transport.write(pack(tuple(commands[0])))
        else:
            transport.write(b"".join([pack(tuple(command)) for command in commands]))
        return await future

    def close(self, reason: str = "the connection is closed") -> None:
        """Close at once; calls that wait end with `ConnectionLost`."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self._end(reason)

    def _end(self, reason: str) -> None:
        self._ended = reason
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        calls, self._calls = self._calls, deque()
        for each in calls:
            if not each.future.done():
                each.future.set_exception(ConnectionLost(reason))

    def _check_deadline(self) -> None:
        self._timer = None
        if not self._calls:
            return
        left_s = self._calls[0].deadline - self._loop.time()
        if left_s <= 0:
            self.close("timed out")
            return
        self._timer = self._loop.call_later(min(left_s, DEADLINE_CHECK_S), self._check_deadline)

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by shape, not by class

    def data_received(self, data: bytes) -> None:
        """Hand replies to their calls."""
        reader, calls = self._reader, self._calls
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                if not calls:
                    is_refusal = isinstance(reply, hiredis.ReplyError)  # it has no room: said before anything is asked
                    self.close(f"the server said {reply}" if is_refusal else "it sent a reply that nobody asked for")
                    return
                call = calls[0]
                call.replies.append(reply)
                if len(call.replies) == call.expected:
                    calls.popleft()
                    if not call.future.done():
                        call.future.set_result(call.replies)
        except hiredis.ProtocolError as e:
            self.close(f"the server's bytes are not Redis' protocol: {e}")

    def connection_lost(self, exc: Exception | None) -> None:
        """End what waits."""
        if self._transport is not None:  # else we closed it, and said why
            self._transport = None
            said = [reply for call in self._calls for reply in call.replies if isinstance(reply, hiredis.ReplyError)]
            why = said[-1] if said else exc
            self._end(f"the server closed the connection{f': {why}' if why else ''}")


async def open_connection(server: Server, client_name: str, limit_s: float) -> RedisConnection:
    """Connect and greet; at most `limit_s`.

    Raises:
        OSError: it cannot be reached (a `TimeoutError` is one).
        ConnectionLost: it closed the connection during the greeting, as one does that has no room for more clients.
        hiredis.ReplyError: it refuses the user, the password or the database.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(limit_s):
        if server.path:
            _, connection = await loop.create_unix_connection(RedisConnection, server.path)
        else:
            tls = True if server.tls else None
            _, connection = await loop.create_connection(RedisConnection, server.host, server.port, ssl=tls)
    # A server without room for more clients says one plain error (ERR) and hangs up. That is no answer to a greeting,
    # but would be taken for one of a single command: PING at the end shows that the connection stays.
    greeting = [*server.greeting(client_name), ("PING",)]
    try:
        *replies, pong = await connection.call(greeting, limit_s)
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise reply
        if isinstance(pong, hiredis.ReplyError) and str(pong).startswith("ERR "):  # else who may not ping is in, too
            raise ConnectionLost(f"the server said {pong}")
    except BaseException:
        connection.close()
        raise
    return connection
