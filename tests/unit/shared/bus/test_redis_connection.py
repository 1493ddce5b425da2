"""One connection, several callers: who gets which reply, and what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import hiredis
import pytest

from shared.bus.redis_connection import ConnectionLost, RedisConnection, Server, open_connection


class Listener:
    """Collects what arrives; the test decides what is sent back, and when."""

    def __init__(self) -> None:
        self.received = b""
        self.arrived = asyncio.Event()
        self.writer: asyncio.StreamWriter | None = None
        self.greeting_reply = b"+PONG\r\n"
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        while data := await reader.read(65536):
            self.received += data
            self.arrived.set()
            if self.greeting_reply:
                writer.write(self.greeting_reply)
                self.greeting_reply = b""

    def send(self, data: bytes) -> None:
        assert self.writer is not None
        self.writer.write(data)

    async def saw(self, text: bytes) -> None:
        async with asyncio.timeout(5):
            while text not in self.received:
                self.arrived.clear()
                await self.arrived.wait()


@pytest.fixture
async def server() -> AsyncIterator[Listener]:
    made = Listener()
    listening = await asyncio.start_server(made.handle, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()
    if made.writer is not None:
        made.writer.close()


@pytest.fixture
async def connection(server: Listener) -> AsyncIterator[RedisConnection]:
    made = await open_connection(Server(port=server.port), "", 5.0)
    yield made
    made.close()


async def test_callers_share_it_and_each_gets_its_own_replies(server: Listener, connection: RedisConnection) -> None:
    first = asyncio.ensure_future(connection.call([("A",), ("B",)], 5.0))
    second = asyncio.ensure_future(connection.call([("C",)], 5.0))
    await server.saw(b"C\r\n")
    server.send(b"+a\r\n$1\r\nb")
    server.send(b"\r\n:3\r\n")
    assert await first == [b"a", b"b"]
    assert await second == [3]
    assert connection.waiting == 0


async def test_an_error_reply_is_a_value_beside_the_others(server: Listener, connection: RedisConnection) -> None:
    call = asyncio.ensure_future(connection.call([("A",), ("B",)], 5.0))
    await server.saw(b"B\r\n")
    server.send(b"-ERR no\r\n+b\r\n")
    error, good = await call
    assert isinstance(error, hiredis.ReplyError)
    assert good == b"b"


async def test_a_cancelled_caller_leaves_its_reply_to_nobody(server: Listener, connection: RedisConnection) -> None:
    gone = asyncio.ensure_future(connection.call([("A",)], 5.0))
    await server.saw(b"A\r\n")
    gone.cancel()
    kept = asyncio.ensure_future(connection.call([("B",)], 5.0))
    await server.saw(b"B\r\n")
    server.send(b"+for a\r\n+for b\r\n")
    assert await kept == [b"for b"]


async def test_a_late_reply_ends_the_connection_and_every_call_on_it(
    server: Listener, connection: RedisConnection
) -> None:
    patient = asyncio.ensure_future(connection.call([("B",)], 0.05))
    other = asyncio.ensure_future(connection.call([("C",)], 60.0))
    with pytest.raises(ConnectionLost, match="timed out"):
        await patient
    with pytest.raises(ConnectionLost):
        await other
    assert not connection.is_open
    with pytest.raises(ConnectionLost):
        await connection.call([("D",)], 1.0)


async def test_bytes_that_are_no_reply_end_it(server: Listener, connection: RedisConnection) -> None:
    call = asyncio.ensure_future(connection.call([("A",)], 5.0))
    await server.saw(b"A\r\n")
    server.send(b"?what\r\n")
    with pytest.raises(ConnectionLost, match="protocol"):
        await call
    assert not connection.is_open


async def test_a_reply_that_nobody_asked_for_ends_it(server: Listener, connection: RedisConnection) -> None:
    call = asyncio.ensure_future(connection.call([("A",)], 5.0))
    await server.saw(b"A\r\n")
    server.send(b"+a\r\n+more\r\n")
    assert await call == [b"a"]
    with pytest.raises(ConnectionLost, match="nobody asked for"):
        await connection.call([("B",)], 5.0)
    assert not connection.is_open


async def test_a_server_that_closes_ends_what_waits(server: Listener, connection: RedisConnection) -> None:
    call = asyncio.ensure_future(connection.call([("A",)], 5.0))
    await server.saw(b"A\r\n")
    assert server.writer is not None
    server.writer.close()
    with pytest.raises(ConnectionLost, match="closed the connection"):
        await call


async def test_the_greeting_names_user_client_and_database(server: Listener) -> None:
    server.greeting_reply = b"+OK\r\n+OK\r\n+OK\r\n+PONG\r\n"
    address = Server(port=server.port, username="risk", password="p", database=3)
    made = await open_connection(address, "cq", 5.0)
    pack: Any = hiredis.pack_command
    assert pack(("AUTH", "risk", "p")) in server.received
    assert pack(("CLIENT", "SETNAME", "cq")) in server.received
    assert pack(("SELECT", 3)) in server.received
    assert "p" not in str(address).split(":")[0]
    made.close()


async def test_a_refused_password_is_raised_and_the_socket_closed(server: Listener) -> None:
    server.greeting_reply = b"-WRONGPASS no\r\n-NOAUTH first\r\n"
    with pytest.raises(hiredis.ReplyError, match="WRONGPASS"):
        await open_connection(Server(port=server.port, password="p"), "", 5.0)


@pytest.mark.parametrize("client_name", ["", "cq"])
@pytest.mark.parametrize("is_asked_first", [True, False])
async def test_a_server_without_room_is_one_that_is_away_and_says_why(
    client_name: str, *, is_asked_first: bool
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if is_asked_first:
            await reader.read(10)
        writer.write(b"-ERR max number of clients reached\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listening:
        address = Server(port=listening.sockets[0].getsockname()[1])
        with pytest.raises(ConnectionLost, match=r"max number of clients|reset"):
            await open_connection(address, client_name, 5.0)


async def test_a_user_who_may_not_ping_is_greeted_all_the_same(server: Listener) -> None:
    server.greeting_reply = b"+OK\r\n-NOPERM no\r\n"
    made = await open_connection(Server(port=server.port), "cq", 5.0)
    assert made.is_open
    made.close()
