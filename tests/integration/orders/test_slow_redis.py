"""A Redis that answers late, hangs, or is slow for one machine only: what stops, what is kept, how it comes back."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from shared.bus.keys import Role
from shared.messages.orders import Decision, Intent, OrderState, Side
from tests.chaos.proxy import Proxy
from tests.integration.gateway.conftest import limit, market
from tests.integration.orders.conftest import answer, logged, traded
from tests.support import RedisServer, SpawnedProcess, eventually, free_port

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(150)]
AAPL = 265598
LEASE_S = 1.5
LATE_S = 0.1
"""One way: a reply takes twice as long, which is well within a lease and the half of it that a renewal waits."""
TOO_LATE_S = LEASE_S
"""One way: a reply takes longer than a lease."""


@dataclass
class Scene:
    """A gateway and risk behind one way to Redis; marketdata, the simulator and the test have one of their own."""

    desk: Any
    way: Proxy
    gateway: SpawnedProcess
    risk: SpawnedProcess

    async def lease(self) -> Any:
        return await self.desk.bus.lease_view(Role.GATEWAY)

    def losses(self) -> list[int]:
        return [len(logged(process, "lease.lost")) for process in (self.gateway, self.risk)]

    async def resting(self) -> Intent:
        """Return an order that works at the broker, far from the market."""
        intent: Intent = await self.desk.intent(limit(Side.BUY, 1, "50"), strategy="manual")
        assert (await answer(self.desk, intent)).approved
        await self.desk.until(intent, OrderState.WORKING)
        return intent

    async def append(self, valid_s: float) -> Intent:
        """Ask for a share, and wait for no answer."""
        asked = await self.desk.intent(market(Side.BUY, 1), strategy="manual")
        until_ns = time.time_ns() + int(valid_s * 10**9)
        intent: Intent = asked.model_copy(update={"valid_until_ns": until_ns})
        await self.desk.bus.append(self.desk.bus.keys.intents, intent, source="test")
        return intent

    async def decision(self, intent: Intent) -> Decision | None:
        found = [one for one in await self.desk.messages(self.desk.bus.keys.decisions) if isinstance(one, Decision)]
        return next((one for one in found if one.intent_id == intent.intent_id), None)

    async def settled(self, *intents: Intent) -> None:
        """Wait until each has ended, and see that bus and broker tell the same story, each thing once."""

        async def ended() -> bool:
            for intent in intents:
                decision, state = await self.decision(intent), await self.desk.state(intent)
                if decision is None or (decision.approved and (state is None or not state.is_final)):
                    return False
            return True

        await eventually(ended, 30.0)

        async def same() -> bool:
            truth = self.desk.broker.truth()
            seen = sorted(fill.exec_id for fill in await self.desk.fills())
            return seen == sorted(one["exec_id"] for one in truth["executions"])

        await eventually(same, 15.0)
        truth = self.desk.broker.truth()
        assert truth["counts"]["orders_sent_twice"] == 0
        for intent in intents:
            sent = sum(intent.intent_id in order["order_ref"] for order in truth["orders"])
            state = await self.desk.state(intent)
            assert sent == (1 if state is OrderState.FILLED else 0), (intent.intent_id, state)
        orders = await self.desk.bus.read_range(self.desk.bus.keys.orders)
        epochs = [int(entry.fields[b"epoch"]) for entry in orders]
        assert epochs == sorted(epochs)
        for process in (self.gateway, self.risk):
            assert process.status is None and "Traceback" not in process.output


@pytest.fixture
async def scene(
    desk: Any, redis_server: RedisServer, start_gateway: Callable[..., SpawnedProcess],
    start_risk: Callable[..., Any], spawn: Any,
) -> AsyncIterator[Scene]:  # fmt: skip
    way = Proxy(free_port(), redis_server.port)
    await way.start()
    url = f"redis://127.0.0.1:{way.port}/0"
    gateway = start_gateway("a", 1, REDIS_URL=url, CQ_LEASE_TTL_S=str(LEASE_S), GATEWAY_QUARANTINE_S="1.0")
    start_risk(REDIS_URL=url, CQ_LEASE_TTL_S=str(LEASE_S))
    risk = next(one for one in spawn.processes if one.name.startswith("risk"))
    await desk.ready_leader(30.0)
    await eventually(lambda: logged(risk, "book.restored"), 30.0)
    await desk.watch(AAPL)
    await traded(desk)
    yield Scene(desk, way, gateway, risk)
    await way.stop()


async def test_late_replies_cost_time_and_replies_later_than_the_lease_cost_the_lease(scene: Scene) -> None:
    desk, way = scene.desk, scene.way
    resting, before, losses = await scene.resting(), await scene.lease(), scene.losses()

    # Late, and within the lease: everything goes on, under the same lease, and takes its time.
    way.delay_s = LATE_S
    await asyncio.sleep(2 * LEASE_S)
    began = time.monotonic()
    slow = await traded(desk)
    assert time.monotonic() - began > 4 * LATE_S, "it was slow indeed: decided and claimed over that way"
    assert (await scene.lease()).epoch == before.epoch and scene.losses() == losses

    # Later than the lease: it is given up, nothing is sent. What the broker does meanwhile is kept for afterwards.
    way.delay_s = TOO_LATE_S
    await eventually(lambda: all(now > was for now, was in zip(scene.losses(), losses, strict=True)), 15.0)
    sent = len(desk.broker.orders())
    patient, hasty = await scene.append(40.0), await scene.append(1.0)
    perm_id = next(one["perm_id"] for ref, one in desk.broker.orders().items() if resting.intent_id in ref)
    desk.broker.fault("manual_fill", perm_id=perm_id, quantity="1", price="50")
    await asyncio.sleep(3 * LEASE_S)
    assert len(desk.broker.orders()) == sent
    assert await desk.state(patient) is None and await desk.state(resting) is OrderState.WORKING

    # In time again: the same gateway leads under a higher epoch, what has time left is done, what has not is refused.
    way.delay_s = 0.0
    await desk.ready_leader(20.0)
    await desk.until(patient, OrderState.FILLED, timeout_s=20.0)
    await desk.until(resting, OrderState.FILLED)
    last = await traded(desk)
    await scene.settled(slow, patient, hasty, resting, last)
    decision = await scene.decision(hasty)
    assert decision is not None and not decision.approved, "its time was over"
    after = await scene.lease()
    assert (after.owner, after.incarnation) == (before.owner, before.incarnation) and after.epoch > before.epoch


async def test_writes_that_a_hanging_redis_carries_out_late_send_nothing_twice(
    scene: Scene, redis_server: RedisServer
) -> None:
    dice, given, before = random.Random(4), list[Intent](), await scene.lease()
    for _ in range(2):
        given += [await scene.append(60.0) for _ in range(3)]
        await asyncio.sleep(dice.uniform(0.0, 0.02))  # some of decide, claim, send and publish are under way
        losses = scene.losses()
        redis_server.pause()  # what is written from here on is carried out when it wakes: after the lease
        try:
            await asyncio.sleep(1.5 * LEASE_S)
            assert all(now > was for now, was in zip(scene.losses(), losses, strict=True))
            sent = scene.desk.broker.orders().keys()
            await asyncio.sleep(0.5 * LEASE_S)
            assert scene.desk.broker.orders().keys() == sent, "without a lease nothing is sent"
        finally:
            redis_server.resume()
        await scene.desk.ready_leader(20.0)
        given.append(await traded(scene.desk))  # risk leads again, too
    await scene.settled(*given)
    after = await scene.lease()
    assert after.incarnation == before.incarnation and after.epoch > before.epoch
    states = [await scene.desk.state(intent) for intent in given]
    assert states.count(OrderState.FILLED) >= len(given) // 2, states


async def test_a_redis_that_is_slow_for_the_leader_alone_makes_the_standby_lead(
    scene: Scene, start_gateway: Callable[..., SpawnedProcess]
) -> None:
    desk, way = scene.desk, scene.way
    resting = await scene.resting()
    start_gateway("b", 2, CQ_LEASE_TTL_S=str(LEASE_S), GATEWAY_QUARANTINE_S="1.0")

    async def stands_by() -> bool:
        facts = (await desk.heartbeats()).get("b", {})
        return facts.get("role") == "standby" and facts.get("data_link") == "READY"

    await eventually(stands_by, 30.0)
    under_way = [await scene.append(40.0) for _ in range(3)]
    way.delay_s = TOO_LATE_S
    assert await desk.ready_leader(20.0, not_="a") == "b"
    assert logged(scene.gateway, "lease.lost")
    await desk.until(resting, OrderState.WORKING)
    way.delay_s = 0.0  # risk was behind the same slow way
    last = await traded(desk)
    await scene.settled(*under_way, last)
    assert (await scene.lease()).owner == "b", "who was slow comes back as a standby"

    async def says_so() -> bool:  # its last heartbeat may be one that was as slow as all else
        return (await desk.heartbeats()).get("a", {}).get("role") == "standby"

    await eventually(says_so)
