from __future__ import annotations

import asyncio
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator

import pytest

from shared import health_server
from shared.errors import ConfigError
from shared.health import Health
from shared.health_server import HealthServer

REASONS: dict[str, str | None] = {}


@pytest.fixture
async def server() -> AsyncIterator[HealthServer]:
    REASONS.update(lease="another leads", loop=None)
    made = HealthServer(
        Health(live={"loop": lambda: REASONS["loop"]}, ready={"lease": lambda: REASONS["lease"]}),
        host="127.0.0.1", port=0,
    )  # fmt: skip
    await made.start()
    yield made
    await made.stop()


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


async def ask(server: HealthServer, path: str) -> tuple[int, str]:
    return await asyncio.to_thread(asked, server.port, path)


async def test_health_says_which_check_failed_and_why(server: HealthServer) -> None:
    assert (await ask(server, "/healthz"))[0] == 200
    status, body = await ask(server, "/readyz")
    assert status == 503 and json.loads(body) == {"ok": False, "failed": {"lease": "another leads"}}
    REASONS.update(lease=None, loop="hangs")
    assert (await ask(server, "/healthz"))[0] == 503
    assert json.loads((await ask(server, "/readyz"))[1])["failed"] == {"loop": "hangs"}
    assert "cq_loop_stall_seconds" in (await ask(server, "/metrics"))[1]
    assert (await ask(server, "/"))[0] == 404


async def test_a_loop_that_hangs_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_server, "LOOP_LIMIT_S", 0.05)
    is_answered = threading.Event()
    server = HealthServer(
        Health(live={"hang": lambda: str(is_answered.wait(30))}), host="127.0.0.1", port=0
    )  # the check holds the loop until the prober has its answer
    await server.start()

    def probe() -> tuple[int, str]:
        try:
            return asked(server.port, "/healthz")
        finally:
            is_answered.set()

    try:
        status, body = await asyncio.to_thread(probe)
    finally:
        await server.stop()
    assert status == 503 and "has not turned" in body


async def test_who_asks_for_nothing_keeps_nobody_waiting(server: HealthServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        assert (await ask(server, "/healthz"))[0] == 200


async def test_a_port_in_use_is_an_error(server: HealthServer) -> None:
    second = HealthServer(Health(), host="127.0.0.1", port=server.port)
    with pytest.raises(ConfigError, match=f"CQ_HTTP_PORT: port {server.port} on 127.0.0.1 cannot be used"):
        await second.start()
    await second.stop()
