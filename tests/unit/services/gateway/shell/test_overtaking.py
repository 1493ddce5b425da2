"""What reduces passes orders that wait for room in the budget, once each and in its own order."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from services.gateway.shell.overtaking import Overtaking
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import Entry
from shared.clock import SYSTEM_CLOCK
from shared.errors import BrokerUnavailable, Refused
from shared.ids import IntentId
from shared.messages.orders import Command, Intent, IntentAction, OrderLeg, OrderType, Side


class World:
    """The stream of commands, and who carries one out."""

    def __init__(self) -> None:
        self.bus = MemoryBus(MemoryServer(), Keys("sim"))
        self.placed: list[tuple[str, str]] = []
        self.refusals = 0
        self.overtaking = Overtaking(self.bus, self.place, clock=SYSTEM_CLOCK)
        self.slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def place(self, command: Command, entry: Entry) -> None:
        if self.refusals:
            self.refusals -= 1
            raise Refused("GATEWAY_X", "a damaged ledger")
        self.placed.append((command.intent.intent_id[0], entry.entry_id))

    async def give(self, letter: str, *, is_reducing: bool, action: IntentAction = IntentAction.PLACE) -> str:
        leg = OrderLeg(side=Side.SELL, quantity=Decimal(1), order_type=OrderType.MARKET)
        intent = Intent(
            intent_id=IntentId(20 * letter), legs=(leg,), con_id=1, strategy="s", account="DU1", valid_until_ns=9,
            action=action, modifies=IntentId(20 * "a") if action is IntentAction.MODIFY else "",
        )  # fmt: skip
        command = Command(intent=intent, not_after_ns=9, incarnation="1", is_reducing=is_reducing)
        await self.bus.append(self.bus.keys.commands, command, source="risk")
        return await self.bus.last_id(self.bus.keys.commands)

    @property
    def letters(self) -> list[str]:
        return [letter for letter, _ in self.placed]


async def until(world: World, count: int) -> None:
    async with asyncio.timeout(5.0):
        while len(world.placed) < count:
            await asyncio.sleep(0.005)


async def test_what_reduces_behind_the_waiting_order_goes_first_and_is_done_when_its_turn_comes() -> None:
    world = World()
    await world.give("a", is_reducing=True)  # before it: not looked at
    waiting = await world.give("b", is_reducing=False)
    first = await world.give("c", is_reducing=True)
    opening = await world.give("d", is_reducing=False)
    change = await world.give("e", is_reducing=True, action=IntentAction.MODIFY)
    wait = asyncio.create_task(world.overtaking.wait(world.slot, 5.0, waiting))
    await until(world, 1)
    later = await world.give("f", is_reducing=True)
    await until(world, 2)
    assert not wait.done()
    world.slot.set_result(None)
    await wait
    assert world.placed == [("c", ""), ("f", "")], "in their order, and the cursor stays"
    assert [world.overtaking.took(entry) for entry in (first, opening, change, later)] == [True, False, False, True]
    assert not world.overtaking.took(first), "asked once"


async def test_the_next_order_that_waits_passes_nothing_twice() -> None:
    world = World()
    waiting = await world.give("a", is_reducing=False)
    next_one = await world.give("b", is_reducing=False)
    await world.give("c", is_reducing=True)
    for after in (waiting, next_one):
        world.slot = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.05, world.slot.set_result, None)
        await world.overtaking.wait(world.slot, 5.0, after)
    assert world.letters == ["c"]


async def test_without_an_entry_or_with_a_slot_at_hand_nothing_is_looked_at() -> None:
    world = World()
    waiting = await world.give("a", is_reducing=False)
    await world.give("b", is_reducing=True)
    asyncio.get_running_loop().call_later(0.05, world.slot.set_result, None)
    await world.overtaking.wait(world.slot, 5.0, "")
    await world.overtaking.wait(world.slot, 5.0, waiting)
    assert world.placed == []


async def test_a_wait_ends_by_its_time_or_with_the_session() -> None:
    world = World()
    waiting = await world.give("a", is_reducing=False)
    with pytest.raises(TimeoutError):
        await world.overtaking.wait(world.slot, 0.05, waiting)
    assert world.slot.cancelled()
    world.slot = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.02, world.slot.set_exception, BrokerUnavailable("gone"))
    with pytest.raises(BrokerUnavailable):
        await world.overtaking.wait(world.slot, 5.0, waiting)


async def test_what_cannot_be_claimed_waits_for_its_turn_and_what_cannot_be_read_too() -> None:
    world = World()
    waiting = await world.give("a", is_reducing=False)
    damaged = await world.give("b", is_reducing=True)
    world.bus._server.streams[world.bus.keys.commands].append(
        Entry(world.bus.keys.commands, f"{damaged.split('-')[0]}-99", {b"type": b"poem"})
    )
    world.refusals = 1
    asyncio.get_running_loop().call_later(0.05, world.slot.set_result, None)
    await world.overtaking.wait(world.slot, 5.0, waiting)
    assert world.placed == [] and not world.overtaking.took(damaged)
