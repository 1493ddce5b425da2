"""Serve `/healthz`, `/readyz` and `/metrics` of one process.

Every service has one, and a web framework for three answers costs each of them a quarter of a second at its start and
some megabytes for ever. So this speaks as much HTTP as a probe and a scraper do: GET or HEAD, one request a connection.

Invariants:
1. A request is at most `LONGEST_REQUEST` bytes and `REQUEST_LIMIT_S` long, answer included; what is more is cut off.
2. At most `MOST_OPEN` connections are open; the next one is closed at once.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from shared.errors import ConfigError
from shared.health import Health, answer_to

LONGEST_REQUEST = 8192
REQUEST_LIMIT_S = 5.0
MOST_OPEN = 32


class HealthServer:
    """Listens on one address; `port` is known after `start`.

    Args:
        health: what is asked.
        host: where.
        port: 0 for any free one.
    """

    def __init__(self, health: Health, *, host: str, port: int) -> None:
        self._health = health
        self._host = host
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = port

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the port cannot be used.
        """
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self.port, limit=LONGEST_REQUEST)
        except OSError as e:
            raise ConfigError(
                f"CQ_HTTP_PORT: port {self.port} on {self._host} cannot be used ({e.strerror or e}): "
                "stop what uses it or choose another"
            ) from e
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and close what is open."""
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()
        if self._server is not None:
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MOST_OPEN:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            async with asyncio.timeout(REQUEST_LIMIT_S):
                writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()  # whoever asked is gone, too slow, or no client of HTTP
        finally:
            self._open.discard(writer)

    def _answer(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            status, kind, body = HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"GET or HEAD\n"
        else:
            status, kind, body = answer_to(path.decode("latin-1"), self._health)
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        return f"{head}Connection: close\r\n\r\n".encode() + (b"" if method == b"HEAD" else body)
