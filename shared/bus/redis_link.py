"""Talk to Redis (or Valkey): alone imports the library, and turns its errors into ours.

Three outcomes, everywhere: done; `BusUnavailable`, nothing was written; `OutcomeUnknown`, a write was sent and its
reply did not come. The library never repeats anything by itself: a repeated append is a second entry.

Known limit: order flow lives on one server, or on the master that Sentinels name; ticks may live elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from shared.bus.addresses import parse_address
from shared.bus.redis_pools import CONNECT_LIMIT_S, POOL_SIZE, close_pool, open_pool, redis_sync
from shared.bus.scripts import Script, script
from shared.errors import BusUnavailable, ConfigError, Fenced, GroupMissing, OutcomeUnknown, Refused

REPLY_LIMIT_S = 5.0

Argument = str | bytes | int


class RedisLink:
    """A pool of connections to one server; every call borrows one and gives it back.

    Args:
        url: see `shared.bus.addresses`.
        client_name: shown by `CLIENT LIST`.
    """

    def __init__(self, url: str, client_name: str) -> None:
        found = parse_address(url)
        self.address = found.text
        try:
            self._pool: Any = open_pool(found, client_name)
        except ValueError as e:
            raise ConfigError(f"REDIS_URL is not a Redis address ({e}): write redis://user:password@host:port/0") from e
        self._slots = asyncio.Semaphore(POOL_SIZE)

    async def call(
        self, *command: Argument, limit_s: float = REPLY_LIMIT_S, writes: bool = True, ignore: str = ""
    ) -> Any:
        """Send one command and return its reply (bytes, ints, lists); None for the error whose first word is
        `ignore`.
        """
        try:
            replies = await self.pipeline([command], limit_s=limit_s, writes=writes)
        except Refused as e:
            if ignore and _word(e.__cause__) == ignore:
                return None
            raise
        return replies[0]

    async def pipeline(
        self, commands: Sequence[Sequence[Argument]], *, limit_s: float = REPLY_LIMIT_S, writes: bool = True
    ) -> list[Any]:
        """Send commands in one write and return their replies in order.

        Raises:
            BusUnavailable: the server is away, or (with `writes` False) did not answer.
            OutcomeUnknown: the commands were sent and a reply did not come.
            Fenced: a script said so.
        """
        async with self._slots:
            connection = await self._borrow()
            is_sent = False
            is_done = False
            try:
                packed = connection.pack_commands(commands)
                is_sent = True
                async with asyncio.timeout(limit_s):
                    await connection.send_packed_command(packed, check_health=False)
                    replies = [await self._reply(connection) for _ in commands]
                is_done = True
            except (RedisConnectionError, RedisTimeoutError, TimeoutError, OSError) as e:
                if is_sent and writes:
                    raise OutcomeUnknown(
                        f"Redis at {self.address} did not answer a write: {str(e) or 'timed out'}"
                    ) from e
                raise BusUnavailable(f"Redis at {self.address} does not answer: {str(e) or 'timed out'}") from e
            finally:
                if not is_done:
                    await connection.disconnect(nowait=True)
                await self._pool.release(connection)
        for reply in replies:
            if isinstance(reply, Exception):
                raise _ours(reply, self.address)
        return replies

    async def _borrow(self) -> Any:
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S + 1):
                return await self._pool.get_connection()
        except (AuthenticationError, NoPermissionError) as e:
            raise ConfigError(f"REDIS_URL: Redis at {self.address} refuses this user or password: {e}") from e
        except (RedisError, TimeoutError, OSError) as e:
            raise BusUnavailable(f"Redis at {self.address} cannot be reached: {str(e) or 'timed out'}") from e

    @staticmethod
    async def _reply(connection: Any) -> Any:
        try:
            return await connection.read_response()
        except ResponseError as e:
            return e
        except (AuthenticationError, BusyLoadingError) as e:
            return e  # connection errors by class, but answers: nothing was written

    async def run(
        self,
        name: str,
        keys: Sequence[str],
        args: Sequence[Argument],
        *,
        limit_s: float = REPLY_LIMIT_S,
        allow_oom: bool = False,
    ) -> Any:
        """Run a script of ours; loads it when the server does not know it yet."""
        chosen: Script = script(name, allow_oom=allow_oom)
        try:
            return await self.call("EVALSHA", chosen.sha, len(keys), *keys, *args, limit_s=limit_s)
        except _Unloaded:
            return await self.call("EVAL", chosen.text, len(keys), *keys, *args, limit_s=limit_s)

    async def close(self) -> None:
        """Close every connection."""
        await close_pool(self._pool)


class _Unloaded(BusUnavailable):
    """The server does not know the script (it was restarted)."""


def _word(error: BaseException | None) -> str:
    """Return the first word of an error reply; redis-py takes it off the text where it has a class for it."""
    return getattr(error, "status_code", None) or str(error).split(" ", 1)[0]


def _ours(error: Exception, address: str) -> Exception:
    text = str(error)
    word = _word(error)
    made: Exception
    if isinstance(error, NoScriptError):
        made = _Unloaded(text)
    elif word == "FENCED":
        made = Fenced(text.removeprefix("FENCED ").split(" script:")[0])
    elif word == "NOGROUP":
        made = GroupMissing(text)
    elif word == "STALE":
        made = Refused("RISK_INCARNATION", text.removeprefix("STALE ").split(" script:")[0])
    elif isinstance(error, NoPermissionError):
        made = Refused("BUS_NO_PERMISSION", f"this Redis user may not do that: {text}")
    elif isinstance(error, _AWAY_CLASSES) or word in _AWAY:
        made = BusUnavailable(f"Redis at {address} cannot take writes now: {text}")
    elif isinstance(error, AuthenticationError):
        made = ConfigError(f"REDIS_URL: Redis at {address} refuses this user or password: {text}")
    else:
        made = Refused("BUS_ERROR", f"Redis at {address} answered: {text}")
    made.__cause__ = error
    return made


_AWAY_CLASSES = (BusyLoadingError, ClusterDownError, OutOfMemoryError, ReadOnlyError, TryAgainError)
_AWAY = frozenset(
    {"LOADING", "BUSY", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN", "CLUSTERDOWN", "MISCONF", "OOM", "READONLY"}
)


class BlockingLink:
    """A synchronous connection for the lease's own thread.

    Its reply limit is short: a renewal that answers late is no renewal.
    """

    def __init__(self, url: str, *, client_name: str, limit_s: float) -> None:
        self._client = redis_sync(parse_address(url), client_name, limit_s)

    def run(self, name: str, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run a script of ours and return its reply.

        Raises:
            Fenced: the script said so.
            BusUnavailable: anything else; the caller does not know whether it happened.
        """
        chosen = script(name)
        try:
            try:
                return self._client.execute_command("EVALSHA", chosen.sha, len(keys), *keys, *args)
            except NoScriptError:
                return self._client.execute_command("EVAL", chosen.text, len(keys), *keys, *args)
        except ResponseError as e:
            raise _ours(e, "the lease's server") from e
        except (RedisError, OSError) as e:
            raise BusUnavailable(f"the lease cannot be renewed: {e}") from e

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
