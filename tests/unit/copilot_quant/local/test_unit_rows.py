"""What workers write about their units comes back as rows, in the order of the units."""

from __future__ import annotations

import json
from dataclasses import dataclass

from copilot_quant.local.unit_rows import rows_of
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer


@dataclass
class DeskOf:
    """As much of a desk as rows need."""

    bus: MemoryBus

    @property
    def keys(self) -> Keys:
        return self.bus.keys


async def test_rows_come_sorted_by_unit() -> None:
    bus = MemoryBus(MemoryServer(), Keys("x"))
    desk = DeskOf(bus)
    assert await rows_of(desk) == []  # type: ignore[arg-type]
    await bus.hash_set(bus.keys.strategies, {unit: json.dumps({"unit": unit, "lag": 0}) for unit in ("b:2", "a:1")})
    assert await rows_of(desk) == [{"unit": "a:1", "lag": 0}, {"unit": "b:2", "lag": 0}]  # type: ignore[arg-type]
