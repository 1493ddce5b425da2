"""Flattens and the rung that cancels entries ask through the streams, once, and go on after a restart."""

from __future__ import annotations

from typing import Any

import pytest

from services.risk.core.breakers import Breakers, Trip
from services.risk.shell.deciding import Deciding
from services.risk.shell.feed import Feed
from services.risk.shell.flatten import FlattenDesk
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import SYSTEM_CLOCK
from shared.messages import decode_fields
from shared.messages.control import Control, ControlAction
from shared.messages.orders import CancelRequest, Intent, OrderState, TimeInForce
from tests.risk_desk import NOW, D, decided, event_of, hold, limits_with, modify_of, number_id, ready_book


class Scene:
    def __init__(self) -> None:
        self.bus = MemoryBus(MemoryServer(), Keys("sim"))
        self.feed = Feed(self.bus, "DUSIM0001", SYSTEM_CLOCK, instance="r1")
        self.feed.book = ready_book()
        limits = limits_with(market_slippage_percent=2)
        self.desk = FlattenDesk(Deciding(self.bus, SYSTEM_CLOCK, self.feed, lambda: limits, "r1", lambda: True))

    def control(self, action: ControlAction, scope: str = "account", name: str = "c1") -> None:
        self.feed.book.apply(Control(control_id=name, action=action, scope=scope, who="me", reason="drill"), NOW)

    async def said(self, stream: str) -> list[Any]:
        return [decode_fields(entry.fields).message for entry in await self.bus.read_range(stream)]


@pytest.fixture
async def scene() -> Scene:
    made = Scene()
    await made.bus.hash_set(made.bus.keys.identity, {"id": "abc"})
    return made


async def test_a_flatten_asks_for_one_close_as_the_strategy_and_holds_entries(scene: Scene) -> None:
    hold(scene.feed.book, 1, 100)
    scene.control(ControlAction.FLATTEN)
    for _ in range(3):
        await scene.desk.look()
    (intent,) = await scene.said(scene.bus.keys.intents)
    assert isinstance(intent, Intent) and intent.strategy == "s" and "flatten by me" in intent.reason
    leg = intent.legs[0]
    assert (leg.side, leg.quantity, leg.limit_price, leg.tif) == ("SELL", D(100), D("98.00"), TimeInForce.IOC)
    assert scene.feed.book.breakers.halted(1, "s") == "halted by me: drill"


async def test_what_was_closed_stays_closed_and_a_resume_ends_it(scene: Scene) -> None:
    scene.control(ControlAction.FLATTEN, "strategy:s")
    stored = scene.feed.book.breakers.stored()
    again = Breakers()
    again.restore(stored)
    assert [one.scope for one in again.flattens] == ["strategy:s"] and again.halted(1, "s")
    scene.control(ControlAction.RESUME, "strategy:s", "c2")
    hold(scene.feed.book, 1, 100)
    await scene.desk.look()
    assert not await scene.said(scene.bus.keys.intents) and not scene.feed.book.breakers.flattens


async def test_stops_are_cancelled_once_while_their_end_is_awaited(scene: Scene) -> None:
    hold(scene.feed.book, 1, 100)
    scene.feed.book.apply(event_of(7, OrderState.WORKING, side="SELL", quantity=100, is_reducing=True), NOW)
    scene.control(ControlAction.FLATTEN)
    for _ in range(3):
        await scene.desk.look()
    (cancel,) = await scene.said(scene.bus.keys.cancels)
    assert isinstance(cancel, CancelRequest) and cancel.intent_id == number_id(7)
    assert not await scene.said(scene.bus.keys.intents)


async def test_the_rung_cancel_entries_cancels_those_of_its_strategy_alone(scene: Scene) -> None:
    book = scene.feed.book
    book.apply(event_of(1, OrderState.WORKING), NOW)
    book.apply(event_of(2, OrderState.WORKING, strategy="other"), NOW)
    book.breakers.trip("rejects:s", Trip("rejected", "1", "2", "cancel_entries"))
    await scene.desk.look()
    assert [one.intent_id for one in await scene.said(scene.bus.keys.cancels)] == [number_id(1)]
    book.breakers.trip("daily_loss", Trip("lost", "1", "2", "cancel_entries"))
    await scene.desk.look()
    assert [one.intent_id for one in await scene.said(scene.bus.keys.cancels)] == [number_id(1), number_id(2)]


@pytest.mark.parametrize("scope", ["strategy:s", "contract:1"])
async def test_a_halt_of_one_strategy_or_contract_cancels_its_entries_alone(scene: Scene, scope: str) -> None:
    book = scene.feed.book
    book.apply(event_of(1, OrderState.WORKING), NOW)
    book.apply(event_of(2, OrderState.WORKING, strategy="other", con_id=2), NOW)
    book.apply(event_of(3, OrderState.WORKING, is_reducing=True), NOW)
    scene.control(ControlAction.HALT, scope)
    for _ in range(2):
        await scene.desk.look()
    assert [one.intent_id for one in await scene.said(scene.bus.keys.cancels)] == [number_id(1)]
    assert book.breakers.scopes == [scope]
    scene.control(ControlAction.RESUME, scope, "c2")
    assert not book.breakers.scopes


@pytest.mark.parametrize(
    "rung, may_change, may_open", [("warn", True, True), ("no_entries", True, False), ("reduce_only", False, False)]
)
def test_the_lower_rungs_differ_in_what_they_let_through(rung: str, may_change: bool, may_open: bool) -> None:
    from tests.risk_desk import intent_of

    book, limits = ready_book(), limits_with()
    decided(intent_of(1), book, limits)
    book.apply(event_of(1, OrderState.WORKING), NOW)
    book.breakers.trip("daily_loss", Trip("lost", "1", "2", rung))
    assert decided(modify_of(2, 1, "BUY", 10, "99.00"), book, limits).decision.approved is may_change
    assert not decided(modify_of(3, 1, "BUY", 11, "99.00"), book, limits).decision.approved or rung == "warn"
    assert decided(intent_of(4), book, limits).decision.approved is may_open
