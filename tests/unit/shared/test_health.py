from __future__ import annotations

import json

from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import ManualClock
from shared.health import Health, beat
from tests.support import eventually


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
