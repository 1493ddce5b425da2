"""A hand-over finds a standby that is ready without searching the server; who is silent is struck off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from services.gateway.shell.standbys import ANNOUNCE_S, LOOK_S, Standbys
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import ManualClock
from shared.errors import Refused


class Watched(MemoryBus):
    """Counts what is asked of it."""

    def __init__(self, server: MemoryServer) -> None:
        super().__init__(server, Keys("sim"))
        self.scans = 0
        self.is_old_user = False

    async def scan(self, pattern: str) -> list[str]:
        self.scans += 1
        return await super().scan(pattern)

    async def hash_set(self, key: str, values: Mapping[str, str | bytes], *, expire_s: float | None = None) -> None:
        if self.is_old_user:
            raise Refused("BUS_NO_PERMISSION", "no")
        await super().hash_set(key, values, expire_s=expire_s)


async def beat(bus: MemoryBus, name: str, role: str = "standby", link: str = "READY") -> None:
    facts = {"instance": name, "role": role, "data_link": link}
    await bus.set_text(bus.keys.heartbeat("gateway", name), json.dumps(facts))


async def test_a_standby_that_said_its_name_is_found_by_its_heartbeat() -> None:
    bus = Watched(MemoryServer())
    leader, other = Standbys(bus, "a"), Standbys(bus, "b")
    await leader.announce()
    await other.announce()
    await beat(bus, "a")
    assert not await leader.is_one_ready(), "its own heartbeat is none, and b has none"
    assert list(await bus.hash_get_all(bus.keys.gateways)) == ["a"]
    scans = bus.scans
    await bus.hash_set(bus.keys.gateways, {"b": "1"})
    for role, link, is_ready in (("standby", "READY", True), ("leader", "READY", False), ("standby", "DOWN", False)):
        await beat(bus, "b", role, link)
        assert await leader.is_one_ready() is is_ready
    assert bus.scans == scans, "the whole server was searched"


@pytest.mark.parametrize("is_away", [False, True])
async def test_without_a_list_the_heartbeats_are_searched(is_away: bool) -> None:
    server = MemoryServer()
    bus = Watched(server)
    bus.is_old_user = True
    await Standbys(bus, "b").announce()
    await beat(bus, "b")
    server.is_away = is_away
    assert await Standbys(bus, "a").is_one_ready() is not is_away


async def test_the_leader_says_how_the_others_do_after_itself_and_when_they_are_gone() -> None:
    clock, bus = ManualClock(), Watched(MemoryServer())
    told: list[tuple[str, str]] = []
    outbox: Any = SimpleNamespace(put=lambda _, said: told.append((said.instance, str(said.state))))
    leader = Standbys(bus, "a", clock=clock)
    await beat(bus, "a", role="leader")
    await beat(bus, "b")
    await bus.hash_set(bus.keys.gateways, {"a": "1", "b": "1"})
    telling = asyncio.create_task(leader.tell(outbox, 7))

    async def looks() -> list[tuple[str, str]]:
        for _ in range(20):
            await asyncio.sleep(0)
        clock.advance(LOOK_S)
        for _ in range(20):
            await asyncio.sleep(0)
        found, told[:] = list(told), []
        return found

    await asyncio.sleep(0)
    assert told == []
    assert await looks() == [("b", "STANDBY")]
    assert await looks() == []
    await bus.hash_delete(bus.keys.gateways, ["b"])
    assert await looks() == [], "the list is lost with Redis, and b beats"
    bus._server.is_away = True
    assert await looks() == []
    bus._server.is_away = False
    del bus._server.texts[bus.keys.heartbeat("gateway", "b")]
    assert await looks() == [("b", "DOWN")]
    assert await looks() == []
    telling.cancel()
    await asyncio.wait([telling])


async def test_a_name_is_said_again_now_and_then() -> None:
    clock, server = ManualClock(), MemoryServer()
    bus = Watched(server)
    standby = Standbys(bus, "b", clock=clock)
    for passed_s, is_listed in ((0.0, True), (ANNOUNCE_S - 1, False), (1.0, True)):
        clock.advance(passed_s)
        await standby.announce()
        assert ("b" in await bus.hash_get_all(bus.keys.gateways)) is is_listed
        await bus.hash_delete(bus.keys.gateways, ["b"])
