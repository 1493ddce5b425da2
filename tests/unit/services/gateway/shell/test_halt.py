from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from services.gateway.core.book import OrderBook
from services.gateway.shell.halt import HaltDesk
from services.gateway.shell.outbox import Outbox
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.messages.control import HaltStage
from shared.settings import Mode


class Guard:
    """A guard that can be out of reach, and notes what Redis says at the moment it is asked."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.is_there = False
        self.seen: list[bytes] = []

    async def halt(self, who: str, reason: str) -> bool:
        self.seen.append((await self.bus.hash_get_all(self.bus.keys.halt))["stage"])
        return self.is_there


def desk_on(bus: MemoryBus, guard: Guard) -> HaltDesk:
    commands: Any = SimpleNamespace(sending=asyncio.Lock())
    trading: Any = SimpleNamespace(can_send=False, session=None)
    book = OrderBook("sim:sim:DU1", "DU1")
    return HaltDesk(
        bus, Outbox(bus, "gateway:g1"), book, commands, trading, guard, mode=Mode.SIM,  # type: ignore[arg-type]
        source="gateway:g1", has_lease=lambda: True,
    )  # fmt: skip


async def stage_of(bus: MemoryBus) -> str:
    return (await bus.hash_get_all(bus.keys.halt))["stage"].decode()


async def test_a_halt_is_acknowledged_only_once_the_guard_holds() -> None:
    # Simulation, seed 235: Redis said "holding" before the guard held, and a predecessor's order passed it.
    bus = MemoryBus(MemoryServer(), Keys("sim"))
    guard = Guard(bus)
    desk = desk_on(bus, guard)
    await desk.restore()
    await desk.halt("c1", "operator", "test")
    assert await stage_of(bus) == HaltStage.REQUESTED and desk.stage is HaltStage.REQUESTED
    guard.is_there = True
    await desk._work()
    assert await stage_of(bus) == HaltStage.HOLDING
    assert guard.seen == [b"requested", b"requested"]


async def test_a_successor_goes_on_asking_the_guard() -> None:
    bus = MemoryBus(MemoryServer(), Keys("sim"))
    guard = Guard(bus)
    first = desk_on(bus, guard)
    await first.restore()
    await first.halt("c1", "operator", "test")
    second = desk_on(bus, guard)
    await second.restore()
    assert second.stage is HaltStage.REQUESTED
    guard.is_there = True
    await second._work()
    assert await stage_of(bus) == HaltStage.HOLDING
