"""Halt and resume: held before it is said, seen clean, recalled from the disk, other controls passed on."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.gateway.core.book import OrderBook
from services.gateway.core.halt_memory import HaltMemory
from services.gateway.shell.halt import HaltDesk
from services.gateway.shell.halt_file import HaltFile
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.errors import BusUnavailable, Refused
from shared.messages.codec import decode_fields
from shared.messages.control import Control, ControlAction, HaltStage
from shared.messages.orders import OrderEvent, OrderState, Side
from shared.settings import Mode


class World:
    """Everything around a halt desk."""

    def __init__(self, directory: Path) -> None:
        self.server = MemoryServer()
        self.bus = MemoryBus(self.server, Keys("sim"))
        self.file = HaltFile(directory, "sim")
        self.sending = asyncio.Lock()
        self.can_send = True
        self.session: Any = None
        self.guard_answers = True
        self.is_holding = False
        self.latch: HaltMemory | None = None
        self.stages_at_guard: list[str] = []
        self.shown: list[HaltStage] = []

    def desk(self, mode: Mode = Mode.SIM) -> HaltDesk:
        world: Any = self
        return HaltDesk(
            self.bus, world, OrderBook("sim", "DU1"), world, world, world, mode=mode, source="gateway:a",
            file=self.file, has_lease=lambda: True,
        )  # fmt: skip

    # the outbox and the guard

    def put(self, _stream: str, message: Any) -> None:
        self.shown.append(message.stage)

    async def halt(self, _who: str, _reason: str) -> bool:
        self.stages_at_guard.append(await self.stored())
        return self.guard_answers

    async def halt_memory(self) -> HaltMemory | None:
        return self.latch

    async def resume(self, _who: str, _reason: str) -> bool:
        return self.guard_answers

    async def stored(self) -> str:
        return (await self.bus.hash_get_all(self.bus.keys.halt)).get("stage", b"").decode()

    async def tell(self, desk: HaltDesk, action: ControlAction, scope: str = "account") -> None:
        control = Control(control_id="c", action=action, who="anna", scope=scope)
        await self.bus.append(self.bus.keys.control, control, source="t")
        await self.take(desk)

    async def take(self, desk: HaltDesk) -> None:
        for entry in await self.bus.read_range(self.bus.keys.control):
            if entry.entry_id > desk._cursor:
                await desk._entry(entry)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_halt_holds_and_is_seen_clean_and_resume_opens(world: World) -> None:
    desk = world.desk()
    await desk.restore()
    assert desk.stage is HaltStage.NONE and await world.stored() == "none"
    await world.tell(desk, ControlAction.HALT)
    assert desk.stage is HaltStage.HOLDING and await world.stored() == "holding"
    await desk._work()
    assert desk.stage is HaltStage.CLEAN and await world.stored() == "clean"
    kept = world.file.load()
    assert kept is not None and kept.is_halted and kept.who == "anna"
    await world.tell(desk, ControlAction.RESUME)
    assert desk.stage is HaltStage.NONE and await world.stored() == "none"
    kept = world.file.load()
    assert kept is not None and not kept.is_halted


async def test_everything_is_cancelled_at_once_and_what_a_person_orders_afterwards_stays(world: World) -> None:
    desk, told = world.desk(), Told()
    told.order(desk, "by hand")
    await desk.restore()
    world.session = told
    await desk.halt("c", "anna", "all of it", everything=True)
    await desk._work()
    assert told.everything == 1 and desk.stage is HaltStage.HOLDING
    told.order(desk, "by hand", OrderState.CANCELLED)
    await desk._work()
    assert desk.stage is HaltStage.CLEAN
    told.order(desk, "closes by hand")
    await desk._work()
    assert told.everything == 1 and desk.stage is HaltStage.CLEAN
    again = world.desk()
    await again.restore()
    assert not again.must_go()


class Told:
    """A session that counts, and orders of which the broker tells."""

    is_open, everything = True, 0

    def cancel_everything(self) -> None:
        self.everything += 1

    @staticmethod
    def order(desk: HaltDesk, key: str, state: OrderState = OrderState.WORKING) -> None:
        event = OrderEvent(
            ts_init_ns=1, order_ref=key, state=state, strategy="unassigned", account="DU1", con_id=1, side=Side.BUY,
            quantity=Decimal(1), order_type="LMT", is_external=True,
        )  # fmt: skip
        desk._book.restore(event)


async def test_it_waits_for_what_is_between_a_claim_and_the_socket(world: World) -> None:
    desk = world.desk()
    await desk.restore()
    await world.sending.acquire()
    halting = asyncio.create_task(desk.halt("c", "anna", "news"))
    await asyncio.sleep(0.01)
    assert desk.stage is HaltStage.NONE
    world.sending.release()
    await halting
    assert desk.stage is HaltStage.HOLDING


async def test_without_the_guards_word_it_is_only_requested_and_no_resume_happens(world: World) -> None:
    desk = world.desk()
    await desk.restore()
    world.guard_answers = False
    await world.tell(desk, ControlAction.HALT)
    await desk._work()
    assert desk.stage is HaltStage.REQUESTED and HaltStage.HOLDING not in world.shown
    await world.tell(desk, ControlAction.RESUME)
    assert desk.stage is HaltStage.REQUESTED and await world.stored() == "requested"


async def test_a_halt_is_acknowledged_only_once_the_guard_holds(world: World) -> None:
    # Simulation, seed 235: Redis said "holding" before the guard held, and a predecessor's order passed it.
    desk = world.desk()
    await desk.restore()
    world.guard_answers = False
    await world.tell(desk, ControlAction.HALT)
    successor = world.desk()
    await successor.restore()
    assert successor.stage is HaltStage.REQUESTED
    world.guard_answers = True
    await successor._work()
    assert world.stages_at_guard == ["requested"] * 2
    assert HaltStage.HOLDING in world.shown and await world.stored() in ("holding", "clean")


@pytest.mark.parametrize("mode", [Mode.SIM, Mode.PAPER])
async def test_what_redis_lost_is_recalled_and_stored_again(world: World, mode: Mode) -> None:
    world.file.keep(HaltMemory(is_halted=True, who="anna", reason="news", at_ns=5))
    desk = world.desk(mode)
    await desk.restore()
    assert desk.stage is HaltStage.REQUESTED and await world.stored() == "requested"
    await desk._work()
    assert desk.stage is HaltStage.CLEAN


async def test_what_the_guard_holds_counts_too(world: World) -> None:
    desk = world.desk()
    await desk.restore()
    successor = world.desk()
    await successor.restore(at_guard=HaltMemory(is_halted=True, who="bert", reason="by hand", at_ns=2**62))
    assert successor.stage is HaltStage.REQUESTED


async def controls(world: World) -> list[tuple[str, str, str]]:
    entries = await world.bus.read_range(world.bus.keys.control)
    found = [decode_fields(entry.fields).message for entry in entries]
    return [(one.control_id, one.who, one.reason) for one in found if isinstance(one, Control)]


AT_GUARD = HaltMemory(is_halted=True, who="bert", reason="by hand", at_ns=2_000_000_000_000_000_000)
AS_TOLD = ("guard:2000000000000000000", "bert", "by hand (told to the guard at 2033-05-18T03:33:20.000000Z)")


async def test_a_halt_told_to_the_guard_is_written_into_control_once(world: World) -> None:
    desk = world.desk()
    await desk.restore()
    await desk._heed_guard()
    assert await controls(world) == []
    world.is_holding, world.latch = True, AT_GUARD
    for _ in range(2):
        await desk._heed_guard()
        await world.take(desk)
    assert desk.stage is HaltStage.HOLDING and await controls(world) == [AS_TOLD]
    successor = world.desk()
    await successor.restore(at_guard=AT_GUARD)
    await successor._heed_guard()
    assert await controls(world) == [AS_TOLD], "a successor finds the entry"


async def test_a_leader_that_dies_between_the_halt_and_its_entry_leaves_the_entry_to_the_next(world: World) -> None:
    desk = world.desk()
    await desk.restore(at_guard=AT_GUARD)
    assert await world.stored() == "requested" and await controls(world) == []
    successor = world.desk()
    await successor.restore(at_guard=AT_GUARD)
    await successor._heed_guard()
    assert await controls(world) == [AS_TOLD]


async def test_a_gateway_that_may_not_write_control_holds_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> str:
        raise Refused("BUS_NO_PERMISSION", "no permissions to access a key")

    desk = world.desk()
    await desk.restore()
    monkeypatch.setattr(world.bus, "append", refuse)
    world.is_holding, world.latch = True, AT_GUARD
    await desk._heed_guard()
    assert desk.stage is HaltStage.HOLDING and await controls(world) == []


async def test_a_latch_that_was_opened_meanwhile_or_is_our_own_makes_no_entry(world: World) -> None:
    desk = world.desk()
    await desk.restore()
    world.is_holding, world.latch = True, HaltMemory(is_halted=False, at_ns=9)
    await desk._heed_guard()
    assert desk.stage is HaltStage.NONE
    world.latch = HaltMemory(is_halted=True, who="guard", reason="its file is unreadable", at_ns=0)
    await desk._heed_guard()
    assert desk.stage is not HaltStage.NONE, "what the guard holds is shown"
    await desk._heed_guard()
    assert await controls(world) == []


async def test_an_unreadable_control_is_a_halt(world: World) -> None:
    desk = world.desk()
    await desk.restore()
    world.server.add(world.bus.keys.control, {"type": b"control", "body": b"\xff"})
    await world.take(desk)
    assert desk.stage is HaltStage.HOLDING and await world.bus.stream_length(world.bus.keys.dead_letter) == 1


async def test_a_dead_letter_that_a_full_redis_refuses_is_owed_by_whoever_leads(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise BusUnavailable("OOM command not allowed when used memory > 'maxmemory'.")

    desk = world.desk()
    await desk.restore()
    keep = world.bus.dead_letter
    monkeypatch.setattr(world.bus, "dead_letter", refuse)
    entry_id = world.server.add(world.bus.keys.control, {"type": b"control", "body": b"\xff"})
    await world.take(desk)
    assert desk.stage is HaltStage.HOLDING, "the halt does not wait for its dead letter"
    assert await desk._keep_unreadable() != ""

    successor = world.desk()
    await successor.restore()
    await world.tell(successor, ControlAction.RESUME)
    monkeypatch.setattr(world.bus, "dead_letter", keep)
    assert await successor._keep_unreadable() == "" and await successor._keep_unreadable() == ""
    kept = await world.bus.read_range(world.bus.keys.dead_letter)
    assert [each.fields[b"id"].decode() for each in kept] == [entry_id] and successor.stage is HaltStage.NONE

    third = world.desk()
    await third.restore()
    await third._keep_unreadable()
    assert await world.bus.stream_length(world.bus.keys.dead_letter) == 1


async def test_other_controls_are_passed_on_after_the_cursor_moved(world: World) -> None:
    desk = world.desk()
    await desk.restore()
    heard: list[tuple[ControlAction, str]] = []
    desk.on_other = lambda control: heard.append((control.action, control.scope))
    await world.tell(desk, ControlAction.HANDOVER)
    await world.tell(desk, ControlAction.ACCEPT_POSITION, "contract:1")
    await world.tell(desk, ControlAction.LIMITS)
    assert [action for action, _ in heard] == [
        ControlAction.HANDOVER, ControlAction.ACCEPT_POSITION, ControlAction.LIMITS,
    ]  # fmt: skip
    assert desk.stage is HaltStage.NONE
    cursor = (await world.bus.hash_get_all(world.bus.keys.halt))["cursor"].decode()
    assert cursor == await world.bus.last_id(world.bus.keys.control)
