"""Answer `/healthz`, `/readyz` and `/metrics`, and beat the heart.

`/healthz`: the process turns; 503 means restart it. `/readyz`: it does its work now; 503 with the reasons otherwise.
The heartbeat key `heartbeat:<service>:<instance>` expires after a few missed beats and says where metrics listen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import prometheus_client
from aiohttp import web

from shared.bus.ports import Bus
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.errors import ConfigError, OutcomeUnknown, TransientError
from shared.logs import get_logger
from shared.metrics import LOOP_STALL

Check = Callable[[], str | None]
"""Returns None when fine, else a sentence."""
HEARTBEAT_PERIOD_S = 1.0
HEARTBEAT_EXPIRY_S = 5.0


@dataclass
class Health:
    """Checks of a process, by name; `live` decides `/healthz`, `ready` decides `/readyz`.

    `facts` are shown in the heartbeat (role, epoch, lag …): plain JSON values, read at each beat.
    """

    live: dict[str, Check] = field(default_factory=dict)
    ready: dict[str, Check] = field(default_factory=dict)
    facts: Callable[[], Mapping[str, object]] = dict
    bus_trouble: str = ""
    """Why the last heartbeat was not written: nothing can be done without the bus, whatever the checks say."""

    @staticmethod
    def _failed(checks: Mapping[str, Check]) -> dict[str, str]:
        answers = {name: check() for name, check in checks.items()}
        return {name: reason for name, reason in answers.items() if reason is not None}

    def failed_live(self) -> dict[str, str]:
        """Return the failed liveness checks with their reasons."""
        return self._failed(self.live)

    def failed_ready(self) -> dict[str, str]:
        """Return the failed readiness checks with their reasons, liveness and the bus included."""
        return {**self.failed_checks(), **({"redis": self.bus_trouble} if self.bus_trouble else {})}

    def failed_checks(self) -> dict[str, str]:
        """Return the same without the bus: what a heartbeat says, which is only read where the bus is there."""
        return self._failed({**self.live, **self.ready})


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


def health_server(health: Health, *, host: str, port: int) -> HttpServer:
    """Return the small server of one process."""
    app = web.Application()
    add_health(app, health)
    return HttpServer(app, host=host, port=port, setting="CQ_HTTP_PORT")


async def beat(
    bus: Bus, service: str, instance: str, health: Health, *, http_port: int, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Write the heartbeat once a second for ever; a bus that is away only delays it."""
    log = get_logger()
    started_ns = clock.wall_ns()
    key = bus.keys.heartbeat(service, instance)
    while True:
        failed = health.failed_checks()
        content = {
            "service": service,
            "instance": instance,
            "pid": os.getpid(),
            "started_ns": started_ns,
            "beat_ns": clock.wall_ns(),
            "http_port": http_port,
            "ready": not failed,
            "failed": failed,
            **health.facts(),
        }
        try:
            await bus.set_text(key, json.dumps(content, default=str), expire_s=HEARTBEAT_EXPIRY_S)
            health.bus_trouble = ""
        except (TransientError, OutcomeUnknown) as e:
            if not health.bus_trouble:
                log.warning("heartbeat.missed", error=str(e))
            health.bus_trouble = str(e)
        before_ns = clock.monotonic_ns()
        await clock.sleep(HEARTBEAT_PERIOD_S)
        LOOP_STALL.set(max(0.0, (clock.monotonic_ns() - before_ns) / NS_PER_S - HEARTBEAT_PERIOD_S))
