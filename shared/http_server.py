"""Serve an aiohttp application on one address: the page, and what the guard and the simulator are told.

A service that has nothing to serve but its health does without (`health_server.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

import prometheus_client
from aiohttp import web

from shared.errors import ConfigError
from shared.health import Health


class HttpServer:
    """An aiohttp application that listens on one address; `port` is known after `start`.

    Args:
        app: what to serve.
        host: where.
        port: 0 for any free one.
        setting: the variable that says the port, for the sentence when it is in use.
        close_limit_s: how long a stop waits for open answers.
    """

    def __init__(
        self, app: web.Application, *, host: str, port: int, setting: str, close_limit_s: float = 60.0
    ) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=close_limit_s)
        self._host = host
        self._setting = setting
        self.port = port

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the port cannot be used.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self.port).start()
        except OSError as e:
            raise ConfigError(
                f"{self._setting}: port {self.port} on {self._host} cannot be used ({e.strerror or e}): "
                "stop what uses it or choose another"
            ) from e
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and close what is open."""
        await self._runner.cleanup()


def add_health(app: web.Application, health: Health) -> None:
    """Let an application answer `/healthz`, `/readyz` and `/metrics`."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(health.failed_live())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(health.failed_ready())

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)


def _answer(failed: Mapping[str, str]) -> web.Response:
    return web.json_response({"ok": not failed, "failed": failed}, status=503 if failed else 200)


async def metrics(_: web.Request) -> web.Response:
    """Answer with every metric of this process."""
    return web.Response(
        body=prometheus_client.generate_latest(), headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST}
    )
