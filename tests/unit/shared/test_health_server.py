from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from shared import health_server
from shared.errors import ConfigError
from shared.health import Health
from shared.health_server import LONGEST_REQUEST, MOST_OPEN, HealthServer


@pytest.fixture
async def server() -> AsyncIterator[HealthServer]:
    made = HealthServer(Health(), host="127.0.0.1", port=0)
    await made.start()
    yield made
    await made.stop()


async def said(server: HealthServer, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_it_says_which_check_failed_and_why() -> None:
    reasons: dict[str, str | None] = {"lease": "another leads", "loop": None}
    health = Health(live={"loop": lambda: reasons["loop"]}, ready={"lease": lambda: reasons["lease"]})
    server = HealthServer(health, host="127.0.0.1", port=0)
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
            async with http.get("/healthz") as reply:
                assert reply.status == 200
            async with http.get("/readyz") as reply:
                assert reply.status == 503
                assert (await reply.json())["failed"] == {"lease": "another leads"}
            reasons.update(lease=None, loop="hangs")
            async with http.get("/healthz") as reply:
                assert reply.status == 503
            async with http.get("/readyz") as reply:
                assert (await reply.json())["failed"] == {"loop": "hangs"}
            async with http.get("/metrics") as reply:
                assert "cq_loop_stall_seconds" in await reply.text()
    finally:
        await server.stop()


async def test_a_port_in_use_is_an_error() -> None:
    first = HealthServer(Health(), host="127.0.0.1", port=0)
    await first.start()
    second = HealthServer(Health(), host="127.0.0.1", port=first.port)
    with pytest.raises(ConfigError, match=f"CQ_HTTP_PORT: port {first.port} on 127.0.0.1 cannot be used"):
        await second.start()
    await second.stop()
    await first.stop()


async def test_head_is_answered_without_a_body_and_nothing_else_than_get(server: HealthServer) -> None:
    head = await said(server, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and head.endswith(b"\r\n\r\n")
    assert (await said(server, b"GET /healthz?x=1 HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
    assert (await said(server, b"POST /healthz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
    assert (await said(server, b"GET /../etc HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404 ")


async def test_what_is_no_request_is_cut_off(server: HealthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await said(server, b"GET /" + b"x" * 2 * LONGEST_REQUEST + b"\r\n\r\n") == b""
    monkeypatch.setattr(health_server, "REQUEST_LIMIT_S", 0.05)
    assert await said(server, b"GET /healthz HTTP/1.1\r\n") == b"", "it never ends"
    assert (await said(server, b"GET /healthz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_who_opens_too_many_connections_is_turned_away(server: HealthServer) -> None:
    held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(MOST_OPEN)]
    assert await said(server, b"GET /healthz HTTP/1.1\r\n\r\n") == b""
    for _, writer in held:
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(5):
        while not await said(server, b"GET /healthz HTTP/1.1\r\n\r\n"):
            await asyncio.sleep(0.01)
