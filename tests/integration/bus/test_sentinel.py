"""Order flow on the master that real Sentinels name: a failover is another incarnation, and every lease is void."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from copilot_quant.doctor_redis import redis_findings
from shared.bus.addresses import Kind
from shared.bus.keys import Keys
from shared.bus.ports import Bus, LeaseToken
from shared.bus.redis_client import RedisBus, open_bus
from shared.errors import BusUnavailable, ConfigError, Fenced, OutcomeUnknown
from shared.messages.orders import CancelRequest
from tests.integration.bus.conftest import Sentinels
from tests.support import eventually, free_port

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(120)]
REQUEST = CancelRequest(cancel_id="1", intent_id="i" * 20)


@pytest.fixture
async def bus(sentinels: Sentinels, deployment: str) -> AsyncIterator[RedisBus]:
    opened = open_bus(sentinels.url, Keys(deployment))
    yield opened
    await opened.close()


async def lead(bus: Bus, owner: str = "a") -> LeaseToken:
    token = await bus.lease_acquire("gateway", owner, await bus.lease_view("gateway"), at_least_epoch=10**15)
    assert token is not None
    await bus.raise_fence(token)
    return token


async def wait_for_another(bus: Bus, incarnation: str) -> None:
    async def is_another() -> bool:
        try:
            return await bus.incarnation() != incarnation
        except (BusUnavailable, OutcomeUnknown):
            return False

    await eventually(is_another, 30)


async def test_a_killed_master_is_followed_to_its_successor_where_every_lease_is_void(
    bus: RedisBus, sentinels: Sentinels
) -> None:
    master, replica = sentinels.servers
    token = await lead(bus)
    renewal = bus.open_renewal(token, limit_s=1.0)
    renewal.renew()
    await bus.append(bus.keys.cancels, REQUEST, source="t")
    with master.client() as client:
        assert client.wait(1, 5000) == 1
    before = await bus.incarnation()
    master.kill()
    await wait_for_another(bus, before)
    with replica.client() as client:
        assert client.info("replication")["role"] == "master"
    assert await bus.stream_length(bus.keys.cancels) == 1, "what was replicated is there"
    with pytest.raises(Fenced):
        await bus.publish(token, [(bus.keys.cancels, REQUEST)], source="t")
    with pytest.raises(Fenced):
        await bus.lease_renew(token)
    renewal.close()
    renewal = bus.open_renewal(token, limit_s=3.0)

    def is_fenced() -> bool:
        try:
            renewal.renew()
        except BusUnavailable:
            return False  # the Sentinels do not agree yet on who is the master
        except Fenced:
            return True
        raise AssertionError("a lease of before was renewed at the successor")

    await eventually(is_fenced, 30)
    renewal.close()
    successor = await lead(bus, "b")
    assert successor.epoch > token.epoch and successor.incarnation != token.incarnation
    await bus.publish(successor, [(bus.keys.cancels, REQUEST)], source="t")

    master.restart()  # as a master of its own, until the Sentinels make a replica of it

    def is_replica() -> bool:
        with master.client() as client:
            return bool(client.info("replication")["role"] == "slave")

    await eventually(is_replica, 60)
    assert await bus.incarnation() == successor.incarnation
    await bus.lease_renew(successor)


async def test_a_master_that_hangs_is_left_and_not_come_back_to(bus: RedisBus, sentinels: Sentinels) -> None:
    master, _ = sentinels.servers
    token = await lead(bus)
    before = await bus.incarnation()
    master.pause()
    await wait_for_another(bus, before)
    successor = await lead(bus, "b")
    master.resume()  # it still believes to be the master for a moment
    for _ in range(20):
        try:
            assert await bus.incarnation() == successor.incarnation
            await bus.lease_renew(successor)
        except (BusUnavailable, OutcomeUnknown):
            pass  # an open connection was cut
    with pytest.raises(Fenced):
        await bus.lease_renew(token)


async def test_without_a_replica_in_time_nothing_is_written(bus: RedisBus, sentinels: Sentinels) -> None:
    master, replica = sentinels.servers
    with master.client() as client:
        client.config_set("min-replicas-to-write", 1)
        client.config_set("min-replicas-max-lag", 1)

    async def doctor_says() -> str:
        return redis_findings(await bus.server_facts(), Kind.SENTINEL)[-1].text

    assert "1 of 1 keep(s) up" in await doctor_says()
    await bus.append(bus.keys.cancels, REQUEST, source="t")
    replica.kill()

    async def is_refused() -> bool:
        try:
            await bus.append(bus.keys.intents, REQUEST, source="t")
        except BusUnavailable as e:
            return "cannot take writes now" in str(e)
        return False

    await eventually(is_refused, 20)
    assert "refuses every write" in await doctor_says()
    assert await bus.stream_length(bus.keys.cancels) == 1


async def test_the_errors_are_ours(sentinels: Sentinels, deployment: str) -> None:
    keys = Keys(deployment)
    wrong = {
        sentinels.url.replace("/orders?", "/nobody?"): BusUnavailable,
        sentinels.url.replace("sentinel%3F2", "wrong"): BusUnavailable,
        sentinels.url.replace("word%2F1", "wrong"): ConfigError,
        f"redis+sentinel://127.0.0.1:{free_port()}/orders": BusUnavailable,
    }
    for url, kind in wrong.items():
        bus = open_bus(url, keys)
        with pytest.raises(kind) as caught:
            await bus.append(keys.cancels, REQUEST, source="t")
        assert "p@ss" not in str(caught.value) and "wrong" not in str(caught.value)
        await bus.close()
