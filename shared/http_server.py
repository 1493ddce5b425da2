"""Serve an aiohttp application on one address: the page, and what the guard and the simulator are told.

A service that has nothing to serve but its health does without (`health_server.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aiohttp import web

from shared.health import Health
from shared.health_server import Answer, cannot_listen, health_answers, metrics_answer


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
            raise cannot_listen(self._setting, self._host, self.port, e) from e
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and close what is open."""
        await self._runner.cleanup()


def add_health(app: web.Application, health: Health) -> None:
    """Let an application answer `/healthz`, `/readyz` and `/metrics`."""
    for path, make in health_answers(health).items():
        app.router.add_get(path, partial(_answered, make))


async def metrics(request: web.Request) -> web.Response:
    """Answer with every metric of this process."""
    return await _answered(metrics_answer, request)


async def _answered(make: Callable[[], Answer], _: web.Request) -> web.Response:
    status, content_type, body = make()
    return web.Response(status=status, body=body, headers={"Content-Type": content_type})
