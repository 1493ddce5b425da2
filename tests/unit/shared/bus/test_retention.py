from __future__ import annotations

from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.retention import ReaderPosition, Retention, parse_readers, plan_trim, retentions, trim_pass
from shared.clock import NS_PER_S, ManualClock
from shared.messages import decode_fields
from shared.messages.market import SubscriptionRequest

NOW_NS = 1_700_000_000 * NS_PER_S
NOW_MS = 1_700_000_000_000
KEEP = Retention(max_age_s=100.0, max_entries=10, keep_s=20.0, reader_ttl_s=50.0)


def reader(age_s: float, *, seen_s_ago: float = 1.0, name: str = "r") -> ReaderPosition:
    return ReaderPosition(name, f"{NOW_MS - int(age_s * 1000)}-3", NOW_NS - int(seen_s_ago * NS_PER_S))


def test_without_readers_what_is_young_stays() -> None:
    assert plan_trim(KEEP, [], NOW_NS) == f"{NOW_MS - 20_000}-0"


def test_a_reader_that_is_behind_holds_back_what_it_has_not_read() -> None:
    assert plan_trim(KEEP, [reader(60)], NOW_NS) == f"{NOW_MS - 60_000}-4"
    assert plan_trim(KEEP, [reader(60), reader(5)], NOW_NS) == f"{NOW_MS - 60_000}-4"


def test_a_reader_that_is_ahead_does_not_shorten_what_people_look_at() -> None:
    assert plan_trim(KEEP, [reader(1)], NOW_NS) == f"{NOW_MS - 20_000}-0"


def test_nobody_holds_back_past_the_retention() -> None:
    assert plan_trim(KEEP, [reader(500)], NOW_NS) == f"{NOW_MS - 100_000}-0"
    oldest = f"{NOW_MS - 10_000}-7"
    assert plan_trim(KEEP, [reader(60)], NOW_NS, oldest_by_length=oldest) == oldest


def test_a_reader_that_is_gone_holds_nothing_back() -> None:
    assert plan_trim(KEEP, [reader(60, seen_s_ago=51)], NOW_NS) == f"{NOW_MS - 20_000}-0"


def test_a_young_clock_keeps_everything() -> None:
    assert plan_trim(KEEP, [], 0) == "0-0"


def test_registrations_that_cannot_be_read_are_ignored() -> None:
    stored = {"a": b"5-1 77", "b": b"x", "c": b"5-1", "d": b"\xff 1", "e": b"5-x 1"}
    assert parse_readers(stored) == (ReaderPosition("a", "5-1", 77),)


async def test_the_newest_entry_stays_whatever_its_age_for_it_is_the_state() -> None:
    clock = ManualClock()
    bus = MemoryBus(MemoryServer(clock), Keys("sim"))
    stream = bus.keys.subscriptions
    messages = [SubscriptionRequest(con_ids=(1,), revision=revision) for revision in range(3)]
    for message in messages:
        await bus.append(stream, message, source="marketdata:1")
        clock.advance(1.0)
    clock.advance(10 * 24 * 3600.0)
    assert await trim_pass(bus, retentions(bus.keys), clock.wall_ns()) == {stream: 2}
    (last,) = await bus.read_last(stream, 10)
    assert decode_fields(last.fields).message == messages[-1]
