"""The real service as a process: it starts without Redis, comes up with it, and refuses a port in use."""

from __future__ import annotations

import json
import socket
from typing import Any

import aiohttp
import pytest

from shared.bus.keys import Keys
from shared.bus.redis_client import open_bus
from shared.messages import decode_fields
from shared.messages.control import Alert
from tests.support import RedisServer, Spawner, eventually, free_port

pytestmark = [pytest.mark.redis, pytest.mark.process]


async def test_it_outlives_a_redis_that_is_away_and_alarms_a_process_that_is_gone(
    redis_server: RedisServer, deployment: str, spawn: Spawner
) -> None:
    port = free_port()
    env = {"CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_server.url, "MONITORING_PORT": str(port)}
    redis_server.kill()
    service = spawn("services.monitoring", env=env)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def answer(path: str) -> tuple[int, dict[str, Any]]:
            try:
                async with session.get(path) as reply:
                    return reply.status, await reply.json()
            except aiohttp.ClientConnectionError:
                return 0, {}

        async def page_says_trouble() -> bool:
            status, state = await answer("/api/state")
            return status == 200 and bool(state["trouble"])

        await eventually(page_says_trouble, 20)
        assert (await answer("/readyz"))[0] == 503
        assert (await answer("/healthz"))[0] == 200
        redis_server.restart()

        async def is_ready() -> bool:
            return (await answer("/readyz"))[0] == 200

        await eventually(is_ready, 20)
        bus = open_bus(redis_server.url, Keys(deployment, 4))
        beat = {"service": "risk", "instance": "risk-1", "ready": True, "started_ns": 1}
        await bus.set_text(bus.keys.heartbeat("risk", "risk-1"), json.dumps(beat), expire_s=1.5)

        async def missed() -> list[str]:
            found = [decode_fields(entry.fields).message for entry in await bus.read_range(bus.keys.alerts)]
            return [one.text for one in found if isinstance(one, Alert) and one.alert_id == "heartbeat:risk:risk-1"]

        assert await eventually(missed, 20) == ["risk-1 has stopped beating"]
        await bus.close()
    assert service.terminate() == 0


def test_a_port_in_use_is_one_clear_sentence(redis_url: str, spawn: Spawner) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        service = spawn("services.monitoring", env={"CQ_MODE": "sim", "REDIS_URL": redis_url, "MONITORING_PORT": port})
        assert service.wait(20) == 78
    assert f"MONITORING_PORT: port {port}" in service.output
