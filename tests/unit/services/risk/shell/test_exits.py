"""Changes of exits are asked for through the streams, with the terms that the gateway lists, without any strategy."""

from __future__ import annotations

from typing import Any

import pytest

from services.risk.core.exits import GRACE_NS
from services.risk.shell.deciding import Deciding
from services.risk.shell.exits import ExitDesk
from services.risk.shell.feed import Feed
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import NS_PER_S, ManualClock
from shared.errors import Refused
from shared.messages import decode_fields
from shared.messages.codec import encode_body
from shared.messages.orders import CancelRequest, Group, Intent, IntentAction, OrderEvent, OrderState, Side
from tests.risk_desk import NOW, D, bracket_of, decided, event_of, fill_of, limits_with, number_id, ready_book


class Scene:
    def __init__(self, clock: ManualClock) -> None:
        self.bus = MemoryBus(MemoryServer(), Keys("sim"))
        self.feed = Feed(self.bus, "DUSIM0001", clock, instance="r1")
        self.feed.book = ready_book()
        assert decided(bracket_of(1, "BUY", 100), self.feed.book, limits_with()).command
        self.desk = ExitDesk(Deciding(self.bus, clock, self.feed, limits_with, "r1", lambda: True))

    async def show(self, leg: int, state: OrderState, *, filled: int = 0, quantity: int = 100) -> OrderEvent:
        more: dict[str, Any] = {"limit_price": D("101.00")} if leg == 1 else {}
        if leg == 2:
            more = {"order_type": "STP", "limit_price": None, "stop_price": D("99.00"), "tif": "GTC"}
        event = event_of(
            1, state, leg=leg, side=Side.BUY if leg == 0 else Side.SELL, quantity=quantity, filled=D(filled),
            group=Group.BRACKET, parent_leg=None if leg == 0 else 0, outside_rth=leg == 2, contract="S1", **more,
        )  # fmt: skip
        self.feed.book.apply(event, NOW)
        if not state.is_final:
            await self.bus.hash_set(self.bus.keys.open_orders, {f"ref{leg}": encode_body(event)})
        return event

    async def said(self, stream: str) -> list[Any]:
        return [decode_fields(entry.fields).message for entry in await self.bus.read_range(stream)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def scene(clock: ManualClock) -> Scene:
    made = Scene(clock)
    await made.bus.hash_set(made.bus.keys.identity, {"id": "abc"})
    for leg in range(3):
        await made.show(leg, OrderState.WORKING)
    return made


async def test_exits_of_a_partly_filled_entry_get_its_quantity_and_keep_all_else(
    scene: Scene, clock: ManualClock
) -> None:
    await scene.show(0, OrderState.CANCELLED, filled=40)
    await scene.bus.hash_set(scene.bus.keys.open_orders, {"odd": b"\x00"})
    await scene.desk.look()
    assert not await scene.said(scene.bus.keys.intents), "the broker may do it itself"
    clock.advance(GRACE_NS / NS_PER_S)
    await scene.desk.look()
    limit, stop = await scene.said(scene.bus.keys.intents)
    assert isinstance(limit, Intent) and isinstance(stop, Intent)
    assert [one.action for one in (limit, stop)] == [IntentAction.MODIFY] * 2
    assert {one.modifies for one in (limit, stop)} == {number_id(1)} and limit.intent_id != stop.intent_id
    assert (limit.strategy, limit.contract, limit.con_id) == ("s", "S1", 1)
    assert "40 of 100" in limit.reason and limit.incarnation == scene.feed.book.incarnation
    leg = stop.legs[0]
    assert (leg.leg, leg.side, leg.quantity, leg.stop_price) == (2, "SELL", D(40), D("99.00"))
    assert (leg.tif, leg.outside_rth, leg.order_type) == ("GTC", True, "STP")
    decision = decided(stop, scene.feed.book, limits_with()).decision
    assert decision.approved and decision.is_reducing


async def test_the_next_leader_lets_grow_what_the_one_before_reduced(scene: Scene, clock: ManualClock) -> None:
    await scene.show(0, OrderState.CANCELLED, filled=40)
    await scene.desk.look()
    clock.advance(GRACE_NS / NS_PER_S)
    await scene.desk.look()
    stored = await scene.bus.hash_get_all(scene.bus.keys.risk_exits)
    assert stored == {f"{number_id(1)}:{leg}": b"100 40" for leg in (1, 2)}
    for leg in (1, 2):
        await scene.show(leg, OrderState.WORKING, quantity=40)
    await scene.bus.hash_set(scene.bus.keys.risk_exits, {"odd": b"\xff"})
    scene.feed.book.epoch += 1
    other = ExitDesk(scene.desk._deciding)  # of another process: it remembers nothing itself
    await other.look()
    fill_of(scene.feed.book, 1, 1, "BUY", 60, exec_id="late.01")
    await other.look()
    clock.advance(GRACE_NS / NS_PER_S)
    await other.look()
    changes = (await scene.said(scene.bus.keys.intents))[2:]
    assert [(one.legs[0].leg, one.legs[0].quantity) for one in changes] == [(1, D(60)), (2, D(60))]
    assert len({one.intent_id for one in await scene.said(scene.bus.keys.intents)}) == 4

    for leg in (1, 2):
        await scene.show(leg, OrderState.CANCELLED, quantity=60)
    await other.look()
    assert list(await scene.bus.hash_get_all(scene.bus.keys.risk_exits)) == ["odd"], "what ended is forgotten"


async def test_without_the_right_to_remember_it_is_reduced_all_the_same(
    scene: Scene, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> None:
        raise Refused("BUS_NO_PERMISSION", "this Redis user may not do that")

    await scene.show(0, OrderState.CANCELLED, filled=40)
    await scene.desk.look()
    monkeypatch.setattr(scene.bus, "hash_set", refused)
    clock.advance(GRACE_NS / NS_PER_S)
    await scene.desk.look()
    assert len(await scene.said(scene.bus.keys.intents)) == 2


async def test_exits_of_an_entry_that_never_filled_are_cancelled_by_leg(scene: Scene, clock: ManualClock) -> None:
    await scene.show(0, OrderState.CANCELLED)
    await scene.desk.look()
    clock.advance(GRACE_NS / NS_PER_S)
    for _ in range(2):
        await scene.desk.look()
    cancels = await scene.said(scene.bus.keys.cancels)
    assert all(isinstance(one, CancelRequest) and one.intent_id == number_id(1) for one in cancels)
    assert [one.leg for one in cancels] == [1, 2]
    assert not await scene.said(scene.bus.keys.intents)


async def test_an_exit_that_the_gateway_does_not_list_is_not_changed(scene: Scene, clock: ManualClock) -> None:
    await scene.show(0, OrderState.CANCELLED, filled=40)
    await scene.bus.hash_delete(scene.bus.keys.open_orders, ["ref1", "ref2"])
    await scene.desk.look()
    clock.advance(GRACE_NS / NS_PER_S)
    await scene.desk.look()
    assert not await scene.said(scene.bus.keys.intents)
