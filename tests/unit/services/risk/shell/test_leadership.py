"""Risk's leadership ends when its process does, whatever else ends at that moment."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.risk_desk import limits_with
from tests.support import eventually
from tests.unit.services.risk.shell.test_shell import World


@pytest.mark.parametrize("turns", range(10))
async def test_a_stop_is_kept_that_comes_while_a_lost_lease_ends_the_loops(turns: int) -> None:
    """A task group lost it: the stopped process went on to stand by, until it was killed."""
    world = World(limits_with(position_quantity_max=100))
    await world.open()
    await world.leadership.warm_up()
    loop = asyncio.get_running_loop()
    feeding = [loop.create_task(world.feed.run()), loop.create_task(world.feed.run_snapshots())]
    leading = loop.create_task(world.leadership.run())
    await eventually(lambda: world.leadership.is_deciding)
    world.election.token = None
    world.election.over.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    assert leading.cancel()
    over, _ = await asyncio.wait([leading], timeout=3)
    assert over and leading.cancelled(), "it lost the cancel and goes on"
    assert world.leadership.token is None and not world.leadership.is_deciding
    for task in feeding:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
