"""Replies, lost replies and refusals of a server made of a few lines, so that each happens on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from shared.bus.redis_link import BlockingLink, RedisLink
from shared.errors import BusUnavailable, ConfigError, CqError, Fenced, GroupMissing, OutcomeUnknown, Refused

SETUP = (b"HELLO", b"CLIENT", b"SELECT", b"AUTH", b"PING")


class FakeServer:
    """Speaks just enough RESP: answers every command with `reply`, or hangs up when it is None."""

    def __init__(self) -> None:
        self.reply: bytes | None = b"+OK\r\n"
        self.commands: list[list[bytes]] = []
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                words = []
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                if words[0] in SETUP:
                    writer.write(b"+OK\r\n")
                    continue
                self.commands.append(words)
                if self.reply is None:
                    break
                writer.write(self.reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    fake = FakeServer()
    listening = await asyncio.start_server(fake.handle, "127.0.0.1", 0)
    fake.port = listening.sockets[0].getsockname()[1]
    yield fake
    listening.close()


@pytest.fixture
async def link(server: FakeServer) -> AsyncIterator[RedisLink]:
    opened = RedisLink(f"redis://127.0.0.1:{server.port}/0", "test")
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    "reply, expected",
    [
        (b"-FENCED the fence stands at 7\r\n", Fenced),
        (b"-STALE made elsewhere\r\n", Refused),
        (b"-NOGROUP no such group\r\n", GroupMissing),
        (b"-LOADING Redis is loading the dataset in memory\r\n", BusUnavailable),
        (b"-READONLY You can't write against a read only replica.\r\n", BusUnavailable),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", BusUnavailable),
        (b"-MISCONF Errors writing to the AOF file\r\n", BusUnavailable),
        (b"-NOREPLICAS Not enough good replicas to write.\r\n", BusUnavailable),
        (b"-BUSY Redis is busy running a script.\r\n", BusUnavailable),
        (b"-MASTERDOWN Link with MASTER is down\r\n", BusUnavailable),
        (b"-CLUSTERDOWN Hash slot not served\r\n", BusUnavailable),
        (b"-NOPERM this user has no permissions\r\n", Refused),
        (b"-WRONGTYPE Operation against a key\r\n", Refused),
        (b"-NOAUTH Authentication required.\r\n", ConfigError),
    ],
)
async def test_an_error_reply_becomes_ours_and_is_no_unknown_outcome(
    server: FakeServer, link: RedisLink, reply: bytes, expected: type[CqError]
) -> None:
    server.reply = reply
    with pytest.raises(expected):
        await link.call("SET", "a", "1")
    server.reply = b"+OK\r\n"
    assert await link.call("SET", "a", "1") == b"OK"
    assert len(server.commands) == 2


async def test_a_lost_reply_of_a_write_is_unknown_and_nothing_is_repeated(server: FakeServer, link: RedisLink) -> None:
    server.reply = None
    with pytest.raises(OutcomeUnknown, match="did not answer a write"):
        await link.call("XADD", "s", "*", "a", "1")
    assert len(server.commands) == 1
    with pytest.raises(BusUnavailable):
        await link.call("GET", "a", writes=False)
    assert len(server.commands) == 2


async def test_a_server_with_no_room_for_a_client_is_away_and_nothing_was_written() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"-ERR max number of clients reached\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listening:
        link = RedisLink(f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}/0", "test")
        with pytest.raises(BusUnavailable, match="cannot be reached"):
            await link.call("XADD", "s", "*", "a", "1")
        await link.close()


async def test_a_reply_that_does_not_come_in_time_is_unknown_and_its_connection_is_not_used_again(
    server: FakeServer, link: RedisLink
) -> None:
    server.reply = b""
    with pytest.raises(OutcomeUnknown, match="timed out"):
        await link.call("INCR", "a", limit_s=0.05)
    server.reply = b":7\r\n"
    assert await link.call("INCR", "a") == 7


async def test_one_bad_reply_in_a_pipeline_is_raised_after_all_were_read(server: FakeServer, link: RedisLink) -> None:
    server.reply = b"-ERR no\r\n"
    with pytest.raises(Refused):
        await link.pipeline([("SET", "a", "1"), ("SET", "b", "1")])
    server.reply = b"+OK\r\n"
    assert await link.pipeline([("SET", "a", "1"), ("SET", "b", "1")]) == [b"OK", b"OK"]


async def test_an_ignored_error_is_none(server: FakeServer, link: RedisLink) -> None:
    server.reply = b"-BUSYGROUP Consumer Group name already exists\r\n"
    assert await link.call("XGROUP", "CREATE", ignore="BUSYGROUP") is None
    with pytest.raises(Refused):
        await link.call("XGROUP", "CREATE")


async def test_a_script_the_server_does_not_know_is_sent_once(server: FakeServer, link: RedisLink) -> None:
    server.reply = b"-NOSCRIPT No matching script.\r\n"
    with pytest.raises(BusUnavailable):
        await link.run("publish", ["k"], ["a"])
    assert [words[0] for words in server.commands] == [b"EVALSHA", b"EVAL"]


async def test_nobody_listening_is_away_for_writes_too() -> None:
    link = RedisLink("redis://127.0.0.1:1/0", "test")
    with pytest.raises(BusUnavailable, match="cannot be reached"):
        await link.call("SET", "a", "1")
    await link.close()


def test_an_address_that_is_none_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="REDIS_URL is not a Redis address"):
        RedisLink("http://localhost:6379", "test")


@pytest.mark.parametrize(
    "reply, expected",
    [(b"-FENCED x\r\n", Fenced), (b"-LOADING x\r\n", BusUnavailable), (b"", BusUnavailable), (None, BusUnavailable)],
)
async def test_a_renewal_is_confirmed_or_not(server: FakeServer, reply: bytes | None, expected: type[CqError]) -> None:
    server.reply = reply
    link = BlockingLink(f"redis://127.0.0.1:{server.port}/0", client_name="test", limit_s=0.2)
    run: Callable[[], Awaitable[object]] = lambda: asyncio.to_thread(link.run, "lease_renew", ["k"], ["a"])  # noqa: E731
    with pytest.raises(expected):
        await run()
    server.reply = b":3\r\n"
    assert await run() == 3
    link.close()
