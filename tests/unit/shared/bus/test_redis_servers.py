"""Which server a connection ends at: the single one, or the master that Sentinels name and that says so itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from shared.bus.addresses import parse_address
from shared.bus.redis_connection import ConnectionLost
from shared.bus.redis_servers import check, connect
from tests.support import free_port


class Scripted:
    """Servers that answer by the command's last word."""

    def __init__(self) -> None:
        self.listening: list[asyncio.Server] = []

    async def open(self, answer: Callable[[bytes], bytes]) -> int:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65536):
                for command in data.split(b"*")[1:]:
                    writer.write(answer(command))
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        self.listening.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port


@pytest.fixture
async def servers() -> AsyncIterator[Scripted]:
    made = Scripted()
    yield made
    for server in made.listening:
        server.close()


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text)


def data_server(role: bytes) -> Callable[[bytes], bytes]:
    return lambda command: bulk(b"role:" + role + b"\r\n") if b"INFO" in command else b"+OK\r\n"


def naming(port: int) -> Callable[[bytes], bytes]:
    return lambda _: b"*2\r\n" + bulk(b"127.0.0.1") + bulk(str(port).encode())


async def test_the_master_that_a_sentinel_names_is_connected_to(servers: Scripted) -> None:
    master = await servers.open(data_server(b"master"))
    sentinel = await servers.open(naming(master))
    connection = await connect(
        parse_address(f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel}/orders"), "t"
    )
    assert await connection.call([("GET", "a")], 1.0) == [b"OK"]
    connection.close()


async def test_a_named_server_that_is_no_master_is_left(servers: Scripted) -> None:
    sentinel = await servers.open(naming(await servers.open(data_server(b"slave"))))
    with pytest.raises(ConnectionLost, match="which is no master"):
        await connect(parse_address(f"redis+sentinel://127.0.0.1:{sentinel}/orders"), "t")


async def test_every_sentinel_that_could_not_help_is_named(servers: Scripted) -> None:
    ignorant = await servers.open(lambda _: b"*-1\r\n")
    away = free_port()
    with pytest.raises(ConnectionLost, match=rf"127.0.0.1:{away}.*127.0.0.1:{ignorant}: no master 'orders'"):
        await connect(parse_address(f"redis+sentinel://127.0.0.1:{away},127.0.0.1:{ignorant}/orders"), "t")


@pytest.mark.parametrize("url", ["redis+cluster://127.0.0.1:1", "redis://127.0.0.1:6379/0?socket_timeout=soon"])
def test_what_nothing_could_connect_to_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"Cluster|socket_timeout"):
        check(parse_address(url))
