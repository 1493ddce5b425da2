"""Halts of a strategy or a contract: stored where the claim looks, held by the guard, recalled, opened."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.gateway.core.book import OrderBook
from services.gateway.core.halt_memory import HaltMemory
from services.gateway.core.order_machine import OrderTrack
from services.gateway.shell.halt import HaltDesk
from services.gateway.shell.halt_file import HaltFile
from shared.bus.keys import Keys
from shared.bus.latches import latches_in
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.ids import IntentId, order_ref
from shared.messages.control import Control, ControlAction, HaltStage
from shared.messages.orders import OrderEvent, OrderState, Side
from shared.settings import Mode


class World:
    """A halt desk's surroundings: a bus, a disk, a guard that answers or not."""

    def __init__(self, directory: Path) -> None:
        self.bus = MemoryBus(MemoryServer(), Keys("sim"))
        self.file = HaltFile(directory, "sim")
        self.sending = asyncio.Lock()
        self.can_send, self.session, self.client_id, self.opened_ns = True, None, 101, 1
        self.guard_answers = True
        self.is_holding = False
        self.at_guard: set[int] = set()
        self.book = OrderBook("sim", "DU1")
        self.cancelled: list[str] = []

    async def desk(self) -> HaltDesk:
        world: Any = self
        desk = HaltDesk(
            self.bus, world, self.book, world, world, world, mode=Mode.SIM, source="gateway:a",
            file=self.file, has_lease=lambda: True,
        )  # fmt: skip
        await desk.restore()
        return desk

    def works(self, letter: str, client_id: int, **more: Any) -> OrderTrack:
        """Have the book know of a working order under a client id."""
        intent_id = IntentId(20 * letter)
        event = OrderEvent(
            ts_init_ns=1, intent_id=intent_id, order_ref=order_ref("sim", intent_id, 0), account="DU1", side=Side.BUY,
            quantity=Decimal(1), order_type="LMT", client_id=client_id,
            **{"strategy": "s", "con_id": 1, "state": OrderState.WORKING, **more},
        )  # fmt: skip
        self.book.restore(event)
        return self.book.of_intent(intent_id, 0)[0]

    async def cancel(self, track: OrderTrack, _reason: str) -> bool:
        self.cancelled.append(track.order_ref)
        track.cancel_sent_ns = 1 << 62
        return True

    def put(self, _stream: str, message: Any) -> None:
        """Take what is shown."""

    async def halt(self, _who: str, _reason: str) -> bool:
        return self.guard_answers

    async def resume(self, _who: str, _reason: str) -> bool:
        return self.guard_answers

    async def halt_contract(self, con_id: int, _who: str, _reason: str) -> bool:
        if self.guard_answers:
            self.at_guard.add(con_id)
        return self.guard_answers

    async def resume_contract(self, con_id: int, _who: str, _reason: str) -> bool:
        if self.guard_answers:
            self.at_guard.discard(con_id)
        return self.guard_answers

    async def tell(self, desk: HaltDesk, action: ControlAction, scope: str) -> None:
        await self.bus.append(
            self.bus.keys.control, Control(control_id="c", action=action, who="anna", scope=scope), source="t"
        )
        await desk._catch_up()

    async def stored(self) -> dict[str, str]:
        return {name: value.decode() for name, value in (await self.bus.hash_get_all(self.bus.keys.halt)).items()}

    async def latches(self) -> dict[str, str]:
        return latches_in(await self.stored())


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_each_is_set_by_its_act_and_opened_by_the_resume_of_the_same_scope_alone(world: World) -> None:
    desk = await world.desk()
    await world.tell(desk, ControlAction.HALT, "strategy:s")
    await world.tell(desk, ControlAction.PAUSE_STRATEGY, "strategy:s")
    await world.tell(desk, ControlAction.FLATTEN, "contract:7")
    shown = await world.latches()
    assert list(shown) == ["halt:strategy:s", "pause:strategy:s", "halt:contract:7"]
    assert all(text == "holding anna: no reason given" for text in shown.values()) and world.at_guard == {7}
    await world.tell(desk, ControlAction.RESUME, "account")
    await world.tell(desk, ControlAction.RESUME_STRATEGY, "strategy:s")
    assert list(await world.latches()) == ["halt:strategy:s", "halt:contract:7"]
    await world.tell(desk, ControlAction.RESUME, "contract:7")
    await world.tell(desk, ControlAction.RESUME, "strategy:s")
    assert not await world.latches() and not world.at_guard and desk.stage is HaltStage.NONE


async def test_it_waits_for_what_is_between_a_claim_and_the_socket(world: World) -> None:
    desk = await world.desk()
    await world.sending.acquire()
    halting = asyncio.create_task(world.tell(desk, ControlAction.HALT, "strategy:s"))
    await asyncio.sleep(0.01)
    assert not await world.latches()
    world.sending.release()
    await halting
    assert await world.latches()


async def test_a_strategy_is_said_to_hold_once_what_was_sent_is_shown(world: World) -> None:
    desk = await world.desk()
    sent = world.works("a", 101, state=OrderState.CLAIMED)
    sent.sent_ns = 2
    await world.tell(desk, ControlAction.HALT, "strategy:s")
    await desk.latches.work(None)
    assert (await world.latches())["halt:strategy:s"] == "requested anna: no reason given"
    world.works("a", 101)
    await desk.latches.work(None)
    assert (await world.latches())["halt:strategy:s"] == "holding anna: no reason given"


async def test_a_contract_is_said_to_hold_once_the_guard_holds_and_stays_held_until_it_opens(world: World) -> None:
    desk = await world.desk()
    world.guard_answers = False
    await world.tell(desk, ControlAction.HALT, "contract:7")
    assert (await world.latches())["halt:contract:7"].startswith("requested")
    world.guard_answers = True
    await desk.latches.work(None)
    assert (await world.latches())["halt:contract:7"].startswith("holding") and world.at_guard == {7}
    world.guard_answers = False
    await world.tell(desk, ControlAction.RESUME, "contract:7")
    assert (await world.latches())["halt:contract:7"].startswith("holding")
    successor = await world.desk()
    assert (await world.latches())["halt:contract:7"].startswith("requested")
    world.guard_answers = True
    await successor.latches.work(None)
    assert (await world.latches())["halt:contract:7"].startswith("holding")


@pytest.mark.parametrize("loses_control", [True, False])
async def test_what_redis_lost_is_recalled_from_the_disk(world: World, loses_control: bool) -> None:
    desk = await world.desk()
    await world.tell(desk, ControlAction.HALT, "strategy:s")
    await world.tell(desk, ControlAction.HALT, "contract:7")
    await world.tell(desk, ControlAction.RESUME, "contract:7")
    await world.bus.hash_delete(world.bus.keys.halt, list(await world.stored()))
    if loses_control:
        world.bus._server.streams.clear()
    await world.desk()
    assert list(await world.latches()) == ["halt:strategy:s"]


async def test_the_later_word_of_redis_counts_and_an_older_releases_disk_says_nothing(world: World) -> None:
    desk = await world.desk()
    await world.tell(desk, ControlAction.HALT, "strategy:s")
    world.file.keep(HaltMemory(is_halted=False, at_ns=1 << 62))
    await world.desk()
    assert list(await world.latches()) == ["halt:strategy:s"]


async def test_a_flatten_of_the_account_holds_it_and_one_during_a_halt_changes_nothing(world: World) -> None:
    desk = await world.desk()
    await world.tell(desk, ControlAction.FLATTEN, "account")
    assert desk.stage is HaltStage.HOLDING
    await desk._work()
    await world.tell(desk, ControlAction.FLATTEN, "account")
    assert desk.stage is HaltStage.HOLDING or desk.stage is HaltStage.CLEAN
    await world.tell(desk, ControlAction.RESUME, "account")
    assert (await world.stored())["stage"] == "none"


async def test_orders_under_another_client_id_are_handed_on_and_not_once_they_were_cancelled(world: World) -> None:
    desk = await world.desk()
    own, foreign, other = world.works("a", 101), world.works("b", 102), world.works("c", 102, strategy="t")
    in_contract, closing = world.works("d", 102, strategy="t", con_id=7), world.works("e", 102, is_reducing=True)
    await world.tell(desk, ControlAction.HALT, "strategy:s")
    await world.tell(desk, ControlAction.HALT, "contract:7")
    assert await desk.latches.work(None) == [foreign, in_contract] and world.cancelled == [own.order_ref]
    assert desk.is_wanted_gone(foreign) and not desk.is_wanted_gone(other)
    foreign.cancel_sent_ns = 1 << 62
    assert await desk.latches.work(None) == [in_contract]
    await world.tell(desk, ControlAction.RESUME, "contract:7")
    assert await desk.latches.work(None) == [] and not desk.is_wanted_gone(in_contract) and closing.is_open


async def test_what_claims_noted_of_entries_that_are_read_by_now_is_cleared_away(world: World) -> None:
    desk = await world.desk()
    await world.tell(desk, ControlAction.PAUSE_STRATEGY, "strategy:s")
    await world.tell(desk, ControlAction.RESUME_STRATEGY, "strategy:s")
    await world.bus.hash_set(world.bus.keys.halt, {"waits:pause:strategy:s": "1-1"})
    assert "pause:strategy:s" in await world.stored()
    await world.desk()
    assert not [name for name in await world.stored() if ":" in name]
