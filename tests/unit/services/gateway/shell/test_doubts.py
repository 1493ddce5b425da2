"""Orders in doubt under an earlier trading id are asked for by a session of that id, which sends nothing."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from services.gateway.core.book import Change, OrderBook
from services.gateway.core.evidence import BrokerOrder
from services.gateway.core.order_machine import OrderTrack
from services.gateway.ports import ClientIdInUse
from services.gateway.shell import doubts
from services.gateway.shell.doubts import Doubts
from shared.clock import NS_PER_S
from shared.ids import IntentId, order_ref
from shared.messages.orders import OrderEvent, OrderState, Side

REFS = [order_ref("sim", IntentId(20 * letter), 0) for letter in "ab"]
NOON_NS = 12 * 3600 * NS_PER_S


class Clock:
    """A clock that stands, and lets the loop run as many turns as there are pauses allowed."""

    def __init__(self) -> None:
        self.now_ns = NOON_NS
        self.turns = 0
        self.pauses: list[float] = []

    def monotonic_ns(self) -> int:
        return self.now_ns

    wall_ns = monotonic_ns

    async def sleep(self, seconds: float) -> None:
        if len(self.pauses) == self.turns:
            raise asyncio.CancelledError
        self.pauses.append(seconds)
        self.now_ns += int(seconds * NS_PER_S)


class World:
    """The leader, trading under 102, with one order in doubt under 101, and the broker."""

    endpoint, connect_limit_s, answer_limit_s, tws_time_zone, quarantine_s = ("127.0.0.1", 1), 1.0, 1.0, "UTC", 3.0
    guard = ""
    trading_client_ids, client_id, can_send = (101, 102), 102, True
    undisturbed_since_ns = 0

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.book = OrderBook("sim", "DU1")
        self.desk = self
        self.link = SimpleNamespace(is_undisturbed=True)
        self.is_refused, self.has_lease, self.complaint = False, True, ""
        self.shows: list[BrokerOrder] = []
        self.opened: list[tuple[int, str]] = []
        self.closed = 0
        self.published: list[OrderState] = []
        world: Any = self
        monkeypatch.setattr(doubts, "IbSession", lambda *args, **more: Session(world, *args, **more))
        self.doubts = Doubts(
            world, world, self.book, asyncio.Lock(), has_lease=lambda: self.has_lease,
            check_accounts=lambda _: self.complaint, clock=world.clock,
        )  # fmt: skip

    def claim(self) -> str:
        return "claim"

    def publish(self, change: Change) -> None:
        self.published += [event.state for event in change.events]

    def know(self, number: int, state: OrderState, client_id: int = 101) -> OrderTrack:
        event = OrderEvent(
            intent_id=20 * "ab"[number], order_ref=REFS[number], state=state, strategy="demo", account="DU1", con_id=1,
            side=Side.BUY, quantity=Decimal(10), order_type="LMT", order_id=7 + number, client_id=client_id,
        )  # fmt: skip
        self.book.restore(event)
        track = self.book.get(REFS[number])
        assert track is not None
        track.doubted_ns = track.intent_ts_ns = NOON_NS - 10 * NS_PER_S
        return track

    async def turn(self, times: int = 1) -> None:
        self.clock.turns += times
        with pytest.raises(asyncio.CancelledError):
            await self.doubts.run()


class Session:
    """A session of another client id."""

    def __init__(self, world: World, client_id: int, _listener: Any, *, options: str, time_zone: str) -> None:
        self.client_id, self._world = client_id, world
        self.accounts, self.is_open = ("DU1",), True
        assert time_zone == "UTC"
        world.opened.append((client_id, options))

    async def open(self, _host: str, _port: int, *, limit_s: float) -> None:
        if self._world.is_refused:
            raise ClientIdInUse(f"326 within {limit_s}")

    async def open_orders(self, *, limit_s: float) -> list[BrokerOrder]:
        assert limit_s
        return self._world.shows

    async def completed_orders(self, *, limit_s: float) -> list[BrokerOrder]:
        assert limit_s
        return []

    async def executions(self, *, limit_s: float) -> list[Any]:
        assert limit_s
        return []

    async def close(self) -> None:
        self._world.closed += 1


async def test_what_the_id_does_not_show_was_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    doubted, other = world.know(0, OrderState.UNKNOWN), world.know(1, OrderState.UNKNOWN, 102)
    await world.turn()
    assert world.opened == [(101, "claim")] and world.closed == 1
    assert doubted.state is OrderState.NOT_SENT and other.state is OrderState.UNKNOWN
    assert world.published == [OrderState.NOT_SENT]


async def test_what_the_id_shows_works_on(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    doubted = world.know(0, OrderState.UNKNOWN)
    world.shows = [
        BrokerOrder(
            perm_id=900, client_id=101, order_id=7, account="DU1", con_id=1, side=Side.BUY, quantity=Decimal(10),
            order_type="LMT", status="Submitted", order_ref=REFS[0], is_listed=True,
        )
    ]  # fmt: skip
    await world.turn()
    assert doubted.state is OrderState.WORKING and not doubted.shown_in, "this session may not change it"


@pytest.mark.parametrize("state", [OrderState.CLAIMED, OrderState.WORKING])
async def test_without_a_doubt_nobody_asks(monkeypatch: pytest.MonkeyPatch, state: OrderState) -> None:
    world = World(monkeypatch)
    world.know(0, state)
    await world.turn(2)
    assert not world.opened and world.clock.pauses == [5.0, 5.0]


async def test_a_young_doubt_is_not_asked_for_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.know(0, OrderState.UNKNOWN).doubted_ns = world.clock.now_ns + 3 * NS_PER_S
    await world.turn()
    assert not world.opened
    await world.turn()
    assert world.opened == [(101, "claim")]


async def test_a_link_that_is_not_ready_keeps_all_ids_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.know(0, OrderState.UNKNOWN)
    world.can_send = False
    await world.turn()
    assert not world.opened


@pytest.mark.parametrize("what", ["refused", "account", "disturbed"])
async def test_an_answer_that_proves_nothing_leaves_the_doubt(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    world = World(monkeypatch)
    doubted = world.know(0, OrderState.UNKNOWN)
    world.is_refused, world.complaint = what == "refused", "another account" if what == "account" else ""
    world.link.is_undisturbed = what != "disturbed"
    await world.turn(4)
    assert doubted.state is OrderState.UNKNOWN and set(world.published) <= {OrderState.UNKNOWN}
    assert world.closed == len(world.opened) == 4 and world.clock.pauses == [5.0, 10.0, 20.0, 60.0]


async def test_a_lease_lost_meanwhile_keeps_the_answer_from_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    doubted = world.know(0, OrderState.UNKNOWN)
    world.has_lease = False
    await world.turn()
    assert doubted.state is OrderState.UNKNOWN and not world.published
