"""Risk's loops on the bus in memory: lost replies, earlier decisions, unreadable entries, lost leases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.risk.core.limits import Limits
from services.risk.shell.feed import Feed
from services.risk.shell.intents import CancelReader, IntentReader
from services.risk.shell.leadership import Leadership
from shared.bus.keys import Keys, Role
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import LeaseToken, LeaseView
from shared.clock import SYSTEM_CLOCK
from shared.errors import OutcomeUnknown
from shared.messages import decode_fields
from shared.messages.account import AccountSnapshot, AccountTag, PositionsComplete
from shared.messages.base import Message
from shared.messages.codec import encode_body
from shared.messages.control import BrokerStatus, Control, ControlAction, LinkState, Reconciled
from shared.messages.market import pack_ticks, quote_tick
from shared.messages.orders import CancelRequest, Decision, Intent
from tests.risk_desk import ACCOUNT, info, intent_of, limits_with, number_id
from tests.support import eventually


class UnsureBus(MemoryBus):
    """A bus whose next decisions are written, but whose replies are lost."""

    lost = 0
    slow_letters = False

    async def dead_letter(self, *args: Any, **values: Any) -> None:
        if self.slow_letters:
            await asyncio.sleep(0.01)
        await super().dead_letter(*args, **values)

    async def decide(self, *args: Any, **values: Any) -> bool:
        answer = await super().decide(*args, **values)
        if self.lost:
            self.lost -= 1
            raise OutcomeUnknown("the reply was lost")
        return answer


class Election:
    """An elector that the test decides for."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.token: LeaseToken | None = None
        self.over = asyncio.Event()
        self.wins = 0

    def has_lease(self) -> bool:
        return self.token is not None

    async def win(self) -> LeaseToken:
        while (seen := await self.bus.lease_view(Role.RISK)).owner:
            await asyncio.sleep(0.01)
        self.token = await self.bus.lease_acquire(Role.RISK, "r1", seen, at_least_epoch=0)
        assert self.token is not None
        self.over = asyncio.Event()
        self.wins += 1
        return self.token

    async def lost(self) -> str:
        await self.over.wait()
        return "the test said so"

    async def resign(self, reason: str) -> None:
        token, self.token = self.token, None
        if token is not None:
            await self.bus.lease_release(token)
        self.over.set()


class World:
    """One risk service, and a gateway played by the test."""

    def __init__(self, limits: Limits) -> None:
        self.bus = UnsureBus(MemoryServer(), Keys("sim"))
        self.keys = self.bus.keys
        self.election = Election(self.bus)
        lease = self.election.has_lease
        self.feed = Feed(self.bus, ACCOUNT, SYSTEM_CLOCK, instance="r1", is_leading=lease)
        intents = IntentReader(self.bus, SYSTEM_CLOCK, self.feed, limits, instance="r1", has_lease=lease)
        cancels = CancelReader(self.bus, SYSTEM_CLOCK, instance="r1", has_lease=lease)
        self.leadership = Leadership(self.bus, SYSTEM_CLOCK, self.election, self.feed, intents, cancels)
        self.gateway = LeaseToken(Role.GATEWAY, "", 0, "")

    async def open(self) -> None:
        token = await self.bus.lease_acquire(Role.GATEWAY, "g1", LeaseView(), at_least_epoch=0)
        assert token is not None
        self.gateway = token
        await self.bus.raise_fence(token)
        await self.bus.hash_set(self.keys.halt, {"stage": "none"})
        await self.bus.hash_set(self.keys.contracts, {"1": encode_body(info(1))})
        tags = (AccountTag(tag="BuyingPower", value="1000000", currency="USD"),)
        await self.say(self.keys.account, AccountSnapshot(account=ACCOUNT, currency="USD", values=tags))
        await self.say(self.keys.account, PositionsComplete(account=ACCOUNT))
        await self.reconcile()
        now_ns = SYSTEM_CLOCK.wall_ns()
        tick = quote_tick(1, now_ns, now_ns, 1, 99.99, 100, 100.01, 100)
        await self.bus.publish_ticks(token, [(self.keys.partition(1), pack_ticks([tick]))], source="gateway:g1")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Warm up, then run all loops until the end of the block."""
        await self.leadership.warm_up()
        loops: list[Callable[[], Awaitable[None]]] = [
            self.feed.run, self.feed.run_ticks, self.feed.run_snapshots, self.leadership.run,
        ]  # fmt: skip
        tasks = [asyncio.ensure_future(loop()) for loop in loops]
        yield
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result

    async def reconcile(self) -> None:
        status = BrokerStatus(instance="g1", state=LinkState.READY, is_leader=True, epoch=self.gateway.epoch)
        await self.say(self.keys.broker_status, status)
        message = Reconciled(instance="g1", epoch=self.gateway.epoch, incarnation=self.gateway.incarnation)
        await self.say(self.keys.broker_status, message)

    async def say(self, stream: str, message: Message) -> None:
        await self.bus.publish(self.gateway, [(stream, message)], source="gateway:g1")

    def intent(self, number: int, quantity: object = 10, **values: Any) -> Intent:
        now_ns = SYSTEM_CLOCK.wall_ns()
        fields = {"incarnation": self.gateway.incarnation, "valid_until_ns": now_ns + 30 * 10**9, "ts_init_ns": now_ns}
        return intent_of(number, "BUY", quantity, **{**fields, **values})

    async def answer(self, intent: Intent) -> Decision:
        await self.bus.append(self.keys.intents, intent, source="test")
        return await self.answered(int(intent.intent_id))

    async def answered(self, number: int) -> Decision:
        def found() -> Decision | None:
            for entry in self.bus._server.streams.get(self.keys.decisions, []):
                message = decode_fields(entry.fields).message
                if isinstance(message, Decision) and message.intent_id == number_id(number):
                    return message
            return None

        answer: Decision = await eventually(found)
        return answer

    def length(self, stream: str) -> int:
        return len(self.bus._server.streams.get(stream, []))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(limits_with(position_quantity_max=100))
    await made.open()
    async with made.running():
        yield made


async def test_a_decision_whose_reply_was_lost_is_written_once_and_stays_reserved(world: World) -> None:
    world.bus.lost = 2
    assert (await world.answer(world.intent(1, 60))).approved
    assert (await world.answer(world.intent(2, 41))).code == "RISK_POSITION_MAX"
    assert world.length(world.keys.commands) == 1 and world.length(world.keys.decisions) == 2


async def test_an_intent_that_was_refused_before_is_not_reserved_when_asked_again(world: World) -> None:
    big = world.intent(1, 60)
    assert (await world.answer(world.intent(2, 60))).approved
    assert not (await world.answer(big)).approved
    world.feed.book.release(world.intent(2, 60))  # as if the first had ended: now there would be room
    await world.bus.append(world.keys.intents, big, source="test")
    assert (await world.answer(world.intent(3, 100))).approved, "the refused one must not take room"
    assert world.length(world.keys.decisions) == 3


async def test_an_unreadable_fill_stops_entries_until_the_gateway_reconciles_again(world: World) -> None:
    world.bus._server.add(world.keys.fills, {"type": b"fill", "body": b"\xc1"})
    refused = await world.answer(world.intent(1))
    assert refused.code == "RISK_NOT_READY" and "fills" in refused.text
    assert world.length(world.keys.dead_letter) == 1
    await world.reconcile()
    assert (await world.answer(world.intent(2))).approved


async def test_an_unreadable_entry_of_control_halts_until_a_person_resumes(world: World) -> None:
    """The gateway halts on it too and does not reconcile again: its resume alone must be enough (P10)."""
    world.bus._server.add(world.keys.control, {"type": b"control", "body": b"\xc1"})
    refused = await world.answer(world.intent(1))
    assert refused.code == "RISK_HALTED" and "could not be read" in refused.text
    await world.reconcile()
    assert (await world.answer(world.intent(2))).code == "RISK_HALTED"
    resume = Control(control_id="r", action=ControlAction.RESUME, who="ann", reason="it was garbage")
    await world.bus.append(world.keys.control, resume, source="test")
    assert (await world.answer(world.intent(3))).approved


async def test_unreadable_intents_are_answered_where_their_author_is_known(world: World) -> None:
    world.bus._server.add(world.keys.intents, {"type": b"intent", "id": number_id(1).encode(), "body": b"\xc1"})
    world.bus._server.add(world.keys.intents, {"nonsense": b""})
    world.bus._server.add(world.keys.intents, {"type": b"cancel", "id": b"short", "body": b"\x80"})
    assert (await world.answer(world.intent(2))).approved
    assert (await world.answered(1)).code == "RISK_MALFORMED"
    assert world.length(world.keys.dead_letter) == 3


async def test_cancels_pass_once_each_also_unreadable_ones_in_between(world: World) -> None:
    for name in ("a", "b"):
        cancel = CancelRequest(cancel_id=name, intent_id=number_id(9))
        await world.bus.append(world.keys.cancels, cancel, source="test")
        world.bus._server.add(world.keys.cancels, {"type": b"cancel", "body": b"\xc1"})
    await eventually(lambda: world.length(world.keys.dead_letter) == 2)
    assert world.length(world.keys.cancel_commands) == 2


async def test_a_lost_lease_stops_decisions_and_the_next_term_forgets_nothing(world: World) -> None:
    assert (await world.answer(world.intent(1, 60))).approved
    await world.election.resign("a test")
    await eventually(lambda: world.election.wins == 2)
    assert (await world.answer(world.intent(2, 41))).code == "RISK_POSITION_MAX"
    assert (await world.answer(world.intent(3, 40))).approved
    assert world.length(world.keys.commands) == 2
    assert world.feed.book.epoch == world.leadership.token.epoch if world.leadership.token else False


async def test_intents_of_another_incarnation_are_never_approved(world: World) -> None:
    assert (await world.answer(world.intent(1, incarnation="0"))).code == "RISK_INCARNATION"


async def test_a_burst_is_decided_in_order_and_completely(world: World) -> None:
    for number in range(1, 301):
        await world.bus.append(world.keys.intents, world.intent(number, 1), source="test")
    await world.answered(300)
    approved = [
        message
        for message in (decode_fields(e.fields).message for e in world.bus._server.streams[world.keys.decisions])
        if isinstance(message, Decision)
    ]
    assert [one.intent_id for one in approved] == [number_id(n) for n in range(1, 301)]
    assert sum(one.approved for one in approved) == 100


async def test_two_readers_of_one_book_keep_an_unreadable_entry_once(world: World) -> None:
    """`run` and the reader of intents may both be at it: the second must not find the list empty under its feet."""
    world.bus.slow_letters = True
    for _ in range(3):
        world.bus._server.add(world.keys.account, {"type": b"position", "body": b"\xc1"})
    found = await world.bus.read(world.feed.cursors)
    await asyncio.gather(*[world.feed._apply_all({name: list(rows) for name, rows in found.items()}) for _ in range(3)])
    await eventually(lambda: world.length(world.keys.dead_letter) == 3)
    assert (await world.answer(world.intent(1))).approved
