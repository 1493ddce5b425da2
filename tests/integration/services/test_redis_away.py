"""Redis and the broker absent at the start: each service says so, waits, and goes on by itself when they come."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.support import RedisServer, Spawner, eventually, free_port

pytestmark = [pytest.mark.redis, pytest.mark.process]


@pytest.mark.parametrize("service", ["gateway", "risk", "strategy", "marketdata"])
async def test_a_service_waits_for_redis_and_comes_by_itself(
    service: str, redis_server: RedisServer, deployment: str, spawn: Spawner, tmp_path: Any
) -> None:
    port, nobody = free_port(), free_port()
    strategies = tmp_path / "strategies.toml"
    strategies.write_text("")
    env = {
        "CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_server.url, "IB_SIM_ACCOUNT": "DUSIM0001",
        "IB_SIM_PORT": str(nobody), "CQ_HTTP_PORT": str(port), "GATEWAY_STATE_DIR": str(tmp_path),
        "STRATEGIES_FILE": str(strategies),
    }  # fmt: skip
    redis_server.kill()
    process = spawn(f"services.{service}", env=env)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def answer(path: str) -> tuple[int, str]:
            try:
                async with session.get(path) as reply:
                    return reply.status, await reply.text()
            except aiohttp.ClientConnectionError:
                return 0, ""

        async def is_told() -> bool:
            status, text = await answer("/readyz")
            return status == 503 and "Redis" in text

        await eventually(is_told, 30)
        assert (await answer("/healthz"))[0] == 200, "it lives: a supervisor has nothing to restart"
        assert process.status is None
        redis_server.restart()

        async def has_gone_on() -> bool:
            status, text = await answer("/readyz")
            return status == 200 or (status == 503 and "Redis" not in text)

        await eventually(has_gone_on, 30)
    assert process.terminate(20) == 0
    assert "Traceback" not in process.output
