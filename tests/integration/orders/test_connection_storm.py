"""Strangers open and drop connections to Redis until it has room for nobody: what stops, and how it comes back."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis

from shared.bus.keys import Role
from shared.messages.orders import Decision, OrderState, Side
from tests.integration.gateway.conftest import limit, market
from tests.integration.orders.conftest import answer, logged, traded
from tests.support import RedisServer, SpawnedProcess, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.long, pytest.mark.timeout(120)]
ROOM = 12
"""How many connections more than ours the server takes."""
STRANGERS = 40
FULL_S = 2.5
"""How long nobody is let in: longer than every lease here."""
ATTEMPTS_PER_S = 60
"""What one process may ask a full server for at most; it was 18 when this was written."""
AAPL = 265598


class Storm:
    """Strangers, each of whom connects, says something or nothing, and hangs up, politely or not, again and again."""

    def __init__(self, server: RedisServer, dice: random.Random) -> None:
        self._server, self._dice = server, dice
        self.connections = 0

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(STRANGERS):
                group.create_task(self._come_and_go())

    async def _come_and_go(self) -> None:
        dice, loop = self._dice, asyncio.get_running_loop()
        while True:
            with contextlib.suppress(OSError), socket.socket() as stranger:
                stranger.setblocking(False)
                await loop.sock_connect(stranger, (self._server.host, self._server.port))
                self.connections += 1
                if dice.random() < 0.5:
                    await loop.sock_sendall(stranger, b"PING\r\n" if dice.random() < 0.8 else b"*1\r\n$")
                await asyncio.sleep(dice.uniform(0.0, 0.3))
                if dice.random() < 0.5:  # reset it
                    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextlib.asynccontextmanager
async def storming(server: RedisServer) -> AsyncIterator[Storm]:
    """Let strangers storm the server for as long as the block runs."""
    storm = Storm(server, random.Random(1))
    running = asyncio.create_task(storm.run())
    try:
        yield storm
    finally:
        running.cancel()
        await asyncio.wait([running])


@pytest.fixture
def admin(redis_server: RedisServer) -> Any:
    """A connection of an administrator, who is in already; the server's limit is given back afterwards."""
    with redis_server.client() as client:
        before = client.config_get("maxclients")["maxclients"]
        yield client
        client.config_set("maxclients", before)


def ours(admin: redis.Redis) -> list[dict[str, Any]]:
    """Return the connections of the services."""
    services = ("gateway", "risk", "cq-marketdata")
    return [one for one in admin.client_list() if one["name"].startswith(services)]


def rejected(admin: redis.Redis) -> int:
    return int(admin.info("stats")["rejected_connections"])


async def test_a_storm_of_connections_stops_trading_for_as_long_as_nobody_gets_in_and_no_longer(
    desk: Any, start_gateway: Callable[..., SpawnedProcess], start_risk: Callable[..., Any],
    spawn: Any, redis_server: RedisServer, admin: redis.Redis,
) -> None:  # fmt: skip
    gateway = start_gateway("a", 1)
    start_risk(CQ_LEASE_TTL_S="1.0")
    risk = next(one for one in spawn.processes if one.name.startswith("risk"))
    await desk.ready_leader(30.0)
    await eventually(lambda: logged(risk, "book.restored"), 30.0)
    await desk.watch(AAPL)
    await traded(desk)
    resting = await desk.intent(limit(Side.BUY, 1, "50"), strategy="manual")
    assert (await answer(desk, resting)).approved
    await desk.until(resting, OrderState.WORKING)
    before = await desk.bus.lease_view(Role.GATEWAY)

    # Who is in stays in: strangers fill the server again and again, and trading goes on under the same lease.
    room = len(admin.client_list()) + ROOM
    admin.config_set("maxclients", room)
    turned_away = rejected(admin)
    async with storming(redis_server) as storm:
        await eventually(lambda: storm.connections > 500 and rejected(admin) > turned_away + 100, 20.0)
        await traded(desk)
    assert (await desk.bus.lease_view(Role.GATEWAY)).epoch == before.epoch
    assert not logged(gateway, "lease.lost")

    # Who loses its connections while the server is full does not get in again: nobody leads, nothing is sent.
    sent = len(desk.broker.orders())
    admin.config_set("maxclients", 1)
    for one in ours(admin):
        with contextlib.suppress(redis.ResponseError):  # gone by itself meanwhile
            admin.client_kill_filter(_id=one["id"])
    patient = await desk.intent(market(Side.BUY, 1), strategy="manual")
    late = patient.ts_init_ns + 10**9
    hasty = (await desk.intent(market(Side.BUY, 1), strategy="manual")).model_copy(update={"valid_until_ns": late})
    for intent in (patient, hasty):
        await desk.bus.append(desk.bus.keys.intents, intent, source="test")
    turned_away = rejected(admin)
    await asyncio.sleep(FULL_S)
    asked = rejected(admin) - turned_away
    assert 10 < asked < 3 * ATTEMPTS_PER_S * FULL_S, "they ask again, in moderation"
    assert not ours(admin)
    for process in (gateway, risk):
        assert process.status is None, "it lives: a supervisor has nothing to restart"
        assert [line["reason"] for line in logged(process, "lease.lost")]
        assert "max number of clients reached" in process.output, "and says why"
    assert len(desk.broker.orders()) == sent

    # With room again they get in between the strangers, or when those are gone, and go on under a new epoch.
    async with storming(redis_server):
        admin.config_set("maxclients", room)
        await asyncio.sleep(1.0)
    await desk.ready_leader(20.0)
    await desk.until(patient, OrderState.FILLED)
    last = await traded(desk)
    after = await desk.bus.lease_view(Role.GATEWAY)
    assert (after.owner, after.incarnation) == (before.owner, before.incarnation)
    assert after.epoch > before.epoch
    decisions = [one for one in await desk.messages(desk.bus.keys.decisions) if isinstance(one, Decision)]
    assert [one.approved for one in decisions if one.intent_id == hasty.intent_id] == [False], "its time was over"
    truth = desk.broker.truth()
    assert truth["counts"]["orders_sent_twice"] == 0
    for intent in (resting, patient, last):
        assert sum(intent.intent_id in order["order_ref"] for order in truth["orders"]) == 1
    assert await desk.state(resting) is OrderState.WORKING
    fills = [fill.exec_id for fill in await desk.fills()]
    assert sorted(fills) == sorted(one["exec_id"] for one in truth["executions"])
    assert "Traceback" not in gateway.output + risk.output
