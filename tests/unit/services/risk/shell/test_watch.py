"""Breakers trip without an order; one whose rung is a halt asks for it once, through `control`."""

from __future__ import annotations

from services.risk.core.breakers import Trip
from services.risk.shell.deciding import Deciding
from services.risk.shell.feed import Feed
from services.risk.shell.watch import BreakerWatch
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import SYSTEM_CLOCK
from shared.messages import decode_fields
from shared.messages.account import PnlReport
from shared.messages.control import Control, ControlAction
from tests.risk_desk import ACCOUNT, NOW, D, fill_of, limits_with, ready_book, set_price


class Scene:
    def __init__(self, **limits: object) -> None:
        self.bus = MemoryBus(MemoryServer(), Keys("sim"))
        self.feed = Feed(self.bus, ACCOUNT, SYSTEM_CLOCK, instance="r1")
        self.feed.book = ready_book()
        self.limits = limits_with(**limits)
        self.kept: list[list[str]] = []
        self.watch = self.another()

    def another(self) -> BreakerWatch:
        deciding = Deciding(self.bus, SYSTEM_CLOCK, self.feed, lambda: self.limits, "r1", lambda: True)
        return BreakerWatch(deciding, self.keep)

    async def keep(self) -> None:
        self.kept.append(list(self.feed.book.breakers.trips))

    async def controls(self) -> list[Control]:
        entries = await self.bus.read_range(self.bus.keys.control)
        return [one for one in (decode_fields(e.fields).message for e in entries) if isinstance(one, Control)]


async def test_a_loss_without_an_order_asks_for_one_halt() -> None:
    scene = Scene(daily_loss_max=100, daily_loss_rung="halt")
    scene.feed.book.apply(PnlReport(account=ACCOUNT, daily=D(-101)), NOW)
    for _ in range(3):
        await scene.watch.look()
    await scene.another().look()
    (control,) = await scene.controls()
    assert control.action is ControlAction.HALT and control.scope == "account"
    assert control.who == "breaker daily_loss" and "101" in control.reason


async def test_a_lower_rung_only_trips() -> None:
    scene = Scene(strategy_loss_max=50)
    scene.feed.book.oddities.since_ns = 1 << 62  # no approval came before the execution
    fill_of(scene.feed.book, 1, 1, "BUY", 10, exec_id="a.01.01", now_ns=SYSTEM_CLOCK.wall_ns())
    set_price(scene.feed.book, 1, 90.0)
    await scene.watch.look()
    assert list(scene.feed.book.breakers.trips) == ["strategy_loss:s"] and not await scene.controls()


async def test_an_unreadable_entry_has_the_gateway_reconcile_once() -> None:
    """Without it nothing is approved before the link happens to break: a sound one has no reason to reconcile."""
    scene = Scene()
    scene.feed.book.readiness.unsafe = "entry 5-0 of orders"
    for _ in range(3):
        await scene.watch.look()
    await scene.another().look()
    (control,) = await scene.controls()
    assert control.action is ControlAction.RECONCILE and "5-0" in control.reason
    scene.feed.book.readiness.unsafe = ""
    await scene.watch.look()
    scene.feed.book.readiness.unsafe = "entry 9-0 of orders"
    await scene.watch.look()
    assert [control.action for control in await scene.controls()] == [ControlAction.RECONCILE] * 2


def resume(number: int, scope: str = "account") -> Control:
    action = ControlAction.RESUME if scope == "account" else ControlAction.RESUME_STRATEGY
    return Control(control_id=f"r{number}", action=action, scope=scope, who="anna", reason="seen")


async def test_a_resume_accepts_what_happened_and_what_is_worse_asks_again_on_the_same_day() -> None:
    scene = Scene(daily_loss_max=100, daily_loss_rung="halt")
    book = scene.feed.book
    asked = []
    for number, lost in enumerate((101, 150, 202, 250, 303), start=1):
        book.apply(PnlReport(account=ACCOUNT, daily=D(-lost)), SYSTEM_CLOCK.wall_ns())
        for watch in (scene.watch, scene.another()):  # a successor asks for nothing twice
            await watch.look()
        asked.append(len(await scene.controls()))
        if book.breakers.trips:
            book.apply(resume(number), SYSTEM_CLOCK.wall_ns())
    assert asked == [1, 1, 2, 2, 3], "a person accepted 101, then 202: the limit counts from there"
    assert len({control.control_id for control in await scene.controls()}) == 3


async def test_a_trip_that_comes_again_between_two_looks_is_a_new_one() -> None:
    scene = Scene()
    for number in range(2):
        scene.feed.book.breakers.trip("drawdown", Trip("fell", "1", "2", "halt"))
        await scene.watch.look()
        scene.feed.book.apply(resume(number), NOW)
    assert len(await scene.controls()) == 2


async def test_an_execution_without_an_approval_trips_and_is_kept_at_once() -> None:
    scene = Scene(anomaly_rung="halt")
    fill_of(scene.feed.book, 1, 1, "BUY", 10, exec_id="a.01.01", now_ns=SYSTEM_CLOCK.wall_ns())
    for _ in range(2):
        await scene.watch.look()
    assert scene.kept == [["execution_anomaly"]]
    (control,) = await scene.controls()
    assert control.action is ControlAction.HALT and "never approved" in control.reason
