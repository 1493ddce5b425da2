from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web

from shared.errors import ConfigError
from shared.health import Health
from shared.http_server import HttpServer, add_health, metrics


def server_of(app: web.Application, port: int = 0) -> HttpServer:
    return HttpServer(app, host="127.0.0.1", port=port, setting="X_PORT")


async def test_an_application_answers_for_its_health() -> None:
    app = web.Application()
    add_health(app, Health(ready={"lease": lambda: "another leads"}))
    app.router.add_get("/apart", metrics)
    server = server_of(app)
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
            for path, status, word in (
                ("/healthz", 200, "true"), ("/readyz", 503, "another leads"), ("/metrics", 200, "cq_loop_stall"),
                ("/apart", 200, "cq_loop_stall"),
            ):  # fmt: skip
                async with http.get(path) as reply:
                    assert reply.status == status and word in await reply.text(), path
    finally:
        await server.stop()


async def test_a_port_in_use_is_an_error_that_names_the_setting() -> None:
    first = server_of(web.Application())
    await first.start()
    with pytest.raises(ConfigError, match=f"X_PORT: port {first.port} on 127.0.0.1 cannot be used"):
        await server_of(web.Application(), first.port).start()
    await first.stop()
