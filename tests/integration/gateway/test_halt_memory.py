"""A halt outlives what Redis loses; paper starts halted on an empty or older Redis (P6)."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from typing import Any

import pytest

from shared.bus.keys import Role
from shared.clock import random_token
from shared.messages.control import Control, ControlAction
from shared.messages.orders import OrderState, Side
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process]


async def tell(desk: Any, action: ControlAction) -> None:
    control = Control(ts_init_ns=time.time_ns(), control_id=random_token(12), action=action, who="anna", reason="test")
    await desk.bus.append(desk.bus.keys.control, control, source="test")


async def until_stage(desk: Any, *stages: str) -> None:
    async def reached() -> bool:
        return (await desk.bus.hash_get_all(desk.bus.keys.halt)).get("stage", b"").decode() in stages

    await eventually(reached)


@pytest.mark.parametrize("loss", ["everything", "the last writes"])
async def test_a_halt_that_redis_lost_is_set_again(start_gateway: Any, desk: Any, legs: Any, loss: str) -> None:
    gateways = {"a": start_gateway("a", 1)}
    leader = await desk.ready_leader()
    before = await desk.bus.hash_get_all(desk.bus.keys.halt)
    assert before["stage"] == b"none"
    await tell(desk, ControlAction.HALT)
    await until_stage(desk, "clean")
    gateways[leader].kill()
    if loss == "everything":
        await desk.bus.hash_delete(desk.bus.keys.halt, list(before))
        await desk.bus.hash_delete(desk.bus.keys.halt, ["cursor"])
    else:
        last = await desk.bus.last_id(desk.bus.keys.control)
        await desk.bus.hash_set(desk.bus.keys.halt, {**{k: v.decode() for k, v in before.items()}, "cursor": last})
    start_gateway("b", 2)
    await desk.ready_leader(not_=leader)
    await until_stage(desk, "clean")
    refused = await desk.until(await desk.place(legs[1](Side.BUY, 1)), OrderState.REFUSED)
    assert refused.code == "GATEWAY_HALTED"
    await tell(desk, ControlAction.RESUME)
    await until_stage(desk, "none")
    await desk.until(await desk.place(legs[1](Side.BUY, 1)), OrderState.FILLED)


async def test_a_resume_elsewhere_is_newer_than_the_halt_on_this_disk(
    start_gateway: Any, desk: Any, legs: Any, tmp_path: Any
) -> None:
    first = start_gateway("a", 1)
    await desk.ready_leader()
    await tell(desk, ControlAction.HALT)
    await until_stage(desk, "clean")
    first.kill()
    second = start_gateway("b", 2, GATEWAY_STATE_DIR=str(tmp_path / "another machine"))
    await desk.ready_leader(not_="a")
    await tell(desk, ControlAction.RESUME)
    await until_stage(desk, "none")
    second.kill()
    start_gateway("a", 1)
    await desk.ready_leader(not_="b")
    await desk.until(await desk.place(legs[1](Side.BUY, 1)), OrderState.FILLED)
    assert (await desk.bus.lease_view(Role.GATEWAY)).owner == "a"


async def test_a_halt_at_the_guards_own_door_is_written_into_control_once(
    start_gateway: Any, start_guard: Any, desk: Any
) -> None:
    """`cq halt` with Redis away tells the guard alone; curl does so at any time."""
    behind = start_guard()
    gateways = {"a": start_gateway("a", 1, CQ_LEASE_TTL_S="4.0", **behind)}
    leader = await desk.ready_leader(40.0)

    async def halts() -> list[Control]:
        found = await desk.messages(desk.bus.keys.control)
        return [one for one in found if isinstance(one, Control) and one.action is ControlAction.HALT]

    async def told(count: int) -> bool:
        return len(await halts()) == count

    await asyncio.to_thread(halt_at_guard, behind["GATEWAY_GUARD_HTTP"], "bert", "smoke")
    await eventually(lambda: told(1), 20.0)
    await until_stage(desk, "holding", "clean")
    await tell(desk, ControlAction.RESUME)
    await until_stage(desk, "none")

    gateways[leader].kill()
    await asyncio.to_thread(halt_at_guard, behind["GATEWAY_GUARD_HTTP"], "carla", "while nobody led")
    start_gateway("b", 2, CQ_LEASE_TTL_S="4.0", **behind)
    await desk.ready_leader(40.0, not_=leader)
    await eventually(lambda: told(2), 20.0)
    await until_stage(desk, "clean")
    await asyncio.sleep(3.0)  # the guard's latch is looked at every two seconds
    first, second = await halts()
    assert (first.who, second.who) == ("bert", "carla")
    assert first.reason.startswith("smoke (told to the guard at 20") and first.control_id.startswith("guard:")


def halt_at_guard(url: str, who: str, reason: str) -> None:
    request = urllib.request.Request(url + "/halt", data=json.dumps({"who": who, "reason": reason}).encode())
    urllib.request.urlopen(request, timeout=5).read()
