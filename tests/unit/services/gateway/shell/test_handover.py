"""What a hand-over waits for before it gives the lease up, and what it does not wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from services.gateway.core.book import OrderBook
from services.gateway.core.order_machine import OrderTrack
from services.gateway.shell import handover as module
from services.gateway.shell.handover import DRAIN_S, ECHO_S, HandedOver, Handover
from shared.clock import NS_PER_S, SYSTEM_CLOCK
from shared.ids import IntentId, order_ref
from shared.messages.control import Control, ControlAction
from shared.messages.orders import OrderState, Side

DEP = "sim:sim:DU1"
IID = IntentId("abcdefghij234567abcd")


class Standbys:
    """Another gateway is there, or not."""

    def __init__(self, *, is_ready: bool = True) -> None:
        self.is_ready = is_ready

    async def is_one_ready(self) -> bool:
        return self.is_ready


class Session:
    """A session with the broker."""

    is_open = True
    unsent_bytes = 0


class Leader:
    """What a leader has under way, and its hand-over."""

    def __init__(self, *, is_standby_ready: bool = True) -> None:
        self.book = OrderBook(DEP, "DU1")
        self.sending = asyncio.Lock()
        self.session: Session | None = Session()
        self.opened_ns = SYSTEM_CLOCK.monotonic_ns() - 10 * NS_PER_S
        self.waiting = 0
        self.is_flushed = asyncio.Event()
        self.is_flushed.set()
        self.standbys = Standbys(is_ready=is_standby_ready)
        self.handover = Handover(cast(Any, self.standbys), began_wall_ns=5)

    async def flushed(self) -> None:
        await self.is_flushed.wait()

    def sent(self, ago_s: float, leg: int = 0) -> OrderTrack:
        """Have an order that was sent so long ago, and was not shown since."""
        track = OrderTrack(
            order_ref=order_ref(DEP, IID, leg), intent_id=IID, leg=leg, strategy="demo", account="DU1", con_id=1,
            side=Side.BUY, quantity=Decimal(1), order_type="MKT", state=OrderState.CLAIMED,
            sent_ns=SYSTEM_CLOCK.monotonic_ns() - int(ago_s * NS_PER_S),
        )  # fmt: skip
        self.book.put(track)
        return track

    def shown(self, track: OrderTrack) -> None:
        """Let the broker show an order."""
        track.state = OrderState.WORKING

    @asynccontextmanager
    async def leaving(self) -> AsyncIterator[asyncio.Task[None]]:
        """Hand over because the process stops."""
        self.handover.stop()
        run = self.handover.run(cast(Any, self), cast(Any, self), cast(Any, self), self.book)
        task = asyncio.create_task(run)
        yield task
        with pytest.raises(HandedOver):
            await task


async def is_over(task: asyncio.Task[None], within_s: float = 1.0) -> bool:
    await asyncio.wait([task], timeout=within_s)
    return task.done()


@pytest.fixture
def leader() -> Leader:
    return Leader()


@pytest.fixture
def log() -> Iterator[list[Any]]:
    """What is logged."""
    with capture_logs() as found:
        yield found


async def test_with_nothing_under_way_it_is_over_at_once_and_no_order_is_claimed_any_more(leader: Leader) -> None:
    async with leader.leaving() as task:
        assert await is_over(task)
    assert leader.sending.locked(), "what comes to be claimed now would be sent by a gateway that has left"


async def test_it_waits_until_the_broker_shows_what_was_sent_on_this_session(leader: Leader) -> None:
    track = leader.sent(0.001)
    async with leader.leaving() as task:
        assert not await is_over(task, 0.05), "the successor would find an order in doubt"
        leader.shown(track)
        assert await is_over(task)


async def test_what_an_earlier_session_took_and_never_showed_is_not_waited_for(leader: Leader, log: list[Any]) -> None:
    """The broker cut the session an order had just been written to: only the answer to the whole day settles it."""
    leader.sent(0.002)
    leader.opened_ns = SYSTEM_CLOCK.monotonic_ns() - NS_PER_S // 1000
    async with leader.leaving() as task:
        assert await is_over(task, 0.1)
    assert [one["unechoed"] for one in log if one["event"] == "handover.drained"] == [[]]


async def test_an_echo_is_waited_for_only_so_long_since_the_order_was_sent(leader: Leader, log: list[Any]) -> None:
    """It may stand behind the answer to a whole day; the successor asks for what works and what was executed."""
    long_ago, now = leader.sent(5.0, leg=0), leader.sent(0.001, leg=1)
    began_ns = SYSTEM_CLOCK.monotonic_ns()
    async with leader.leaving() as task:
        assert await is_over(task)
    took_s = (SYSTEM_CLOCK.monotonic_ns() - began_ns) / NS_PER_S
    assert ECHO_S / 2 < took_s < DRAIN_S
    assert not [one for one in log if one["event"] == "handover.not_drained"]
    assert [one["unechoed"] for one in log if one["event"] == "handover.drained"] == [[long_ago.key, now.key]]


async def test_what_takes_too_long_is_left(leader: Leader, monkeypatch: pytest.MonkeyPatch, log: list[Any]) -> None:
    monkeypatch.setattr(module, "DRAIN_S", 0.1)
    leader.waiting = 7
    leader.is_flushed.clear()
    async with leader.leaving() as task:
        assert await is_over(task)
    assert [one["entries"] for one in log if one["event"] == "handover.not_drained"] == [7]


@pytest.mark.parametrize("what", ["no session", "a closed one"])
async def test_without_a_session_no_word_of_the_broker_is_waited_for(leader: Leader, what: str) -> None:
    leader.sent(0.001)
    if what == "no session":
        leader.session, leader.opened_ns = None, 0
    else:
        cast(Any, leader.session).is_open = False
    async with leader.leaving() as task:
        assert await is_over(task)


async def test_bytes_that_the_socket_has_not_taken_are_waited_for(leader: Leader) -> None:
    assert leader.session is not None
    leader.session.unsent_bytes = 100
    async with leader.leaving() as task:
        assert not await is_over(task, 0.05)
        leader.session.unsent_bytes = 0
        assert await is_over(task)


async def test_a_claim_under_way_is_waited_for_and_so_is_what_was_said(leader: Leader) -> None:
    await leader.sending.acquire()
    leader.is_flushed.clear()
    async with leader.leaving() as task:
        assert not await is_over(task, 0.05)
        leader.sending.release()
        assert not await is_over(task, 0.05)
        leader.is_flushed.set()
        assert await is_over(task)


async def test_an_operator_needs_a_standby_and_a_stop_does_not(log: list[Any]) -> None:
    leader = Leader(is_standby_ready=False)
    leader.handover.ask(Control(ts_init_ns=9, control_id="c", action=ControlAction.HANDOVER, who="anna", reason="test"))
    run = leader.handover.run(cast(Any, leader), cast(Any, leader), cast(Any, leader), leader.book)
    task = asyncio.create_task(run)
    assert not await is_over(task, 0.05)
    assert [one["who"] for one in log if one["event"] == "handover.refused"] == ["anna"]
    leader.handover.stop()
    with pytest.raises(HandedOver):
        await task


async def test_what_was_asked_of_a_predecessor_is_not_done_again(leader: Leader) -> None:
    control = Control(ts_init_ns=4, control_id="c", action=ControlAction.HANDOVER, who="anna", reason="test")
    leader.handover.ask(control)
    run = leader.handover.run(cast(Any, leader), cast(Any, leader), cast(Any, leader), leader.book)
    task = asyncio.create_task(run)
    assert not await is_over(task, 0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
