"""Connect to the server that an address means: the single one, or the master that the Sentinels know now.

With Sentinels each new connection asks them first and then the server itself whether it is the master, since they may
speak of one that is no longer. What a failover means for leases is the incarnation's business.
"""

from __future__ import annotations

from typing import Any

import hiredis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.backoff import NoBackoff

from shared.bus.addresses import Kind, RedisAddress
from shared.bus.redis_connection import ConnectionLost, RedisConnection, Server, open_connection

CONNECT_LIMIT_S = 2.0
SENTINEL_LIMIT_S = 0.5
"""One Sentinel that does not answer must not cost the time in which the next would."""


def check(address: RedisAddress) -> None:
    """Refuse an address that nothing could connect to.

    Raises:
        ValueError: the library does not understand an option of the URL, or it is a Cluster.
    """
    if address.kind is Kind.CLUSTER:
        raise ValueError("a Cluster can hold ticks only (REDIS_TICKS_URL)")
    if address.kind is Kind.SINGLE:
        _single(address)


def _single(address: RedisAddress) -> Server:
    parts: dict[str, Any] = dict(parse_url(address.url))
    return Server(
        host=parts.get("host", "127.0.0.1"),
        port=int(parts.get("port", 6379)),
        path=parts.get("path", ""),
        username=parts.get("username", ""),
        password=parts.get("password", ""),
        database=int(parts.get("db", 0)),
        tls=parts.get("connection_class") is SSLConnection,
    )


async def connect(address: RedisAddress, client_name: str) -> RedisConnection:
    """Return a fresh connection to the server, with Sentinels to the present master.

    Raises:
        OSError: it cannot be reached (a `TimeoutError` is one).
        ConnectionLost: it hung up, no Sentinel knows the master, or the one they name is none.
        hiredis.ReplyError: it refuses the user, the password or the database.
    """
    if address.kind is Kind.SINGLE:
        return await open_connection(_single(address), client_name, CONNECT_LIMIT_S)
    host, port = await _master(address)
    master = Server(
        host=host, port=port, username=address.user or "", password=address.password or "", database=address.db,
        tls=address.is_tls,
    )  # fmt: skip
    connection = await open_connection(master, client_name, CONNECT_LIMIT_S)
    try:
        info = (await connection.call([("INFO", "replication")], CONNECT_LIMIT_S))[0]
        if isinstance(info, hiredis.ReplyError):
            raise info
        if b"role:master" not in info:
            raise ConnectionLost(f"the Sentinels name {host}:{port}, which is no master (any more)")
    except BaseException:
        connection.close()
        raise
    return connection


async def _master(address: RedisAddress) -> tuple[str, int]:
    reasons: list[str] = []
    for host, port in address.nodes:
        sentinel = Server(
            host=host, port=port, username=address.sentinel_user or "", password=address.sentinel_password or "",
            tls=address.is_tls,
        )  # fmt: skip
        try:
            connection = await open_connection(sentinel, "", SENTINEL_LIMIT_S)
            try:
                question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.master)
                reply = (await connection.call([question], SENTINEL_LIMIT_S))[0]
            finally:
                connection.close()
        except (OSError, ConnectionLost, hiredis.ReplyError) as e:
            reasons.append(f"{sentinel}: {str(e) or 'timed out'}")
            continue
        if isinstance(reply, list) and len(reply) == 2:
            return reply[0].decode(), int(reply[1])
        reasons.append(f"{sentinel}: {reply or f'no master {address.master!r} is known'}")
    raise ConnectionLost(f"no Sentinel names the master ({'; '.join(reasons)})")


def sentinel_options(address: RedisAddress, retry: object) -> dict[str, Any]:
    """Return how the synchronous client connects to the Sentinels themselves."""
    return {
        "username": address.sentinel_user,
        "password": address.sentinel_password,
        "ssl": address.is_tls,
        "socket_connect_timeout": SENTINEL_LIMIT_S,
        "socket_timeout": SENTINEL_LIMIT_S,
        "retry": retry,
    }


def redis_sync(address: RedisAddress, client_name: str, limit_s: float) -> Any:
    """Return a synchronous client without retries, for the lease's own thread."""
    import redis
    from redis import sentinel
    from redis.retry import Retry

    retry = Retry(NoBackoff(), 0)
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
