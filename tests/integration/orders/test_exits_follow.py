"""The exits of a bracket and what its entry filled: risk, gateway and simulator as processes, and no strategy alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from shared.messages.control import Control, ControlAction
from shared.messages.orders import CancelRequest, Group, Intent, IntentAction, OrderLeg, OrderState, OrderType, Side
from tests.integration.gateway.conftest import ACCOUNT, Broker, limit, start_broker
from tests.support import Spawner, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(150)]
AAPL = 265598


@pytest.fixture
def reduces_children() -> bool:
    """Whether the broker reduces exits by itself; what TWS does is not documented."""
    return False


@pytest.fixture
def broker(spawn: Spawner, reduces_children: bool) -> Broker:
    return start_broker(spawn, 40.0, SIM_REDUCES_CHILDREN=str(reduces_children))


class Scene:
    """A bracket whose strategy is dead: buy 100 far below the market, with a limit and a stop far away."""

    def __init__(self, desk: Any, intent: Intent) -> None:
        self.desk = desk
        self.intent = intent

    async def orders(self) -> list[dict[str, Any]]:
        found = await asyncio.to_thread(self.desk.broker.truth)
        ours = [row for row in found["orders"] if self.intent.intent_id in row["order_ref"]]
        return sorted(ours, key=lambda row: row["order_id"])

    async def fill(self, quantity: int) -> None:
        entry = (await self.orders())[0]
        await asyncio.to_thread(
            self.desk.broker.fault, "manual_fill", perm_id=entry["perm_id"], quantity=str(quantity), price="20"
        )
        filled = Decimal(entry["filled"]) + quantity

        async def seen() -> bool:
            return (await self.desk.events(self.intent, 0))[-1].filled == filled

        await eventually(seen, 20.0)

    async def cancel_entry(self) -> None:
        request = CancelRequest(
            cancel_id="c", intent_id=self.intent.intent_id, leg=0, strategy=self.intent.strategy, account=ACCOUNT
        )
        await self.desk.bus.append(self.desk.bus.keys.cancels, request, source="test")
        await self.desk.until(self.intent, OrderState.CANCELLED, timeout_s=20.0)

    async def exits(self) -> list[tuple[str, str]]:
        return [
            (row["order_type"], row["quantity"]) for row in (await self.orders())[1:] if row["status"] != "Cancelled"
        ]

    async def changes(self) -> list[Intent]:
        found = await self.desk.messages(self.desk.bus.keys.intents)
        return [one for one in found if isinstance(one, Intent) and one.action is IntentAction.MODIFY]


@pytest.fixture
async def scene(
    desk: Any, start_gateway: Callable[..., Any], start_risk: Callable[..., Any]
) -> Scene:  # fmt: skip
    start_gateway("a", 1)
    await desk.ready_leader(40.0)
    start_risk()
    await desk.watch(AAPL)
    stop = OrderLeg(
        leg=2, side=Side.SELL, quantity=Decimal(100), order_type=OrderType.STOP, stop_price=Decimal(10), parent_leg=0
    )
    legs = (limit(Side.BUY, 100, "20"), limit(Side.SELL, 100, "900", 1, parent_leg=0), stop)

    async def approved() -> Intent:
        """Until risk leads and knows prices and the account it refuses: then it is asked anew."""
        intent = await desk.intent(*legs, group=Group.BRACKET)
        await desk.bus.append(desk.bus.keys.intents, intent, source="test")
        for _ in range(200):
            if await desk.state(intent, 2) is OrderState.WORKING:
                return intent
            for one in await desk.messages(desk.bus.keys.decisions):
                assert one.intent_id != intent.intent_id or one.approved, one.text
            await asyncio.sleep(0.1)
        raise AssertionError("no answer")

    return Scene(desk, await eventually(approved, 60.0))


async def test_a_cancelled_entry_leaves_exits_of_what_it_filled(scene: Scene) -> None:
    await scene.fill(40)
    await scene.cancel_entry()

    async def fit() -> bool:
        return await scene.exits() == [("LMT", "40"), ("STP", "40")]

    await eventually(fit, 20.0)
    changes = await scene.changes()
    assert sorted(one.legs[0].leg for one in changes) == [1, 2] and "40 of 100" in changes[0].reason
    for one in changes:
        await scene.desk.until(one, OrderState.MODIFIED, one.legs[0].leg)
    counts = scene.desk.broker.truth()["counts"]
    assert (counts["modify_received"], counts["orders_sent_twice"]) == (2, 0)
    assert len(await scene.orders()) == 3


async def test_it_is_done_while_trading_is_halted_too(scene: Scene) -> None:
    await scene.fill(40)
    halt = Control(control_id="h", action=ControlAction.HALT, scope="account", who="me", reason="drill")
    await scene.desk.bus.append(scene.desk.bus.keys.control, halt, source="test")
    await scene.desk.until(scene.intent, OrderState.CANCELLED, timeout_s=20.0)  # an entry: a halt cancels it

    async def fit() -> bool:
        return await scene.exits() == [("LMT", "40"), ("STP", "40")]

    await eventually(fit, 20.0)


async def test_exits_of_an_entry_that_never_filled_go_with_it(scene: Scene) -> None:
    await scene.cancel_entry()

    async def gone() -> bool:
        return await scene.exits() == []

    await eventually(gone, 20.0)
    assert await scene.changes() == []


async def test_an_entry_that_fills_in_three_parts_keeps_its_exits_whole(scene: Scene) -> None:
    for part in (30, 30, 40):
        await scene.fill(part)
        await asyncio.sleep(1.5)
    await scene.desk.until(scene.intent, OrderState.FILLED)
    await asyncio.sleep(2.0)
    assert await scene.exits() == [("LMT", "100"), ("STP", "100")]
    assert await scene.changes() == [] and "modify_received" not in scene.desk.broker.truth()["counts"]


@pytest.mark.parametrize("reduces_children", [True])
async def test_what_the_broker_reduces_itself_is_not_asked_for(scene: Scene) -> None:
    await scene.fill(40)
    await scene.cancel_entry()

    async def fit() -> bool:
        return await scene.exits() == [("LMT", "40"), ("STP", "40")]

    await eventually(fit, 20.0)
    await asyncio.sleep(2.0)
    assert await scene.changes() == []
