"""Open connections to the server that an address means: the single one, or the master that the Sentinels know now.

With Sentinels each new connection asks them first and then the server itself whether it is the master, since they may
speak of one that is no longer. A connection whose server says it cannot take writes (demoted, or cut off from its
replicas) is not used again: the next one asks anew. What a failover means for leases is the incarnation's business.
"""

from __future__ import annotations

from typing import Any

import redis.asyncio as aioredis
from redis.asyncio import sentinel as async_sentinel
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from shared.bus.addresses import Kind, RedisAddress

CONNECT_LIMIT_S = 2.0
POOL_SIZE = 16
SENTINEL_LIMIT_S = 0.5
"""One Sentinel that does not answer must not cost the time in which the next would."""
_NO_MASTER = frozenset({"READONLY", "NOREPLICAS", "MASTERDOWN"})


_sentinel: Any = async_sentinel  # its classes carry no types


class _MasterConnection(async_sentinel.SentinelManagedConnection):
    """A connection to a server that says itself that it is the master."""

    async def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - the library's
        await super().on_connect_check_health(check_health=check_health)
        await self.send_command("INFO", "replication", check_health=False)
        info = await self.read_response()
        if b"role:master" not in info:
            raise RedisConnectionError(f"the Sentinels name {self.host}:{self.port}, which is no master (any more)")

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await Connection.read_response(self, *args, **options)
        except ResponseError as e:
            if (getattr(e, "status_code", None) or str(e).split(" ", 1)[0]) in _NO_MASTER:
                _mark(self)
            raise


def _mark(connection: Any) -> None:
    connection.mark_for_reconnect()


class _MasterTlsConnection(_MasterConnection, SSLConnection):
    """The same with TLS."""


def open_pool(address: RedisAddress, client_name: str) -> Any:
    """Return a pool of connections; nothing is connected yet.

    Raises:
        ValueError: the library does not understand an option of the URL.
    """
    options: dict[str, Any] = {
        "max_connections": POOL_SIZE,
        "protocol": 2,
        "client_name": client_name,
        "socket_connect_timeout": CONNECT_LIMIT_S,
        "socket_timeout": None,
        "retry_on_timeout": False,
        "retry": None,
        "decode_responses": False,
    }
    if address.kind is Kind.SINGLE:
        return aioredis.ConnectionPool.from_url(address.url, **options)
    login = {"username": address.user, "password": address.password, "db": address.db}
    if address.kind is Kind.CLUSTER:
        raise ValueError("a Cluster can hold ticks only (REDIS_TICKS_URL)")
    retry = Retry(NoBackoff(), 0)
    manager = _sentinel.Sentinel(address.nodes, sentinel_kwargs=sentinel_options(address, retry))
    connection = _MasterTlsConnection if address.is_tls else _MasterConnection
    return _sentinel.SentinelConnectionPool(address.master, manager, connection_class=connection, **options, **login)


def sentinel_options(address: RedisAddress, retry: object) -> dict[str, Any]:
    """Return how to connect to the Sentinels themselves."""
    return {
        "username": address.sentinel_user,
        "password": address.sentinel_password,
        "ssl": address.is_tls,
        "socket_connect_timeout": SENTINEL_LIMIT_S,
        "socket_timeout": SENTINEL_LIMIT_S,
        "retry": retry,
    }


async def close_pool(pool: Any) -> None:
    """Close every connection, those to the Sentinels too."""
    await pool.disconnect()
    manager = getattr(pool, "sentinel_manager", None)
    if manager is not None:
        await manager.aclose()


def redis_sync(address: RedisAddress, client_name: str, limit_s: float) -> Any:
    """Return a synchronous client without retries, for the lease's own thread."""
    import redis
    from redis import sentinel
    from redis.retry import Retry as BlockingRetry

    retry = BlockingRetry(NoBackoff(), 0)
    options: dict[str, Any] = {
        "protocol": 2,
        "client_name": client_name,
        "socket_connect_timeout": limit_s,
        "socket_timeout": limit_s,
        "retry": retry,
        "decode_responses": False,
    }
    if address.kind is Kind.SINGLE:
        return redis.Redis.from_url(address.url, **options)
    blocking: Any = sentinel
    manager = blocking.Sentinel(list(address.nodes), sentinel_kwargs=sentinel_options(address, retry))
    login = {"username": address.user, "password": address.password, "db": address.db, "ssl": address.is_tls}
    return manager.master_for(address.master, **options, **login)
