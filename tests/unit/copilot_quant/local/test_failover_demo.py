from __future__ import annotations

import json
import time

import pytest

from copilot_quant.desk import Desk
from copilot_quant.local import failover_demo
from shared.bus.keys import Keys, Role
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.errors import TimedOut


@pytest.fixture
def desk() -> Desk:
    return Desk(MemoryBus(MemoryServer(), Keys("sim")), "DUSIM0001")


async def beat(desk: Desk, name: str, **facts: object) -> None:
    text = json.dumps({"service": "gateway", "instance": name, **facts})
    await desk.bus.set_text(desk.keys.heartbeat("gateway", name), text)


async def test_a_pair_is_a_ready_leader_with_the_lease_and_a_warm_standby(desk: Desk) -> None:
    view = await desk.bus.lease_view(Role.GATEWAY)
    token = await desk.bus.lease_acquire(Role.GATEWAY, "gateway-1", view, at_least_epoch=5)
    assert token is not None
    await beat(desk, "gateway-1", role="leader", link="READY")
    assert await failover_demo._pair(desk) is None, "nobody could take over"
    await beat(desk, "gateway-2", role="standby", data_link="DOWN")
    assert await failover_demo._pair(desk) is None, "the standby is not warm"
    await beat(desk, "gateway-2", role="standby", data_link="READY")
    assert await failover_demo._pair(desk) == ("gateway-1", token.epoch)
    assert await failover_demo._pair(desk, newer_than=token.epoch) is None, "it is the one that was killed"


async def test_the_first_tick_is_of_a_later_epoch(desk: Desk) -> None:
    assert await failover_demo._first_tick(desk, 1) == 0
    view = await desk.bus.lease_view(Role.GATEWAY)
    token = await desk.bus.lease_acquire(Role.GATEWAY, "gateway-1", view, at_least_epoch=5)
    assert token is not None
    await desk.bus.raise_fence(token)
    await desk.bus.publish_ticks(token, [(0, b"x" * 40)], source="gateway:1")
    assert abs(await failover_demo._first_tick(desk, token.epoch - 1) / 1e9 - time.time()) < 60
    assert await failover_demo._first_tick(desk, token.epoch) == 0


async def test_what_does_not_come_is_a_clear_error() -> None:
    async def never() -> bool:
        return False

    with pytest.raises(TimedOut, match="a miracle did not show up"):
        await failover_demo._until("a miracle", 0.1, never)
