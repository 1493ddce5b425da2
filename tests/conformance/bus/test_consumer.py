"""Consumer groups on every bus: at least once, acknowledged last, nothing lost to a crash."""

from __future__ import annotations

import asyncio

import pytest

from shared.bus.consumer import GroupReader
from shared.bus.ports import Bus, Entry
from shared.errors import GroupMissing
from shared.messages.orders import CancelRequest
from tests.conformance.bus.bench import SOURCE, Bench
from tests.conformance.bus.test_incarnation import wait_until_back


async def fill_stream(bus: Bus, count: int) -> list[str]:
    requests = [CancelRequest(cancel_id=str(n), intent_id="i" * 20) for n in range(count)]
    return [await bus.append(bus.keys.queries, request, source=SOURCE) for request in requests]


async def take(reader: GroupReader, count: int = 100) -> list[Entry]:
    """Read until something comes; the first reads may make the group."""
    for _ in range(4):
        batch = await reader.read(count=count, block_ms=None)
        if batch.entries:
            return list(batch.entries)
    return []


def ids_of(entries: list[Entry]) -> list[str]:
    return [entry.entry_id for entry in entries]


async def test_two_consumers_share_the_work_and_a_new_group_starts_at_the_beginning(bus: Bus) -> None:
    ids = await fill_stream(bus, 6)
    one, other = (GroupReader(bus, bus.keys.queries, "g", name) for name in ("a", "b"))
    first, second = await take(one, 3), await take(other, 3)
    assert ids_of(first) + ids_of(second) == ids
    await one.ack(first)
    await other.ack(second)
    assert await take(one) == [] and await take(other) == []


async def test_what_was_not_acknowledged_comes_back_to_its_consumer_first(bus: Bus) -> None:
    ids = await fill_stream(bus, 4)
    assert ids_of(await take(GroupReader(bus, bus.keys.queries, "g", "a"), 2)) == ids[:2]
    restarted = GroupReader(bus, bus.keys.queries, "g", "a")
    again = await take(restarted)
    assert ids_of(again) == ids[:2]
    await restarted.ack(again)
    assert ids_of(await take(restarted)) == ids[2:]


async def test_work_of_a_stopped_consumer_is_taken_over(bus: Bus) -> None:
    ids = await fill_stream(bus, 3)
    assert ids_of(await take(GroupReader(bus, bus.keys.queries, "g", "dead"), 3)) == ids
    patient = GroupReader(bus, bus.keys.queries, "g", "b", idle_ms=60_000)
    assert await take(patient) == []
    heir = GroupReader(bus, bus.keys.queries, "g", "c", idle_ms=0)
    found = await take(heir, 2) + await take(heir, 2)
    assert ids_of(found) == ids
    await heir.ack(found)
    assert await take(GroupReader(bus, bus.keys.queries, "g", "dead")) == []


async def test_entries_trimmed_while_pending_are_reported_and_forgotten(bus: Bus) -> None:
    ids = await fill_stream(bus, 3)
    assert len(await take(GroupReader(bus, bus.keys.queries, "g", "a"))) == 3
    await bus.trim(bus.keys.queries, before=ids[2])
    restarted = GroupReader(bus, bus.keys.queries, "g", "a")
    batch = await restarted.read(block_ms=None)
    assert list(batch.trimmed) == ids[:2] and [entry.entry_id for entry in batch.entries] == ids[2:]
    heir = GroupReader(bus, bus.keys.queries, "g", "b", idle_ms=0)
    assert ids_of(await take(heir)) == ids[2:]


async def test_a_group_lost_with_the_server_is_made_again(bus: Bus, bench: Bench) -> None:
    reader = GroupReader(bus, bus.keys.queries, "g", "a")
    await fill_stream(bus, 1)
    await reader.ack(await take(reader))
    bench.forget_everything()
    await wait_until_back(bus)
    with pytest.raises(GroupMissing):
        await bus.group_pending(bus.keys.queries, "g", "a", after="0-0", count=1)
    ids = await fill_stream(bus, 2)
    assert ids_of(await take(reader)) == ids


async def test_a_blocked_group_read_wakes_and_a_cancelled_one_loses_nothing(bus: Bus) -> None:
    reader = GroupReader(bus, bus.keys.queries, "g", "a")
    assert await take(reader) == []
    waiting = asyncio.create_task(reader.read(block_ms=5000))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    (entry_id,) = await fill_stream(bus, 1)
    assert ids_of(await take(reader)) == [entry_id]
    waiting = asyncio.create_task(reader.read(block_ms=5000))
    await asyncio.sleep(0.05)
    (entry_id,) = await fill_stream(bus, 1)
    found = list((await waiting).entries)
    assert entry_id in ids_of(found)
    await bus.group_ensure(bus.keys.queries, "g")
