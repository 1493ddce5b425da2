from __future__ import annotations

import asyncio
import socket

import pytest

from shared import probe
from shared.health import Health
from shared.health_server import HealthServer


async def asked(port: int, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("CQ_HTTP_PORT", str(port))
    return await asyncio.to_thread(probe.main)


async def test_a_ready_service_is_status_0_and_another_says_why_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reasons: dict[str, str | None] = {"lease": None}
    server = HealthServer(Health(ready={"lease": lambda: reasons["lease"]}), host="127.0.0.1", port=0)
    await server.start()
    try:
        assert await asked(server.port, monkeypatch) == 0
        reasons["lease"] = "another leads"
        assert await asked(server.port, monkeypatch) == 1
    finally:
        await server.stop()
    assert "another leads" in capsys.readouterr().out


async def test_a_service_that_does_not_listen_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, but nothing listens
        assert await asked(nobody.getsockname()[1], monkeypatch) == 1
    assert "refused" in capsys.readouterr().out
