"""A hot standby holds the leader's subscriptions: its first ticks are there with its lease."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.messages.market import FLAG_SNAPSHOT, Tick, TickKind, unpack_ticks
from tests.support import SpawnedProcess, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(90)]
WATCHED = (265598, 272093, 208813719)


async def ticks_of(desk: Any, epoch: int) -> list[Tick]:
    """Return the ticks of an epoch, in the order of their streams."""
    found: list[Tick] = []
    for number in range(desk.bus.keys.tick_partitions):
        for entry in await desk.bus.read_range(desk.bus.keys.ticks(number)):
            if int(entry.fields[b"epoch"]) == epoch:
                found += unpack_ticks(entry.fields[b"body"])
    return found


async def test_a_hot_standby_subscribes_in_silence_and_begins_with_a_snapshot_of_all(
    start_gateway: Callable[..., SpawnedProcess], desk: Any
) -> None:
    more = {"GATEWAY_STANDBY": "hot", "CQ_LEASE_TTL_S": "2.5"}
    gateways = {name: start_gateway(name, number, **more) for number, name in enumerate("ab", 1)}
    await desk.ready_leader(40.0)
    await desk.subscribe(*WATCHED)

    async def both_hold_them() -> bool:
        return [facts["data_lines"] for facts in (await desk.heartbeats()).values()] == [len(WATCHED)] * 2

    await eventually(both_hold_them, 20.0)
    before = await desk.bus.lease_view("gateway")
    await eventually(lambda: ticks_of(desk, before.epoch), 10.0)
    gateways[before.owner].kill()
    standby = await desk.ready_leader(20.0, not_=before.owner)
    new = (await desk.bus.lease_view("gateway")).epoch
    assert new > before.epoch

    async def goes_on() -> bool:
        ticks = await ticks_of(desk, new)
        return {tick.con_id for tick in ticks if tick.kind is not TickKind.MARKER and not tick.flags} >= set(WATCHED)

    await eventually(goes_on, 15.0)
    for con_id in WATCHED:
        first, second = [tick for tick in await ticks_of(desk, new) if tick.con_id == con_id][:2]
        assert first.kind == TickKind.MARKER
        assert second.kind == TickKind.QUOTE and second.flags == FLAG_SNAPSHOT
        assert 0 <= second.ts_event_ns - first.ts_event_ns < 10**6, "it knew the price when it took over"
    assert "dead_letter" not in gateways[standby].output and "Traceback" not in gateways[standby].output
