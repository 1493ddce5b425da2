"""Readers with cursors of their own, dead letters, snapshots and retention on every bus."""

from __future__ import annotations

import asyncio
import time

from shared.bus.dead_letter import MAX_ERROR_CHARACTERS, decode_or_keep, is_order_path, original_fields
from shared.bus.ports import Bus, Entry
from shared.bus.retention import Retention, forget_reader, keep_bounded, register_reader, retentions, trim_pass
from shared.bus.tail import TailReader
from shared.clock import NS_PER_S, SystemClock
from shared.messages import decode_fields
from shared.messages.orders import CancelRequest
from tests.conformance.bus.bench import SOURCE
from tests.support import eventually

NOTHING_STAYS = Retention(max_age_s=10**9, max_entries=10**6, keep_s=-10.0)
"""What everybody has read goes at once; the clock of ids may be a little ahead of ours."""


def a_request(number: int = 1) -> CancelRequest:
    return CancelRequest(cancel_id=str(number), intent_id="i" * 20)


async def fill_stream(bus: Bus, count: int) -> list[str]:
    return [await bus.append(bus.keys.cancels, a_request(n), source=SOURCE) for n in range(count)]


async def test_a_blocked_reader_wakes_for_a_new_entry_and_gives_up_after_its_slice(bus: Bus) -> None:
    stream = bus.keys.cancels
    started = time.monotonic()
    assert await bus.read({stream: "0-0"}, block_ms=150) == {}
    assert 0.1 < time.monotonic() - started < 2
    waiting = asyncio.create_task(bus.read({stream: "0-0"}, block_ms=5000))
    await asyncio.sleep(0.05)
    entry_id = await bus.append(stream, a_request(), source=SOURCE)
    assert [entry.entry_id for entry in (await waiting)[stream]] == [entry_id]
    assert await bus.read({}, block_ms=10) == {}


async def test_streams_beside_are_read_along_and_wake_nobody(bus: Bus) -> None:
    front, beside = bus.keys.cancels, bus.keys.control
    first = await bus.append(beside, a_request(1), source=SOURCE)
    started = time.monotonic()
    found = await bus.read({front: "0-0"}, block_ms=150, beside={beside: "0-0"})
    assert time.monotonic() - started > 0.1, "what lies beside is not waited for, even when it is there"
    assert [entry.entry_id for entry in found[beside]] == [first] and front not in found
    waiting = asyncio.create_task(bus.read({front: "0-0"}, block_ms=5000, beside={beside: first}))
    await asyncio.sleep(0.05)
    second = await bus.append(beside, a_request(2), source=SOURCE)
    await asyncio.sleep(0.1)
    assert not waiting.done()
    woken_by = await bus.append(front, a_request(3), source=SOURCE)
    found = await waiting
    assert {stream: [entry.entry_id for entry in entries] for stream, entries in found.items()} == {
        front: [woken_by],
        beside: [second],
    }


async def test_a_cancelled_read_costs_nothing_but_its_connection(bus: Bus) -> None:
    stream = bus.keys.cancels
    for _ in range(40):
        waiting = asyncio.create_task(bus.read({stream: "0-0"}, block_ms=5000))
        await asyncio.sleep(0.005)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    entry_id = await bus.append(stream, a_request(), source=SOURCE)
    assert (await bus.read({stream: "0-0"}))[stream][0].entry_id == entry_id


async def test_ranges_and_counts(bus: Bus) -> None:
    stream = bus.keys.cancels
    assert await bus.last_id(stream) == "0-0"
    ids = await fill_stream(bus, 6)
    assert [entry.entry_id for entry in await bus.read_range(stream, first=ids[1], last=ids[3])] == ids[1:4]
    assert [entry.entry_id for entry in await bus.read_range(stream, count=2)] == ids[:2]
    assert [entry.entry_id for entry in await bus.read_last(stream, 2)] == ids[4:]
    assert [entry.entry_id for entry in (await bus.read({stream: ids[2]}, count=2))[stream]] == ids[3:5]
    assert await bus.last_id(stream) == ids[-1]
    assert await bus.count_after(stream, ids[3]) == 2
    await bus.trim(stream, before="99999999999999-0")
    assert await bus.stream_length(stream) == 0
    assert await bus.last_id(stream) == ids[-1]


async def test_a_tail_reader_resumes_and_says_what_it_missed(bus: Bus) -> None:
    stream = bus.keys.cancels
    ids = await fill_stream(bus, 6)
    reader = TailReader(bus, {stream: "0-0"})
    first = await reader.read(count=2, block_ms=None)
    assert [entry.entry_id for entry in first.entries[stream]] == ids[:2] and not first.gaps
    await bus.trim(stream, before=ids[4])
    resumed = TailReader(bus, reader.cursors)
    batch = await resumed.read(block_ms=None)
    assert [(gap.after_id, gap.next_id) for gap in batch.gaps] == [(ids[1], ids[4])]
    assert [entry.entry_id for entry in batch.entries[stream]] == ids[4:]
    assert not (await resumed.read(block_ms=None)).gaps


async def test_an_unreadable_entry_is_kept_with_its_error(bus: Bus) -> None:
    bad = Entry(bus.keys.commands, "5-1", {b"type": b"command", b"body": b"\xc1", b"\xff": b"x"})
    assert await decode_or_keep(bus, bad, consumer="gateway:a") is None
    await bus.dead_letter(Entry(bus.keys.orders, "5-2", {}), consumer="x", error="e" * 10_000)
    kept, gone = await bus.read_range(bus.keys.dead_letter)
    assert kept.fields[b"key"] == bus.keys.commands.encode() and kept.fields[b"id"] == b"5-1"
    assert original_fields(kept.fields)[b"body"] == b"\xc1"
    assert b"not msgpack" in kept.fields[b"error"] and kept.fields[b"source"] == b"gateway:a"
    assert len(gone.fields[b"error"]) == MAX_ERROR_CHARACTERS
    assert is_order_path(bus.keys, bad.stream) and not is_order_path(bus.keys, bus.keys.ticks(0))


async def test_a_readable_entry_is_decoded_and_not_kept(bus: Bus) -> None:
    await fill_stream(bus, 1)
    entry = (await bus.read_range(bus.keys.cancels))[0]
    envelope = await decode_or_keep(bus, entry, consumer="x")
    assert envelope is not None and envelope.message == decode_fields(entry.fields).message
    assert await bus.stream_length(bus.keys.dead_letter) == 0


async def test_snapshots(bus: Bus) -> None:
    key = bus.keys.last(1)
    await bus.hash_set(key, {"bid": "1.5", "raw": b"\x00\xff"})
    await bus.hash_set(bus.keys.halt, {"stage": "holding", "who": "me"})
    await bus.hash_delete(key, ["bid", "never"])
    await bus.hash_set(key, {})
    assert await bus.hash_get_all(key) == {"raw": b"\x00\xff"}
    assert await bus.hash_get_all(bus.keys.halt) == {"stage": b"holding", "who": b"me"}
    assert await bus.hash_get_all(bus.keys.last(2)) == {}
    beat = bus.keys.heartbeat("risk", "a")
    await bus.set_text(beat, "alive", expire_s=0.1)
    assert await bus.get_text(beat) == b"alive"
    assert await bus.scan(bus.keys.heartbeat_pattern()) == [beat]

    async def is_gone() -> bool:
        return await bus.get_text(beat) is None and await bus.scan(bus.keys.heartbeat_pattern()) == []

    await eventually(is_gone)


async def test_answers_are_short_lived_streams_of_one_client(bus: Bus) -> None:
    await bus.answer("me", a_request(), source=SOURCE)
    assert await bus.stream_length(bus.keys.answers("me")) == 1


async def test_retention_waits_for_registered_readers_but_not_past_its_end(bus: Bus) -> None:
    stream = bus.keys.cancels
    ids = await fill_stream(bus, 8)
    now_ns = time.time_ns()
    await register_reader(bus, stream, "slow", ids[2], now_ns)
    await register_reader(bus, stream, "gone", "0-0", now_ns - 2 * 86_400 * NS_PER_S)
    await bus.hash_set(bus.keys.readers(stream), {"broken": "x"})
    assert await trim_pass(bus, {stream: NOTHING_STAYS}, now_ns) == {stream: 3}
    assert [entry.entry_id for entry in await bus.read_range(stream)] == ids[3:]
    assert await bus.gap_after(stream, ids[2]) is None
    short = Retention(max_age_s=10**9, max_entries=2, keep_s=10**9)
    assert await trim_pass(bus, {stream: short}, now_ns) == {stream: 3}
    gap = await bus.gap_after(stream, ids[2])
    assert gap is not None and gap.next_id == ids[6]
    await forget_reader(bus, stream, "slow")
    assert await trim_pass(bus, {stream: NOTHING_STAYS, bus.keys.fills: NOTHING_STAYS}, now_ns) == {stream: 1}
    assert await bus.last_id(stream) == ids[7]


async def test_every_stream_of_the_deployment_has_a_retention(bus: Bus) -> None:
    known = retentions(bus.keys)
    for stream in (bus.keys.intents, bus.keys.fills, bus.keys.ticks(3), bus.keys.bars(0), bus.keys.dead_letter):
        assert known[stream].max_entries > 0


class NextMonth(SystemClock):
    def wall_ns(self) -> int:
        return time.time_ns() + 30 * 86_400 * NS_PER_S


async def test_the_loop_keeps_streams_bounded(bus: Bus) -> None:
    await fill_stream(bus, 3)
    running = asyncio.create_task(keep_bounded(bus, NextMonth(), every_s=0.01))

    async def is_down_to_its_newest() -> bool:
        return await bus.stream_length(bus.keys.cancels) == 1

    try:
        await eventually(is_down_to_its_newest)
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
