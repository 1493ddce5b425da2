"""An adopted session cancels what is asked for, ours and shown as its own, under the lease and while halted only."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from services.gateway.core.book import Change, OrderBook
from services.gateway.core.evidence import BrokerOrder
from services.gateway.core.order_machine import OrderTrack
from services.gateway.ports import ClientIdInUse
from services.gateway.shell import adoption, apart
from services.gateway.shell.adoption import Adoption
from services.gateway.shell.apart import Apart
from services.gateway.shell.sending import Sending
from shared.clock import SYSTEM_CLOCK
from shared.errors import TimedOut
from shared.ids import IntentId, order_ref
from shared.messages.orders import OrderState, Side

REFS = [order_ref("sim", IntentId(20 * letter), 0) for letter in "abc"]


def shown(number: int, *, client_id: int = 101, status: str = "Submitted") -> BrokerOrder:
    return BrokerOrder(
        perm_id=900 + number, client_id=client_id, order_id=10 + number, account="DU1", con_id=1, side=Side.BUY,
        quantity=Decimal(1), order_type="LMT", status=status, order_ref=REFS[number], is_listed=True,
    )  # fmt: skip


class World:
    """The leader around an adoption, and the broker it talks to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.book = OrderBook("sim", "DU1")
        self.desk = self.trading = self
        self.is_halted, self.refusal = True, False
        self.resumed: set[str] = set()
        self.lists: list[BrokerOrder] = []
        self.opened: list[tuple[int, str]] = []
        self.cancelled: list[int] = []
        self.seen: list[tuple[str, bool]] = []
        """What sessions were asked, and whether orders could be sent then."""
        self.error: Exception = ClientIdInUse("326")
        self.closed = 0
        self.cancels: list[OrderTrack] = []
        self.asked_again: list[str] = []
        world: Any = self
        monkeypatch.setattr(apart, "IbSession", lambda *args, **more: Session(world, *args, **more))
        monkeypatch.setattr(adoption, "APART_S", 0.0)
        monkeypatch.setattr(adoption, "SETTLE_S", 0.1)
        self.sending, self.rounds = Sending(), 0
        self.apart = Apart(
            world, world, check_accounts=lambda _: "", sending=self.sending, is_holding=lambda: self.is_halted
        )
        self.adoption = Adoption(
            world, world, self.apart, has_lease=lambda: True,
            is_wanted_gone=lambda track: self.is_halted and track.strategy not in self.resumed,
            cancels=lambda: self.cancels,
        )  # fmt: skip

    endpoint, connect_limit_s, answer_limit_s, tws_time_zone = ("127.0.0.1", 1), 1.0, 1.0, ""

    def claim(self) -> str:
        return "claim"

    guard = ""

    def ask(self, reason: str) -> None:
        self.asked_again.append(reason)

    def publish(self, _change: Change) -> None:
        """Publish nothing: the book is what is looked at."""

    async def want(self, *numbers: int) -> None:
        """Ask for orders to be cancelled, and wait until the session is over."""
        known = [self.book.get(REFS[number]) for number in numbers]
        before = self.closed
        self.adoption.want([track for track in known if track is not None])
        task = asyncio.create_task(self.adoption.run())
        async with asyncio.timeout(5.0):
            while self.closed == before and self.is_halted and not (self.refusal and self.opened):
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def know(self, *numbers: int) -> list[OrderTrack]:
        for number in numbers:
            self.book.shown(shown(number), SYSTEM_CLOCK.wall_ns(), session=0)
        return [track for number in numbers if (track := self.book.get(REFS[number])) is not None]


class Session:
    """A session of another client id."""

    def __init__(self, world: World, client_id: int, listener: Any, *, options: str, time_zone: str) -> None:
        self.client_id, self.listener, self._world = client_id, listener, world
        self.accounts, self.is_open = ("DU1",), True
        world.opened.append((client_id, options + time_zone))

    async def open(self, _host: str, _port: int, *, limit_s: float) -> None:
        if self._world.refusal:
            raise self._world.error

    async def open_orders(self, *, limit_s: float) -> list[BrokerOrder]:
        assert limit_s
        self._world.seen.append(("open_orders", await may_send(self._world.sending)))
        return self._world.lists

    async def positions(self, *, limit_s: float) -> list[Any]:
        assert limit_s
        self._world.seen.append(("positions", await may_send(self._world.sending)))
        return []

    def cancel(self, order_id: int) -> None:
        self._world.seen.append(("cancel", self._world.sending._is_free.is_set()))
        self._world.cancelled.append(order_id)
        self.listener.order_shown(shown(order_id - 10, status="Cancelled"))

    async def close(self) -> None:
        self._world.closed += 1


async def test_what_is_asked_for_and_shown_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    first, second, third = world.know(0, 1, 2)
    world.lists = [shown(0), shown(1), shown(2, client_id=102)]
    await world.want(0, 2)
    assert world.opened == [(101, "claim")] and world.cancelled == [10], "of another id, or not asked for: left"
    assert first.state is OrderState.CANCELLED and second.is_open and third.is_open


async def test_nothing_is_begun_once_the_halt_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.know(0)
    world.lists, world.is_halted = [shown(0)], False
    await world.want(0)
    assert not world.opened and not world.cancelled


async def test_what_a_resume_of_its_strategy_spared_meanwhile_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    first, second = world.know(0, 1)
    second.strategy = "spared"
    world.lists, world.resumed = [shown(1), shown(0)], {"spared"}
    await world.want(0, 1)
    assert world.cancelled == [10] and second.is_open and first.cancel_sent_ns


async def test_two_halts_ask_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    first, _ = world.know(0, 1)
    world.lists = [shown(0), shown(1)]
    world.adoption.want([first])
    await world.want(1)
    assert world.cancelled == [10, 11]


async def test_an_id_in_use_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.know(0)
    world.lists, world.refusal = [shown(0)], True
    await world.want(0)
    await world.want(0)
    assert world.opened == [(101, "claim")] and not world.cancelled
    world.adoption._not_before_ns.clear()
    world.refusal = False
    await world.want(0)
    assert world.cancelled == [10]


async def may_send(sending: Sending) -> bool:
    """Return whether a command would have its turn now."""
    turn = sending.turn()
    try:
        async with asyncio.timeout(0):
            await turn.__aenter__()
    except TimeoutError:
        return False
    await turn.__aexit__(None, None, None)
    return True


async def test_behind_a_guard_positions_are_listed_before_anything_is_cancelled_and_orders_wait_until_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch)
    world.know(0)
    world.lists = [shown(0)]
    await world.want(0)
    assert world.seen == [("open_orders", True), ("cancel", True)], "without a guard nobody waits"
    world.seen.clear()
    world.guard = "guard:1"
    world.know(1)
    world.lists = [shown(1)]
    await world.want(1)
    assert world.seen == [("positions", False), ("open_orders", False), ("cancel", True)]
    assert not world.asked_again, "the guard knows what it knew before"


@pytest.mark.parametrize("error, is_asked", [(ClientIdInUse("326"), False), (TimedOut("no answer"), True)])
async def test_behind_a_guard_the_trading_session_lists_anew_what_a_failed_one_made_it_forget(
    monkeypatch: pytest.MonkeyPatch, error: Exception, *, is_asked: bool
) -> None:
    world = World(monkeypatch)
    world.know(0)
    world.lists, world.guard, world.refusal = [shown(0)], "guard:1", True
    world.error = error
    task = asyncio.create_task(world.want(0))
    async with asyncio.timeout(5.0):
        while not world.opened:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        assert bool(world.asked_again) is is_asked and await may_send(world.sending) is not is_asked
        world.rounds += 1
        while not await may_send(world.sending):
            await asyncio.sleep(0.001)
    await task


async def test_a_cancel_that_somebody_gave_is_looked_up_until_it_is_carried_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch)
    monkeypatch.setattr(adoption, "PAUSE_S", 0.01)
    (first,) = world.know(0)
    world.lists, world.cancels, world.refusal = [shown(0)], [first], True
    task = asyncio.create_task(world.adoption.run())
    async with asyncio.timeout(5.0):
        while len(world.opened) < 2:
            await asyncio.sleep(0.001)
        assert world.cancelled == [] and first.is_open, "the id is in use"
        world.refusal = False
        while first.is_open:
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert world.cancelled == [10] and first.state is OrderState.CANCELLED
