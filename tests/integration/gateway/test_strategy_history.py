"""A strategy that looks back: bars loaded before `on_start`, carried on while it runs, there again after a kill -9."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import Spawner, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(120)]
CODE = """
from pydantic import BaseModel
from services.strategy.api import Strategy


class Looks(Strategy):
    class State(BaseModel):
        days: int = 0
        mean: float = 0.0
        starts: list[str] = []
        seconds: list[str] = []
        is_resumed: bool = False

    @classmethod
    def history_needs(cls, params):
        return {"1 day": 20, "1 secs": 30}

    def on_start(self):
        frame = self.history(self.contracts[0], "1 day")
        self.state.days = len(frame)
        self.state.mean = float(frame["close"].mean())
        self.state.starts.append(str(self.history(self.contracts[0], "1 secs").index[-1]))
        self.state.is_resumed = self.is_resumed
        self.set_timer("look", 0.5, every_s=0.5)

    def on_timer(self, timer):
        self.state.seconds = [str(at) for at in self.history(self.contracts[0], "1 secs").index]
"""
TABLE = """
[strategy.looks]
file = "looks.py"
class = "Looks"
contracts = ["AAPL"]
"""


@pytest.fixture
def start_worker(spawn: Spawner, redis_url: str, deployment: str, tmp_path: Path) -> Callable[..., Any]:
    (tmp_path / "looks.py").write_text(CODE)
    (tmp_path / "strategies.toml").write_text(TABLE)
    common = {"CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_url, "CQ_HTTP_PORT": "0"}

    def start(service: str, name: str) -> Any:
        own = {
            "MARKETDATA_CACHE_DIR": str(tmp_path / "history"), "STRATEGIES_FILE": str(tmp_path / "strategies.toml"),
            "CQ_INSTANCE": name, "CQ_LEASE_TTL_S": "1.5",
        }  # fmt: skip
        return spawn(service, env={**common, **own}, name=name)

    return start


async def test_history_is_there_at_the_start_goes_on_and_survives_the_worker(
    start_gateway: Callable[..., Any], desk: Any, start_worker: Callable[..., Any]
) -> None:
    start_gateway("a", 1)
    await desk.ready_leader()
    worker = start_worker("services.strategy", "w1")

    async def row() -> dict[str, Any]:
        stored = await desk.bus.hash_get_all(desk.bus.keys.strategies)
        return dict(json.loads(stored.get("looks/AAPL", b"{}")))

    async def waits() -> bool:
        return "waits for history" in (await row()).get("error", "")

    await eventually(waits, 20.0)
    start_worker("services.marketdata", "m1")

    async def state() -> dict[str, Any]:
        record = await desk.bus.load_unit("looks/AAPL")
        return dict(json.loads(record.state)["user"]) if record.state else {}

    async def carried_on() -> dict[str, Any]:
        found = await state()
        assert (await row()).get("error") in ("", None)
        return found if found.get("seconds") and found["seconds"][-1] > found["starts"][0] else {}

    first = await eventually(carried_on, 40.0)
    assert first["days"] == 20 and first["mean"] > 0
    assert len(first["seconds"]) == 30 and first["seconds"] == sorted(set(first["seconds"]))
    worker.kill()
    start_worker("services.strategy", "w2")

    async def resumed() -> dict[str, Any]:
        found = await state()
        return found if found["is_resumed"] and found["seconds"][-1] > found["starts"][-1] else {}

    second = await eventually(resumed, 40.0)
    assert len(second["starts"]) == 2 and second["starts"][1] > first["starts"][0]
    assert second["days"] == 20 and len(second["seconds"]) == 30
