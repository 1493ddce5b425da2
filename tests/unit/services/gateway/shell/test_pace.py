from __future__ import annotations

import asyncio

from services.gateway.core.pacing import Lane
from services.gateway.shell.pace import Pace
from shared.clock import ManualClock


async def test_data_waits_for_the_window_and_then_goes_on() -> None:
    clock = ManualClock()
    pace = Pace(clock=clock)
    waiting = [asyncio.create_task(pace.slot(Lane.SUBSCRIPTION)) for _ in range(40)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert sum(each.done() for each in waiting) == 30
    clock.advance(1.1)
    for _ in range(5):
        await asyncio.sleep(0)
    assert all(each.done() for each in waiting)
