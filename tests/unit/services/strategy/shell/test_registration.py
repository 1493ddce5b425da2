from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from services.strategy.core.unit import Unit
from services.strategy.shell.registration import EVERY_NS, Registration
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import NS_PER_S, ManualClock

ROLE = "strategy.w1"


@dataclass
class AUnit:
    cursors: dict[str, str] = field(default_factory=dict)


async def registered(bus: MemoryBus, *streams: str) -> dict[str, str]:
    found = {stream: (await bus.hash_get_all(bus.keys.readers(stream))).get(ROLE) for stream in streams}
    return {stream: value.decode().split()[0] for stream, value in found.items() if value is not None}


async def test_the_slowest_unit_counts_and_what_nobody_reads_any_more_is_given_up() -> None:
    clock, bus = ManualClock(), MemoryBus(MemoryServer(), Keys("sim"))
    registration = Registration(bus, ROLE, clock)
    one, two = AUnit({"bars:1": "9-0", "fills": "100-0"}), AUnit({"bars:2": "7-0", "fills": "20-1", "old": "1-0"})
    units = [cast(Unit, unit) for unit in (one, two)]
    streams = ("bars:1", "bars:2", "fills")
    clock.advance(EVERY_NS / NS_PER_S)
    await registration.tell(streams, units)
    assert await registered(bus, *streams, "old") == {"bars:1": "9-0", "bars:2": "7-0", "fills": "20-1"}

    two.cursors["fills"] = "30-0"
    await registration.tell(streams, units)
    assert (await registered(bus, "fills"))["fills"] == "20-1", "not at every turn"

    clock.advance(EVERY_NS / NS_PER_S)
    await registration.tell(("bars:1", "fills"), units[:1])  # the other unit has moved to another worker
    assert await registered(bus, *streams) == {"bars:1": "9-0", "fills": "100-0"}
    clock.advance(EVERY_NS / NS_PER_S)
    await registration.tell((), [])
    assert await registered(bus, *streams) == {}
