"""Talk to Redis (or Valkey) over our own connections, and turn its errors into ours.

Three outcomes, everywhere: done; `BusUnavailable`, nothing was written; `OutcomeUnknown`, a write was sent and its
reply did not come. Nothing is repeated here: a repeated append is a second entry. The redis library serves the lease's
own thread (`BlockingLink`), where one call waits for another anyway.

Known limit: order flow lives on one server, or on the master that Sentinels name; ticks may live elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from shared.bus.addresses import Kind, parse_address
from shared.bus.redis_connection import Argument, ConnectionLost, RedisConnection
from shared.bus.redis_servers import check, connect, redis_sync
from shared.bus.scripts import Script, script
from shared.errors import BusUnavailable, ConfigError, CqError, Fenced, GroupMissing, OutcomeUnknown, Refused

REPLY_LIMIT_S = 5.0
MAX_BLOCKED = 16
"""Reads of one link that may block at the server at the same time, each on a connection of its own."""
_SKIP = ("CLIENT", "REPLY", "SKIP")
_NO_MASTER = frozenset({"READONLY", "NOREPLICAS", "MASTERDOWN"})


class RedisLink:
    """The connections to one server: one that all calls share, and one per read that blocks.

    Args:
        url: see `shared.bus.addresses`.
        client_name: shown by `CLIENT LIST`.
    """

    def __init__(self, url: str, client_name: str) -> None:
        self._given = parse_address(url)
        self.address = self._given.text
        try:
            check(self._given)
        except ValueError as e:
            raise ConfigError(f"REDIS_URL is not a Redis address ({e}): write redis://user:password@host:port/0") from e
        self._client_name = client_name
        self._shared: RedisConnection | None = None
        self._opening = asyncio.Lock()
        self._idle: list[RedisConnection] = []
        self._slots = asyncio.Semaphore(MAX_BLOCKED)
        self._blocked: set[RedisConnection] = set()

    async def call(
        self,
        *command: Argument,
        limit_s: float = REPLY_LIMIT_S,
        writes: bool = True,
        ignore: str = "",
        blocks: bool = False,
    ) -> Any:
        """Send one command and return its reply (bytes, ints, lists); None for the error whose first word is
        `ignore`. A command that `blocks` at the server gets a connection of its own.
        """
        replies = await (self._block if blocks else self._send)([command], limit_s, writes)
        reply = replies[0]
        if isinstance(reply, hiredis.ReplyError):
            if ignore and _word(reply) == ignore:
                return None
            raise _ours(reply, self.address)
        return reply

    async def pipeline(
        self,
        commands: Sequence[Sequence[Argument]],
        *,
        limit_s: float = REPLY_LIMIT_S,
        writes: bool = True,
        blocks: bool = False,
    ) -> list[Any]:
        """Send commands in one write and return their replies in order; see `call` for `blocks`.

        Raises:
            BusUnavailable: the server is away, or (with `writes` False) did not answer.
            OutcomeUnknown: the commands were sent and a reply did not come.
            Fenced: a script said so.
        """
        replies = await (self._block if blocks else self._send)(commands, limit_s, writes)
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise _ours(reply, self.address)
        return replies

    async def _send(
        self,
        commands: Sequence[Sequence[Argument]],
        limit_s: float,
        writes: bool,  # noqa: FBT001
        *,
        expected: int | None = None,
    ) -> list[Any]:
        connection = self._shared
        if connection is None or not connection.is_open:
            async with self._opening:
                connection = self._shared
                if connection is None or not connection.is_open:
                    connection = self._shared = await self._open()
        return await self._replies(connection, commands, limit_s, writes, expected=expected)

    async def _block(self, commands: Sequence[Sequence[Argument]], limit_s: float, writes: bool) -> list[Any]:  # noqa: FBT001
        async with self._slots:
            connection = self._idle.pop() if self._idle else None
            if connection is None or not connection.is_open:
                connection = await self._open()
            self._blocked.add(connection)
            try:
                return await self._replies(connection, commands, limit_s, writes)
            finally:
                self._blocked.discard(connection)
                if connection.waiting:
                    connection.close()  # the caller was cancelled: its reply would come to the next one
                elif connection.is_open:
                    self._idle.append(connection)

    async def _replies(
        self,
        connection: RedisConnection,
        commands: Sequence[Sequence[Argument]],
        limit_s: float,
        writes: bool,  # noqa: FBT001
        *,
        expected: int | None = None,
    ) -> list[Any]:
        if not connection.is_open:
            raise BusUnavailable(f"Redis at {self.address} closed the connection")
        try:
            replies = await connection.call(commands, limit_s, expected=expected)
        except ConnectionLost as e:
            if writes:
                raise OutcomeUnknown(f"Redis at {self.address} did not answer a write: {e}") from e
            raise BusUnavailable(f"Redis at {self.address} does not answer: {e}") from e
        if self._given.kind is Kind.SENTINEL and any(
            isinstance(reply, hiredis.ReplyError) and _word(reply) in _NO_MASTER for reply in replies
        ):
            connection.close("its server is not the master")  # the next one asks the Sentinels anew
        return replies

    async def _open(self) -> RedisConnection:
        try:
            return await connect(self._given, self._client_name)
        except hiredis.ReplyError as e:
            raise _ours(e, self.address) from e
        except (ConnectionLost, OSError) as e:
            raise BusUnavailable(f"Redis at {self.address} cannot be reached: {str(e) or 'timed out'}") from e

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

    async def run_silently(
        self, name: str, keys: Sequence[str], args: Sequence[Argument], then: Sequence[Argument]
    ) -> Any:
        """Run a script without its answer and return what the command `then` finds afterwards.

        For who is in a hurry: Redis serves the readers that a script's entries wake before the script's own caller,
        which thus waits for all of them; the reply to a command behind it is written first. What the script said, an
        error too, is not known: `then` has to show whether it did its work.
        """
        sha = script(name).sha
        commands = (_SKIP, ("EVALSHA", sha, len(keys), *keys, *args), then)
        reply = (await self._send(commands, REPLY_LIMIT_S, True, expected=1))[0]
        if isinstance(reply, hiredis.ReplyError):
            raise _ours(reply, self.address)
        return reply

    async def close(self) -> None:
        """Close every connection."""
        for connection in [self._shared, *self._idle, *self._blocked]:
            if connection is not None:
                connection.close()
        self._shared = None
        self._idle.clear()


class _Unloaded(BusUnavailable):
    """The server does not know the script (it was restarted)."""


def _word(error: BaseException | None) -> str:
    """Return the first word of an error reply; redis-py takes it off the text where it has a class for it."""
    return getattr(error, "status_code", None) or str(error).split(" ", 1)[0]


_AWAY = frozenset(
    {"LOADING", "BUSY", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN", "CLUSTERDOWN", "MISCONF", "OOM", "READONLY"}
)
_REFUSED = frozenset({"WRONGPASS", "NOAUTH"})


def _ours(error: Exception, address: str) -> CqError:
    """Return an error reply as one of ours, by its first word."""
    text, word = str(error), _word(error)
    made: CqError
    if word == "NOSCRIPT" or isinstance(error, NoScriptError):
        made = _Unloaded(text)
    elif word == "FENCED":
        made = Fenced(text.removeprefix("FENCED ").split(" script:")[0])
    elif word == "NOGROUP":
        made = GroupMissing(text)
    elif word == "STALE":
        made = Refused("RISK_INCARNATION", text.removeprefix("STALE ").split(" script:")[0])
    elif word == "NOPERM":
        made = Refused("BUS_NO_PERMISSION", f"this Redis user may not do that: {text}")
    elif word in _AWAY:
        made = BusUnavailable(f"Redis at {address} cannot take writes now: {text}")
    elif word in _REFUSED:
        made = ConfigError(f"REDIS_URL: Redis at {address} refuses this user or password: {text}")
    else:
        made = Refused("BUS_ERROR", f"Redis at {address} answered: {text}")
    made.__cause__ = error
    return made


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
