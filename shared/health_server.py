"""Answer `/healthz`, `/readyz` and `/metrics` of one process.

`/healthz`: the process turns; 503 means restart it. `/readyz`: it does its work now; 503 with the reasons otherwise.

The standard library's WSGI server, on a thread of its own: a web framework would be a sixth of a worker's memory and a
quarter of its start. What is answered is made by the event loop, for which the thread waits; so a loop that hangs is
told of, where a server inside it would leave the prober without an answer.
"""

from __future__ import annotations

import asyncio
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import prometheus_client

from shared.errors import ConfigError
from shared.health import Health

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

LOOP_LIMIT_S = 2.0
"""How long an answer waits for the event loop; less than the three seconds of a probe (`probe.py`)."""
CLIENT_LIMIT_S = 5.0
"""How long one connection may take to ask or to read."""
Answer = tuple[HTTPStatus, str, bytes]
"""Status, content type, body."""
_UNKNOWN: Answer = (HTTPStatus.NOT_FOUND, "text/plain", b"/healthz, /readyz or /metrics\n")


def health_answers(health: Health) -> dict[str, Callable[[], Answer]]:
    """Return what every server of health answers, by path."""
    return {
        "/healthz": lambda: _checked(health.failed_live()),
        "/readyz": lambda: _checked(health.failed_ready()),
        "/metrics": metrics_answer,
    }


def _checked(failed: Mapping[str, str]) -> Answer:
    body = json.dumps({"ok": not failed, "failed": failed}).encode()
    return HTTPStatus.SERVICE_UNAVAILABLE if failed else HTTPStatus.OK, "application/json; charset=utf-8", body


def metrics_answer() -> Answer:
    """Return every metric of this process."""
    return HTTPStatus.OK, prometheus_client.CONTENT_TYPE_LATEST, prometheus_client.generate_latest()


def cannot_listen(setting: str, host: str, port: int, error: OSError) -> ConfigError:
    """Return the sentence for a port that cannot be used; `setting` is the variable that says it."""
    return ConfigError(
        f"{setting}: port {port} on {host} cannot be used ({error.strerror or error}): "
        "stop what uses it or choose another"
    )


class HealthServer:
    """The small server of one process; `port` is known after `start`.

    Args:
        health: what is asked.
        host: where to listen.
        port: 0 for any free one.
    """

    def __init__(self, health: Health, *, host: str, port: int) -> None:
        self._host = host
        self.port = port
        self._answers = health_answers(health)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: WSGIServer | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the port cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        try:
            family, _, _, _, address = socket.getaddrinfo(self._host, self.port, type=socket.SOCK_STREAM)[0]
            self._server = _listening(family, str(address[0]), int(address[1]))
        except OSError as e:
            raise cannot_listen("CQ_HTTP_PORT", self._host, self.port, e) from e
        self._server.set_app(self._answer)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    async def stop(self) -> None:
        """Stop listening; who waits for an answer gets none."""
        if self._server is not None:
            await asyncio.to_thread(self._server.shutdown)
            self._server.server_close()
            self._server = None

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        make = self._answers.get(environ["PATH_INFO"])
        status, content_type, body = self._by_loop(make) if make is not None else _UNKNOWN
        start_response(
            f"{status.value} {status.phrase}", [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        )
        return [body]

    def _by_loop(self, make: Callable[[], Answer]) -> Answer:
        async def made() -> Answer:
            return make()

        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(made(), self._loop)
        try:
            return future.result(LOOP_LIMIT_S)
        except TimeoutError:
            future.cancel()
            return _checked({"loop": f"the event loop has not turned for {LOOP_LIMIT_S:g} s"})


class _Handler(WSGIRequestHandler):
    timeout = CLIENT_LIMIT_S

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a probe each second is no event."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind, without asking a name server how this machine is called, as the library does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


def _listening(family: int, host: str, port: int) -> WSGIServer:
    class Server(_Server):
        address_family = family

    return Server((host, port), _Handler)
