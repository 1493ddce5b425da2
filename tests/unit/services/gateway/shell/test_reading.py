"""Reading and acting while leading: patient with Redis, not with a lost lease."""

from __future__ import annotations

import pytest

from services.gateway.shell.reading import FencedReader
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.errors import BusUnavailable, Fenced, OutcomeUnknown
from shared.messages.control import Control, ControlAction


class Flaky:
    """An act whose reply is lost a number of times."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"


@pytest.fixture
async def bus() -> MemoryBus:
    return MemoryBus(MemoryServer(), Keys("sim"))


async def test_entries_come_in_order_after_the_cursor(bus: MemoryBus) -> None:
    reader = FencedReader(bus, lambda: True, block_ms=10)
    for number in range(3):
        control = Control(control_id=str(number + 1), action=ControlAction.HALT, who="me")
        await bus.append(bus.keys.control, control, source="t")
    first, *rest = await reader.read(bus.keys.control, "0-0")
    assert await reader.read(bus.keys.control, first.entry_id) == rest and len(rest) == 2
    assert list(await reader.read(bus.keys.control, rest[-1].entry_id)) == []


async def test_an_act_is_repeated_until_its_reply_came(bus: MemoryBus) -> None:
    act = Flaky(BusUnavailable("away"), OutcomeUnknown("no reply"))
    assert await FencedReader(bus, lambda: True, block_ms=10).until_done(act) == "done"
    assert act.calls == 3


async def test_an_act_is_given_up_with_the_lease(bus: MemoryBus) -> None:
    act = Flaky(BusUnavailable("away"))
    with pytest.raises(Fenced):
        await FencedReader(bus, lambda: False, block_ms=10).until_done(act)
    assert act.calls == 1
