from __future__ import annotations

import json

from copilot_quant.desk import Desk
from copilot_quant.local.unit_rows import rows_of
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer


async def test_the_rows_come_sorted_by_unit() -> None:
    bus = MemoryBus(MemoryServer(), Keys("sim"))
    await bus.hash_set(bus.keys.strategies, {unit: json.dumps({"unit": unit}) for unit in ("dip/MSFT", "dip/AAPL")})
    assert [row["unit"] for row in await rows_of(Desk(bus, "DUSIM0001"))] == ["dip/AAPL", "dip/MSFT"]
