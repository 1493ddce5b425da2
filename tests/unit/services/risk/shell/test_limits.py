"""A change of limits is taken by every process, answered by the leader, kept over restarts, never above the ceiling."""

from __future__ import annotations

from services.risk.core.ceiling import parse_ceiling
from services.risk.core.limits import Limits
from services.risk.core.limits_file import parse_limits
from services.risk.shell.limits import LimitsKeeper
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import SYSTEM_CLOCK
from shared.messages.control import Control, ControlAction

CEILING = parse_ceiling("[limits]\norder_quantity_max = 2000")


class Desk:
    """A leader, a standby, and an operator."""

    def __init__(self) -> None:
        self.bus = MemoryBus(MemoryServer(), Keys("sim"))
        self.used: list[Limits] = []

    def keeper(self, text: str = "", *, is_leader: bool = True) -> LimitsKeeper:
        return LimitsKeeper(
            self.bus, SYSTEM_CLOCK, parse_limits(text), file_text=text, environment={}, ceiling=CEILING,
            has_lease=lambda: is_leader, use=self.used.append,
        )  # fmt: skip

    async def ask(self, text: str, name: str = "c1") -> None:
        act = Control(control_id=name, action=ControlAction.LIMITS, who="me", reason="a test", text=text)
        await self.bus.append(self.bus.keys.control, act, source="cq")

    async def shown(self) -> dict[str, str]:
        return {name: value.decode() for name, value in (await self.bus.hash_get_all(self.bus.keys.limits)).items()}


async def test_a_change_is_used_answered_and_shown() -> None:
    desk = Desk()
    leader, standby = desk.keeper(), desk.keeper(is_leader=False)
    for keeper in (leader, standby):
        await keeper.start()
        await keeper.step(block_ms=None)
    assert (await desk.shown())["source"] == "file"
    await desk.ask("[limits]\norder_quantity_max = 7")
    for keeper in (standby, leader):
        await keeper.step(block_ms=None)
        assert keeper.in_force.base.order_quantity_max == 7
    shown = await desk.shown()
    assert (shown["answer"], shown["control_id"], shown["who"], shown["reason"]) == ("applied", "c1", "me", "a test")
    assert "order_quantity_max: 1000 -> 7" in shown["changes"]
    assert [one.base.order_quantity_max for one in desk.used] == [7, 7]


async def test_mistakes_and_what_is_above_the_ceiling_change_nothing() -> None:
    desk = Desk()
    leader = desk.keeper()
    await leader.start()
    for text, word in (
        ("[limits]\norder_quantity_max = 2001", "ceiling"),
        ("[limits]\nnonsense = 1", "nonsense"),
        ('[limits]\ntrading_day = "00:00 UTC"', "restart"),
    ):
        await desk.ask(text)
        await leader.step(block_ms=None)
        shown = await desk.shown()
        assert shown["answer"] == "refused" and word in shown["mistakes"] and shown["source"] == "file"
    assert not desk.used and leader.in_force.base.order_quantity_max == 1000


async def test_a_restart_keeps_the_change_until_the_file_is_edited() -> None:
    desk, file = Desk(), "[limits]\norder_quantity_max = 100"
    first = desk.keeper(file)
    await first.start()
    await desk.ask("[limits]\norder_quantity_max = 7")
    await first.step(block_ms=None)
    again = desk.keeper(file)
    await again.start()
    await again.step(block_ms=None)
    assert again.in_force.base.order_quantity_max == 7 and (await desk.shown())["who"] == "me"
    edited = desk.keeper("[limits]\norder_quantity_max = 50")
    await edited.start()
    await edited.step(block_ms=None)
    assert edited.in_force.base.order_quantity_max == 50 and (await desk.shown())["source"] == "file"
    assert desk.keeper().in_force.base.order_quantity_max == 1000


async def test_other_acts_and_unreadable_entries_are_passed_over() -> None:
    desk = Desk()
    leader = desk.keeper()
    await leader.start()
    desk.bus._server.add(desk.bus.keys.control, {"type": b"control", "body": b"\xc1"})
    halt = Control(control_id="h", action=ControlAction.HALT, who="me")
    await desk.bus.append(desk.bus.keys.control, halt, source="cq")
    await desk.ask("[limits]\norder_quantity_max = 7")
    await leader.step(block_ms=None)
    assert leader.in_force.base.order_quantity_max == 7
