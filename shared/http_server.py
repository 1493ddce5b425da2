"""Run an aiohttp application of a service that has pages or commands of its own, its health among them.

Imported by those only: the others have `shared.health_server`.
"""

from __future__ import annotations

from aiohttp import web

from shared.errors import ConfigError
from shared.health import Health, answer_to


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

    async def answer(request: web.Request) -> web.Response:
        return _response(request.path, health)

    for path in ("/healthz", "/readyz", "/metrics"):
        app.router.add_get(path, answer)


async def metrics(_: web.Request) -> web.Response:
    """Answer with every metric of this process."""
    return _response("/metrics", Health())


def _response(path: str, health: Health) -> web.Response:
    status, kind, body = answer_to(path, health)
    return web.Response(status=status.value, body=body, headers={"Content-Type": kind})
