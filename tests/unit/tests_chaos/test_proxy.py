from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.chaos.proxy import Proxy, renamed
from tests.support import free_port


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    server = await asyncio.start_server(_echo, "127.0.0.1", free_port())
    made = Proxy(free_port(), server.sockets[0].getsockname()[1])
    await made.start()
    yield made
    await made.stop()
    server.close()


async def _connect(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def test_bytes_pass_both_ways_while_nothing_is_wrong(proxy: Proxy) -> None:
    reader, writer = await _connect(proxy)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.close()


async def test_held_bytes_arrive_late(proxy: Proxy) -> None:
    reader, writer = await _connect(proxy)
    writer.write(b"1")
    assert await reader.readexactly(1) == b"1"
    cut = asyncio.create_task(proxy.cut("hold", 0.15))
    await asyncio.sleep(0)
    writer.write(b"2")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await reader.readexactly(1)
    assert await reader.readexactly(1) == b"2"
    await cut
    writer.close()


@pytest.mark.parametrize("act", ["lose", "drop"])
async def test_lost_bytes_never_arrive_and_the_connection_is_reset(proxy: Proxy, act: str) -> None:
    reader, writer = await _connect(proxy)
    writer.write(b"1")
    assert await reader.readexactly(1) == b"1"
    cut = asyncio.create_task(proxy.cut(act, 0.05))
    await asyncio.sleep(0)
    writer.write(b"2")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    await cut
    reader, writer = await _connect(proxy)
    writer.write(b"3")
    assert await reader.readexactly(1) == b"3", "a cut ends"
    writer.close()


async def test_a_port_in_a_reply_is_renamed() -> None:
    rewrite = renamed({18001: 18002})
    assert rewrite(b"*2\r\n$9\r\n127.0.0.1\r\n$5\r\n18001\r\n") == b"*2\r\n$9\r\n127.0.0.1\r\n$5\r\n18002\r\n"
    with pytest.raises(ValueError):
        renamed({6379: 18002})
