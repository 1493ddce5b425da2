"""The page over real HTTP, on the in-memory bus: what it answers, and whom it refuses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout

from services.monitoring.core.alerts import Limits
from services.monitoring.core.views import StatusView
from services.monitoring.shell.collector import Collector
from services.monitoring.shell.controls import Controls
from services.monitoring.shell.web import Page, page_server
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import SYSTEM_CLOCK
from shared.health import Health
from shared.messages import decode_fields
from shared.messages.control import Alert, Control

TOKEN = "correct-horse-battery"
Opened = Callable[..., Awaitable[tuple[ClientSession, MemoryBus, Collector, Page]]]


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    closing: list[Any] = []

    async def open_page(token: str = TOKEN) -> tuple[ClientSession, MemoryBus, Collector, Page]:
        bus = MemoryBus(MemoryServer(), Keys("sim"))
        view = StatusView("sim", "sim")
        collector = Collector(bus, view, Limits(), source="monitoring:test", clock=SYSTEM_CLOCK)
        page = Page(
            view,
            Health(ready={"bus": collector.not_ready}),
            clock=SYSTEM_CLOCK,
            controls=Controls(bus, source="monitoring:test", clock=SYSTEM_CLOCK, resume_word=lambda: "DU1"),
            token=token,
            trouble=collector.not_ready,
        )
        server = page_server(page, host="127.0.0.1", port=0)
        await server.start()
        session = ClientSession(f"http://127.0.0.1:{server.port}", timeout=ClientTimeout(10))
        closing.extend((session.close, server.stop))
        return session, bus, collector, page

    yield open_page
    for close in closing:
        await close()


def bearer(token: str = TOKEN, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **more}


async def controls_of(bus: MemoryBus) -> list[Control]:
    found = [decode_fields(entry.fields).message for entry in await bus.read_range(bus.keys.control)]
    return [message for message in found if isinstance(message, Control)]


async def test_the_page_and_its_assets_come_from_here_alone(opened: Opened) -> None:
    session, _, _, _ = await opened()
    async with session.get("/") as reply:
        text = await reply.text()
        policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert '<script src="/static/' in text
    assert 'src="http' not in text
    assert "style=" not in text
    for path in (
        "page.js",
        "page.css",
        "vendor/lightweight-charts.standalone.production.js",
        "vendor/lightweight-charts.LICENSE",
    ):
        async with session.get(f"/static/{path}") as reply:
            assert reply.status == 200
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            content = await reply.text()
        if path == "page.js":
            assert "innerHTML" not in content
            assert "eval(" not in content
    async with session.get("/static/../web.py") as reply:
        assert reply.status in (403, 404)
        assert "default-src" in reply.headers["Content-Security-Policy"]


async def test_state_readiness_and_alerts_follow_the_bus(opened: Opened) -> None:
    session, bus, collector, _ = await opened()
    async with session.get("/readyz") as reply:
        assert reply.status == 503
    beat = {"service": "gateway", "instance": "gw-1", "is_leader": True, "epoch": 4, "link": "READY", "ready": True}
    await bus.set_text(bus.keys.heartbeat("gateway", "gw-1"), json.dumps(beat))
    await bus.set_text(bus.keys.heartbeat("risk", "broken"), "no json")
    await bus.hash_set(bus.keys.last(265598), {"contract": "AAPL", "bid": "187.2", "quality": "LIVE"})
    await bus.hash_set(bus.keys.halt, {"stage": "holding", "who": "anna"})
    await collector.look()
    async with session.get("/api/state") as reply:
        state = await reply.json()
    assert state["leader"]["instance"] == "gw-1"
    assert state["prices"][0]["bid"] == "187.2"
    assert state["halt"]["stage"] == "holding"
    assert [alert["alert_id"] for alert in state["alerts"]] == ["halted"]
    assert state["trouble"] is None
    entries = await bus.read_range(bus.keys.alerts)
    messages = [decode_fields(entry.fields).message for entry in entries]
    assert [one.alert_id for one in messages if isinstance(one, Alert)] == ["halted"]
    for path in ("/healthz", "/readyz", "/metrics"):
        async with session.get(path) as reply:
            assert reply.status == 200
    async with session.get("/api/chart?con_id=265598") as reply:
        assert (await reply.json())["contract"] == "#265598"
    async with session.get("/api/chart?con_id=1'--") as reply:
        assert reply.status == 400


async def test_live_updates_are_pushed(opened: Opened) -> None:
    session, _, collector, page = await opened()
    async with session.get("/api/live") as reply:
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        first = json.loads((await reply.content.readline()).decode().removeprefix("data: "))
        await reply.content.readline()
        assert first["bars_total"] == 0
        collector.view.bars_seen = 7
        page.push()
        second = json.loads((await reply.content.readline()).decode().removeprefix("data: "))
        assert second["bars_total"] == 7


async def test_a_control_is_written_with_its_audit(opened: Opened) -> None:
    session, bus, _, _ = await opened()
    origin = str(session._base_url).rstrip("/")
    async with session.post("/api/halt", json={"reason": "fire drill"}, headers=bearer(Origin=origin)) as reply:
        assert reply.status == 202
    async with session.post("/api/pause", json={"strategy": "momentum"}, headers=bearer()) as reply:
        assert reply.status == 202
    async with session.post("/api/resume", json={"reason": "looked", "confirm": "DU1"}, headers=bearer()) as reply:
        assert reply.status == 202
    given = [(one.action.value, one.scope, one.who, one.reason) for one in await controls_of(bus)]
    assert given == [
        ("halt", "account", "web", "fire drill"),
        ("pause_strategy", "strategy:momentum", "web", ""),
        ("resume", "account", "web", "looked"),
    ]


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 401),
        (bearer("wrong"), 401),
        (bearer(""), 401),
        ({"Authorization": "Basic x"}, 401),
        (bearer(Origin="http://evil.example"), 403),
        (bearer(Origin="null"), 403),
        (bearer(Host="evil.example"), 421),
    ],
)
async def test_a_control_is_refused(opened: Opened, headers: dict[str, str], status: int) -> None:
    session, bus, _, _ = await opened()
    async with session.post("/api/halt", json={}, headers=headers) as reply:
        assert reply.status == status
        assert TOKEN not in await reply.text()
    assert await controls_of(bus) == []


@pytest.mark.parametrize(
    "action, body",
    [
        ("explode", "{}"),
        ("halt", "no json"),
        ("halt", "[]"),
        ("halt", '{"reason": 5}'),
        ("halt", '{"reason": "' + "x" * 600 + '"}'),
        ("pause", "{}"),
        ("resume", '{"confirm": "DU1"}'),
        ("resume", '{"confirm": "DU1", "reason": " "}'),
        ("resume", '{"reason": "looked"}'),
        ("resume", '{"reason": "looked", "confirm": "DU2"}'),
        ("unpause", '{"strategy": "s"}'),
    ],
)
async def test_a_control_that_makes_no_sense_is_answered_with_a_sentence(
    opened: Opened, action: str, body: str
) -> None:
    session, bus, _, _ = await opened()
    headers = bearer(**{"Content-Type": "application/json"})
    async with session.post(f"/api/{action}", data=body, headers=headers) as reply:
        assert reply.status == 400
        assert (await reply.json())["error"]
    assert await controls_of(bus) == []


async def test_without_a_token_there_are_no_controls(opened: Opened) -> None:
    session, bus, _, _ = await opened(token="")
    async with session.post("/api/halt", json={}, headers=bearer("")) as reply:
        assert reply.status == 403
    async with session.get("/api/state") as reply:
        assert (await reply.json())["has_controls"] is False
    assert await controls_of(bus) == []


async def test_an_unknown_host_name_reads_nothing(opened: Opened) -> None:
    session, _, _, _ = await opened()
    async with session.get("/api/state", headers={"Host": "rebound.example"}) as reply:
        assert reply.status == 421
    async with session.get("/healthz", headers={"Host": "10.0.0.7:8080"}) as reply:
        assert reply.status == 200
