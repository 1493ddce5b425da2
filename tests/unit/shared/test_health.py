from __future__ import annotations

import json

import aiohttp
import pytest

from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import ManualClock
from shared.errors import ConfigError
from shared.health import Health, beat, health_server
from tests.support import eventually


async def test_health_says_which_check_failed_and_why() -> None:
    reasons: dict[str, str | None] = {"lease": "another leads", "loop": None}
    health = Health(live={"loop": lambda: reasons["loop"]}, ready={"lease": lambda: reasons["lease"]})
    server = health_server(health, host="127.0.0.1", port=0)
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
    first = health_server(Health(), host="127.0.0.1", port=0)
    await first.start()
    second = health_server(Health(), host="127.0.0.1", port=first.port)
    with pytest.raises(ConfigError, match=f"CQ_HTTP_PORT: port {first.port} on 127.0.0.1 cannot be used"):
        await second.start()
    await second.stop()
    await first.stop()


async def test_the_heart_beats_through_an_outage_of_the_bus() -> None:
    import asyncio

    clock = ManualClock()
    server = MemoryServer(clock)
    bus = MemoryBus(server, Keys("sim"))
    health = Health(ready={"x": lambda: "not yet"}, facts=lambda: {"epoch": 7})
    task = asyncio.create_task(beat(bus, "risk", "r1", health, http_port=9, clock=clock))
    key = bus.keys.heartbeat("risk", "r1")
    await eventually(lambda: key in server.texts)
    content = json.loads(server.texts[key][0])
    assert (content["service"], content["epoch"], content["ready"], content["http_port"]) == ("risk", 7, False, 9)
    server.is_away = True
    clock.advance(6.0)
    await eventually(lambda: "redis" in health.failed_ready())
    assert health.failed_ready()["x"] == "not yet" and "redis" not in health.failed_live()
    server.is_away = False
    assert await bus.get_text(key) is None
    clock.advance(1.0)
    await eventually(lambda: bus.get_text(key))
    assert health.failed_ready() == {"x": "not yet"}
    assert json.loads(server.texts[key][0])["failed"] == {"x": "not yet"}, "what is written was written"
    task.cancel()
