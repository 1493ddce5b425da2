"""Retention trims, risk restarts: working orders, positions, halts and readiness are still known."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from services.risk.core import messages
from services.risk.core.decide import decide
from services.risk.core.exposure import Book
from services.risk.shell.feed import Feed
from services.risk.shell.restore import restore
from services.risk.shell.snapshots import Snapshots
from shared.bus.keys import Keys, Role
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import LeaseToken, LeaseView
from shared.clock import SYSTEM_CLOCK
from shared.errors import Refused
from shared.messages.account import AccountSnapshot, AccountTag, PositionReport, PositionsComplete
from shared.messages.base import Message
from shared.messages.codec import encode_body
from shared.messages.control import BrokerStatus, Control, ControlAction, LinkState, Reconciled
from shared.messages.market import pack_ticks, quote_tick
from shared.messages.orders import Fill, Intent, OrderEvent, OrderState, Side
from tests.risk_desk import ACCOUNT, D, cancel_of, command_of, event_of, info, intent_of, limits_with, number_id

LIMITS = limits_with(position_quantity_max=100)


class House:
    """A deployment whose gateway and retention are played by the test."""

    def __init__(self) -> None:
        self.bus = MemoryBus(MemoryServer(), Keys("sim"))
        self.keys = self.bus.keys
        self.gateway = LeaseToken(Role.GATEWAY, "", 0, "")
        self.risk = self.gateway

    async def open(self) -> None:
        for role, owner in ((Role.GATEWAY, "g1"), (Role.RISK, "r1")):
            token = await self.bus.lease_acquire(role, owner, LeaseView(), at_least_epoch=0)
            assert token is not None
            await self.bus.raise_fence(token)
            self.gateway, self.risk = (token, self.risk) if role == Role.GATEWAY else (self.gateway, token)
        epoch = self.gateway.epoch
        await self.bus.hash_set(self.keys.halt, {"stage": "none"})
        await self.bus.hash_set(self.keys.contracts, {"1": encode_body(info(1))})
        tags = (AccountTag(tag="BuyingPower", value="1000000", currency="USD"),)
        await self.bus.hash_set(self.keys.account_values, {"BuyingPower:USD": "1000000"})
        await self.say(self.keys.account, AccountSnapshot(account=ACCOUNT, currency="USD", values=tags))
        await self.say(self.keys.account, PositionsComplete(account=ACCOUNT))
        await self.say(
            self.keys.broker_status, BrokerStatus(instance="g1", state=LinkState.READY, is_leader=True, epoch=epoch)
        )
        await self.say(
            self.keys.broker_status, Reconciled(instance="g1", epoch=epoch, incarnation=self.gateway.incarnation)
        )
        now_ns = SYSTEM_CLOCK.wall_ns()
        tick = quote_tick(1, now_ns, now_ns, 1, 99.99, 100, 100.01, 100)
        batch = (self.keys.partition(1), pack_ticks([tick]))
        await self.bus.publish_ticks(self.gateway, [batch], source="gateway:g1")

    async def say(self, stream: str, message: Message) -> None:
        token = self.risk if stream in (self.keys.commands, self.keys.control) else self.gateway
        await self.bus.publish(token, [(stream, message)], source="test")

    async def order(self, number: int, event: OrderEvent) -> None:
        await self.say(self.keys.orders, event)
        name = f"ref{number}"
        if event.state.is_final:
            await self.bus.hash_delete(self.keys.open_orders, [name])
        else:
            await self.bus.hash_set(self.keys.open_orders, {name: encode_body(event)})

    async def fill(self, number: int, quantity: int, *, strategy: str = "s") -> None:
        exec_id = f"{number}.01.01"
        await self.say(
            self.keys.fills,
            Fill(
                exec_id=exec_id, exec_stem=f"{number}.01", intent_id=number_id(number), strategy=strategy,
                account=ACCOUNT, con_id=1, side=Side.BUY, quantity=D(quantity), price=D(100),
            ),
        )  # fmt: skip

    async def position(self, quantity: int) -> None:
        message = PositionReport(account=ACCOUNT, con_id=1, currency="USD", position=D(quantity), average_cost=D(100))
        await self.say(self.keys.account, message)
        await self.bus.hash_set(self.keys.positions, {"1": encode_body(message)})

    async def trade(self) -> None:
        """A strategy holds 30, an order of 20 works, one is only approved, a contract and a strategy are stopped."""
        await self.say(self.keys.commands, command_of(self.intent(1, 30)))
        await self.order(1, event_of(1, OrderState.FILLED, quantity=30, order_ref="ref1"))
        await self.fill(1, 30)
        await self.position(30)
        await self.say(self.keys.commands, command_of(self.intent(2, 20)))
        await self.order(2, event_of(2, OrderState.WORKING, quantity=20, order_ref="ref2"))
        halt = Control(control_id="c", action=ControlAction.HALT, scope="contract:9", who="me", reason="why")
        await self.say(self.keys.control, halt)

    def intent(self, number: int, quantity: int, side: str = "BUY") -> Intent:
        now_ns = SYSTEM_CLOCK.wall_ns()
        return intent_of(
            number, side, quantity, incarnation=self.gateway.incarnation, valid_until_ns=now_ns + 30 * 10**9
        )

    async def trim_all(self) -> None:
        """Trim every stream to nothing: more than retention, which leaves the newest entry."""
        streams = (self.keys.commands, self.keys.orders, self.keys.fills, self.keys.account, self.keys.control)
        for stream in (*streams, self.keys.broker_status):
            await self.bus.trim(stream, before=f"{SYSTEM_CLOCK.wall_ns() // 10**6 + 10_000}-0")

    def feed(self) -> Feed:
        return Feed(self.bus, ACCOUNT, SYSTEM_CLOCK, instance="r", is_leading=lambda: True)

    async def restarted(self) -> Book:
        feed = self.feed()
        await restore(feed, self.bus, self.risk, SYSTEM_CLOCK, is_warm=False)
        return feed.book

    async def snapshot(self) -> Feed:
        feed = self.feed()
        await restore(feed, self.bus, self.risk, SYSTEM_CLOCK, is_warm=False)
        assert await Snapshots(self.bus, SYSTEM_CLOCK, feed, is_deciding=lambda: True).write()
        return feed

    def room(self, book: Book) -> int:
        """Return the largest buy that is approved now."""
        now_ns = SYSTEM_CLOCK.wall_ns()
        approved = [
            size for size in range(1, 102) if decide(self.intent(99, size), book, LIMITS, now_ns).command is not None
        ]
        return max(approved, default=0)


@pytest.fixture
async def house() -> House:
    made = House()
    await made.open()
    return made


async def test_nothing_trimmed_and_no_snapshot(house: House) -> None:
    await house.trade()
    assert house.room(await house.restarted()) == 50


async def test_everything_trimmed_after_a_snapshot(house: House) -> None:
    await house.trade()
    await house.snapshot()
    await house.trim_all()
    book = await house.restarted()
    assert house.room(book) == 50
    assert book.contract(1).by_strategy == {"s": D(30)}, "the position is still the strategy's own"
    assert book.breakers.halted(9, "s"), "a halt of one contract is in no hash"


async def test_what_came_after_the_snapshot_is_read_although_its_start_is_trimmed(house: House) -> None:
    await house.trade()
    await house.snapshot()
    await house.trim_all()
    await house.order(2, event_of(2, OrderState.FILLED, quantity=20, order_ref="ref2"))
    await house.fill(2, 20)
    await house.position(50)
    await house.say(house.keys.commands, command_of(house.intent(3, 7)))
    book = await house.restarted()
    assert book.contract(1).by_strategy == {"s": D(50)} and book.contract(1).differs_since_ns == 0
    assert house.room(book) == 43


async def test_everything_trimmed_and_no_snapshot_is_made_up_from_the_hashes(house: House) -> None:
    await house.trade()
    await house.trim_all()
    book = await house.restarted()
    assert house.room(book) == 0, "no RECONCILED is known: nothing is approved before the gateway says so again"
    await house.say(
        house.keys.broker_status,
        Reconciled(instance="g1", epoch=house.gateway.epoch, incarnation=house.gateway.incarnation),
    )
    book = await house.restarted()
    assert book.buying_power == 1_000_000 and book.sums.base_currency == "USD"
    assert book.contract(1).total == 30 and book.open_orders == 1
    assert house.room(book) == 50
    closing = decide(house.intent(98, 30, "SELL"), book, LIMITS, SYSTEM_CLOCK.wall_ns())
    assert closing.decision.approved and closing.decision.is_reducing


async def test_an_approval_whose_outcome_was_trimmed_does_not_work_for_ever(house: House) -> None:
    await house.say(house.keys.commands, command_of(house.intent(1, 30)))
    await house.order(1, event_of(1, OrderState.CANCELLED, quantity=30, order_ref="ref1"))
    await house.bus.trim(house.keys.orders, before=f"{SYSTEM_CLOCK.wall_ns() // 10**6 + 10_000}-0")
    await SYSTEM_CLOCK.sleep(0.01)
    await house.order(2, event_of(2, OrderState.WORKING, quantity=20, order_ref="ref2"))
    await house.say(house.keys.commands, command_of(house.intent(3, 5)))
    book = await house.restarted()
    assert house.room(book) == 75, "order 2 works, 3 is only approved, 1 has ended"


async def test_an_unreadable_open_order_stops_entries(house: House) -> None:
    await house.trade()
    await house.trim_all()
    await house.bus.hash_set(house.keys.open_orders, {"ref2": b"\xc1"})
    assert "ref2" in (await house.restarted()).readiness.unsafe


@pytest.mark.parametrize("broken", [b"\xc1", b"\x80", b"text"])
async def test_a_snapshot_that_cannot_be_read_is_left_alone(house: House, broken: bytes) -> None:
    await house.trade()
    await house.bus.set_text(house.keys.risk_book, broken)
    assert house.room(await house.restarted()) == 50


async def test_a_snapshot_ahead_of_its_streams_is_left_alone(house: House) -> None:
    await house.trade()
    await house.snapshot()
    stored = await house.bus.get_text(house.keys.risk_book)
    assert stored is not None
    snapshot = msgpack.unpackb(stored)
    snapshot["cursors"][house.keys.orders] = "99999999999999-0"
    snapshot["contracts"] = []
    await house.bus.set_text(house.keys.risk_book, msgpack.packb(snapshot))
    assert (await house.restarted()).contract(1).total == 30, "read from the streams"


async def test_no_snapshot_holds_an_approval_that_was_not_written(house: House) -> None:
    await house.trade()
    feed = await house.snapshot()
    writer = Snapshots(house.bus, SYSTEM_CLOCK, feed, is_deciding=lambda: True)
    before = await house.bus.get_text(house.keys.risk_book)
    unwritten = house.intent(5, 9)
    feed.book.reserve(unwritten, SYSTEM_CLOCK.wall_ns(), (1e9, 1e9, 1e9, 1e9))
    assert not await writer.write() and await house.bus.get_text(house.keys.risk_book) == before
    await house.say(house.keys.commands, command_of(unwritten))
    await feed.catch_up()
    assert await writer.write() and await house.bus.get_text(house.keys.risk_book) != before
    assert house.room(await house.restarted()) == 41
    idle = Snapshots(house.bus, SYSTEM_CLOCK, feed, is_deciding=lambda: False)
    await house.bus.set_text(house.keys.risk_book, b"kept")
    assert await idle.write() and await house.bus.get_text(house.keys.risk_book) == b"kept"


async def test_a_warm_standby_that_read_everything_has_no_gap(house: House) -> None:
    await house.trade()
    feed = house.feed()
    await feed.rebuild(house.risk.incarnation, 0)
    await feed.catch_up()
    await house.position(90)  # not yet explained by a fill: must not be given to `unassigned`
    await feed.catch_up()
    await house.trim_all()
    await restore(feed, house.bus, house.risk, SYSTEM_CLOCK, is_warm=True)
    assert feed.book.contract(1).by_strategy == {"s": D(30)}


async def test_a_redis_user_that_may_not_write_the_snapshot_stops_nothing(house: House) -> None:
    class Strict(MemoryBus):
        async def set_text(self, *args: Any, **values: Any) -> None:
            raise Refused("BUS_REFUSED", "NOPERM")

    feed = await house.snapshot()
    strict = Strict(house.bus._server, house.keys)
    feed.cursors = {**feed.cursors, house.keys.control: "1-0"}
    assert await Snapshots(strict, SYSTEM_CLOCK, feed, is_deciding=lambda: True).write()


async def test_a_successor_counts_the_messages_of_the_last_second(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "WINDOW_NS", 3600 * 10**9)  # on a slow machine a second would be over
    await house.say(house.keys.commands, command_of(house.intent(1, 30)))
    await house.say(house.keys.cancel_commands, cancel_of(1))
    first = await house.restarted()
    at_ns = first.messages.stored()[-1][0]
    assert first.messages.within(at_ns) == 2
    await house.snapshot()
    await house.say(house.keys.cancel_commands, cancel_of(2))
    second = await house.restarted()
    assert second.messages.within(at_ns) == 3, "two by the snapshot, one by the stream's tail"
