"""Ticks and bars on a real Cluster of three nodes; order flow on a server of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.crc import key_slot

from shared.bus.cluster import ClusterTicksBus
from shared.bus.keys import Keys
from shared.bus.redis_client import RedisBus, open_bus
from shared.errors import BusUnavailable, ConfigError, Fenced
from shared.messages.market import TICKS_TYPE
from shared.messages.orders import OrderState
from tests.conformance.bus.bench import SOURCE, an_event, lead
from tests.support import RedisServer, available_kinds, eventually, eventually_sync, free_port

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(90)]
NODES = 3
SLOTS = 16384


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[RedisServer]]:
    if not available_kinds():
        pytest.skip("no Redis and no Valkey on this machine")
    servers = []
    try:
        for _ in range(NODES):
            options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "2000")
            server = RedisServer(available_kinds()[0], password="c:l/u", options=options)
            servers.append(server)
            server.start()
        for number, server in enumerate(servers):
            first, last = SLOTS * number // NODES, SLOTS * (number + 1) // NODES - 1
            with server.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
                client.execute_command("CLUSTER", "MEET", servers[0].host, servers[0].port, int(servers[0].options[3]))
        for server in servers:
            eventually_sync(lambda server=server: state_of(server) == "ok", 30)  # type: ignore[misc]
        yield servers
    finally:
        for server in servers:
            server.remove()


def state_of(server: RedisServer) -> str:
    with server.client() as client:
        is_ok = b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO")
        known = len(client.execute_command("CLUSTER", "SLOTS"))
    return "ok" if is_ok and known >= NODES else "no"


@pytest.fixture
def ticks_url(nodes: list[RedisServer]) -> str:
    hosts = ",".join(f"127.0.0.1:{port}" for port in (free_port(), *(server.port for server in nodes)))
    return f"redis+cluster://:c%3Al%2Fu@{hosts}"


@pytest.fixture
async def bus(redis_server: RedisServer, ticks_url: str, deployment: str) -> AsyncIterator[RedisBus]:
    opened = open_bus(redis_server.url, Keys(deployment), ticks_url=ticks_url)
    assert isinstance(opened, ClusterTicksBus)
    yield opened
    await opened.close()


async def test_ticks_are_spread_over_the_nodes_and_fenced_beside_each_stream(
    bus: RedisBus, nodes: list[RedisServer]
) -> None:
    token = await lead(bus)
    await bus.publish_ticks(token, [(p, b"%d" % n) for n in range(3) for p in range(4)], source=SOURCE)
    found = await bus.read({bus.keys.ticks(p): "0-0" for p in range(4)}, block_ms=10)
    for partition in range(4):
        bodies = [entry.fields[b"body"] for entry in found[bus.keys.ticks(partition)]]
        assert bodies == [b"0", b"1", b"2"], "the order within a stream is kept"
        assert found[bus.keys.ticks(partition)][0].fields[b"type"] == TICKS_TYPE.encode()
    owners = {key_slot(bus.keys.ticks(p).encode()) * NODES // SLOTS for p in range(4)}
    assert owners == {n for n, node in enumerate(nodes) if _has_keys(node, bus.keys.ticks(0)[:-1])}
    await lead(bus, owner="b")
    with pytest.raises(Fenced):
        await bus.publish_ticks(token, [(0, b"x"), (1, b"x")], source=SOURCE)
    assert await bus.stream_length(bus.keys.ticks(0)) == 3


def _has_keys(node: RedisServer, prefix: str) -> bool:
    with node.client() as client:
        return any(True for _ in client.scan_iter(match=f"{prefix}?"))


async def test_a_waiting_reader_is_woken_by_any_stream_also_of_the_order_flow(bus: RedisBus) -> None:
    token = await lead(bus)
    cursors = {**{bus.keys.ticks(p): "0-0" for p in range(4)}, bus.keys.orders: "0-0"}

    async def woken_by(act: object) -> list[str]:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(bus.read(cursors, block_ms=5000))
            await asyncio.sleep(0.2)
            await act  # type: ignore[misc]
        found = reading.result()
        cursors.update({stream: entries[-1].entry_id for stream, entries in found.items()})
        return list(found)

    assert await woken_by(bus.publish_ticks(token, [(2, b"x")], source=SOURCE)) == [bus.keys.ticks(2)]
    order = [(bus.keys.orders, an_event(OrderState.WORKING))]
    assert await woken_by(bus.publish(token, order, source=SOURCE)) == [bus.keys.orders]
    assert await bus.read(cursors, block_ms=50) == {}


async def test_looking_and_trimming_work_on_every_node(bus: RedisBus) -> None:
    token = await lead(bus, "marketdata")
    for _ in range(3):
        entries = [(bus.keys.bars(p), an_event(OrderState.WORKING)) for p in range(4)]
        await bus.publish(token, [*entries, (bus.keys.subscriptions, an_event(OrderState.WORKING))], source=SOURCE)
    assert await bus.stream_length(bus.keys.subscriptions) == 3
    for partition in range(4):
        stream = bus.keys.bars(partition)
        first, _, last = await bus.read_range(stream)
        assert (await bus.read_last(stream, 1))[0].entry_id == await bus.last_id(stream) == last.entry_id
        assert await bus.trim(stream, before=last.entry_id) == 2
        assert await bus.gap_after(stream, first.entry_id) is not None
    await bus.load_functions()


async def test_a_slot_that_moved_is_followed(bus: RedisBus, nodes: list[RedisServer]) -> None:
    token = await lead(bus)
    await bus.publish_ticks(token, [(0, b"before")], source=SOURCE)
    stream = bus.keys.ticks(0)
    slot = key_slot(stream.encode())
    owner = slot * NODES // SLOTS
    source, target = nodes[owner], nodes[(owner + 1) % NODES]
    with source.client() as here, target.client() as there:
        here_id, there_id = (str(one.execute_command("CLUSTER", "MYID").decode()) for one in (here, there))
        there.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", here_id)
        here.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", there_id)
        keys = here.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100)
        here.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "AUTH", "c:l/u", "KEYS", *keys)
        await bus.publish_ticks(token, [(0, b"meanwhile")], source=SOURCE)  # ASK
        there.execute_command("CLUSTER", "SETSLOT", slot, "NODE", there_id)
        here.execute_command("CLUSTER", "SETSLOT", slot, "NODE", there_id)
    await bus.publish_ticks(token, [(0, b"after")], source=SOURCE)  # MOVED
    bodies = [entry.fields[b"body"] for entry in await bus.read_range(stream)]
    assert bodies == [b"before", b"meanwhile", b"after"]


async def test_a_cluster_is_refused_for_order_flow(ticks_url: str, deployment: str) -> None:
    with pytest.raises(ConfigError, match="ticks only"):
        open_bus(ticks_url, Keys(deployment))


async def test_a_node_that_is_away_is_a_bus_that_is_away(
    bus: RedisBus, nodes: list[RedisServer], redis_server: RedisServer
) -> None:
    """Last in this file: a node is killed and comes back."""
    token = await lead(bus)
    owner = nodes[key_slot(bus.keys.ticks(1).encode()) * NODES // SLOTS]
    owner.kill()
    with pytest.raises(BusUnavailable):
        await bus.read({bus.keys.ticks(1): "0-0"})
    assert await bus.stream_length(bus.keys.orders) == 0, "order flow goes on"
    owner.restart()

    async def is_back() -> bool:
        try:
            await bus.publish_ticks(token, [(1, b"x")], source=SOURCE)
        except BusUnavailable:
            return False
        return True

    await eventually(is_back, 30)
