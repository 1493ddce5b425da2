"""Only the risk that decides looks; a bus that is away delays the next look and ends nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from services.risk.shell.deciding import Deciding
from shared.clock import ManualClock
from shared.errors import BusUnavailable


async def test_it_looks_while_it_decides_and_goes_on_when_the_bus_was_away() -> None:
    looked: list[str] = []
    nothing: Any = None

    class Clock(ManualClock):
        async def sleep(self, seconds: float) -> None:
            looked.append(f"slept {seconds:g}")
            if len(looked) > 6:
                raise asyncio.CancelledError
            await asyncio.sleep(0)

    async def look() -> None:
        looked.append("looked")
        raise BusUnavailable("away")

    deciding = Deciding(nothing, Clock(), nothing, nothing, "r1", lambda: len(looked) != 0)
    assert deciding.source == "risk:r1"
    try:
        await deciding.again(look, 0.5)
    except asyncio.CancelledError:
        pass
    assert looked == ["slept 0.5", *["looked", "slept 0.5"] * 3]
