"""fakeredis in the place of a server: the same suite runs on it where it agrees with Redis.

The bus is the real one, in this process; only its connections are fake. It has no INFO, from which the
scripts learn the incarnation, so this file gives it one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import hiredis
import redis
from fakeredis import FakeAsyncRedisConnection, FakeConnection, FakeServer
from fakeredis._commands import command
from fakeredis._socket import AsyncFakeSocket, FakeSocket

from shared.bus.addresses import RedisAddress
from shared.bus.redis_connection import Argument, ConnectionLost
from shared.bus.scripts import Script, script


class FakeRedis:
    """One fake server; `life` counts its restarts, which keep the data."""

    def __init__(self) -> None:
        self.server = FakeServer(version=(7, 4))
        self.url = "redis://fake:6379/0"
        self.life = 1
        self.server.cq = self  # type: ignore[attr-defined]

    def info(self) -> bytes:
        """What INFO says."""
        rows = {
            "redis_version": "7.4.0",
            "run_id": f"{self.life:040x}",
            "role": "master",
            "master_replid": f"{self.life + 1000:040x}",
            "maxmemory_policy": "noeviction",
            "aof_enabled": "1",
        }
        return "".join(f"{name}:{value}\r\n" for name, value in rows.items()).encode()

    def kill(self) -> None:
        """Be away."""
        self.server.connected = False

    def restart(self) -> None:
        """Come back with the same data, as another incarnation."""
        self.server.connected = True
        self.life += 1

    def flush(self) -> None:
        """Empty it."""
        self.server.dbs.clear()


def _without_shebang(name: str, *, allow_oom: bool = False) -> Script:
    """Return a script as fakeredis takes it: it has no `#!lua flags=…`, nor a limit of memory to allow exceeding."""
    text = script(name, allow_oom=allow_oom).text.partition("\n")[2]
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


@command((), (bytes,), name="info")
def _info(self: Any, *_: bytes) -> bytes:
    owner: FakeRedis = self._server.cq
    return owner.info()


class _Connection:
    """A connection as `shared.bus.redis_connection` has them, to the fake server."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()
        self.is_open = True
        self.waiting = 0

    async def call(
        self, commands: Sequence[Sequence[Argument]], limit_s: float, *, expected: int | None = None
    ) -> list[Any]:
        self.waiting += 1
        try:
            async with asyncio.timeout(limit_s), self._turn:
                silent = len(commands) - (expected or len(commands))  # CLIENT REPLY SKIP and what it silences, first
                for command in commands[:silent]:
                    await self._connection.send_command(*command)
                replies = [await self._one(command) for command in commands[silent:]]
        except (redis.ConnectionError, redis.TimeoutError, TimeoutError, OSError) as e:
            self.close()
            raise ConnectionLost(str(e) or "timed out") from e
        self.waiting -= 1
        return replies

    async def _one(self, command: Sequence[Argument]) -> Any:
        await self._connection.send_command(*command)
        try:
            return await self._connection.read_response()
        except redis.ResponseError as e:
            word = getattr(e, "status_code", None)
            return hiredis.ReplyError(f"{word} {e}" if word and not str(e).startswith(word) else str(e))

    def close(self, reason: str = "") -> None:
        self.is_open = False


@contextmanager
def fake_redis() -> Iterator[FakeRedis]:
    """Let every bus that is opened meanwhile talk to one fake server."""
    fake = FakeRedis()

    async def connect(address: RedisAddress, client_name: str) -> _Connection:
        connection = FakeAsyncRedisConnection(
            server=fake.server, version=(7, 4), server_type="redis", protocol=2, client_name=client_name
        )
        try:
            await connection.connect()
        except redis.ConnectionError as e:
            raise ConnectionLost(str(e)) from e
        return _Connection(connection)

    def blocking(address: RedisAddress, client_name: str, limit_s: float) -> Any:
        connections = redis.ConnectionPool(
            connection_class=FakeConnection, server=fake.server, version=(7, 4), server_type="redis", protocol=2
        )
        return redis.Redis(connection_pool=connections)

    with (
        mock.patch("shared.bus.redis_link.connect", connect),
        mock.patch("shared.bus.redis_link.redis_sync", blocking),
        mock.patch("shared.bus.redis_link.script", _without_shebang),
        mock.patch.object(FakeSocket, "_info", _info, create=True),
        mock.patch.object(AsyncFakeSocket, "_info", _info, create=True),
    ):
        yield fake
