from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from services.marketdata.core.history import DAY_NS, BarCache, duration_text
from services.marketdata.shell.history import History
from services.marketdata.shell.questions import Questions
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import SYSTEM_CLOCK
from shared.errors import BadInput, BrokerUnavailable
from shared.messages import decode_fields
from shared.messages.requests import HistoryAnswer, HistoryBar, HistoryQuery

MINUTE = 60_000_000_000


def bar(ts_ns: int) -> HistoryBar:
    one = Decimal("1.25")
    return HistoryBar(ts_ns=ts_ns, open=one, high=one, low=one, close=one, volume=Decimal(3))


def test_only_what_is_missing_is_asked_for() -> None:
    cache = BarCache(60)
    cache.add((2 * MINUTE, 4 * MINUTE), [bar(2 * MINUTE), bar(3 * MINUTE)], 10 * MINUTE)
    cache.add((6 * MINUTE, 7 * MINUTE), [], 10 * MINUTE)
    assert cache.missing(0, 10 * MINUTE) == [(0, 2 * MINUTE), (4 * MINUTE, 6 * MINUTE), (7 * MINUTE, 10 * MINUTE)]
    assert cache.missing(2 * MINUTE, 4 * MINUTE) == []
    assert [(r.end_ns // MINUTE, r.duration) for r in cache.requests(0, 7 * MINUTE)] == [(6, "120 S"), (2, "120 S")]


def test_a_bar_that_has_not_closed_is_not_kept() -> None:
    cache = BarCache(60)
    cache.add((0, 3 * MINUTE), [bar(0), bar(MINUTE), bar(2 * MINUTE)], 2 * MINUTE + 1)
    assert [kept.ts_ns for kept in cache.bars] == [0, MINUTE]
    assert cache.missing(0, 3 * MINUTE) == [(2 * MINUTE, 3 * MINUTE)]


def test_long_spans_are_asked_in_steps_the_broker_answers() -> None:
    requests = BarCache(60).requests(0, 2 * DAY_NS + MINUTE)
    assert [request.duration for request in requests] == ["86400 S", "86400 S", "60 S"]
    assert requests[0].span == (DAY_NS + MINUTE, 2 * DAY_NS + MINUTE)


@pytest.mark.parametrize("span, text", [(1, "30 S"), (DAY_NS, "86400 S"), (DAY_NS + 1, "2 D"), (366 * DAY_NS, "2 Y")])
def test_durations_in_the_brokers_words(span: int, text: str) -> None:
    assert duration_text(span) == text


async def _gateway(bus: MemoryBus, asked: list[HistoryQuery], error: str = "") -> None:
    cursor = "0-0"
    while True:
        for entry in (await bus.read({bus.keys.queries: cursor}, block_ms=20)).get(bus.keys.queries, []):
            cursor = entry.entry_id
            query = decode_fields(entry.fields).message
            assert isinstance(query, HistoryQuery)
            asked.append(query)
            end = query.end_ns
            seconds = int(query.duration.split()[0])
            bars = tuple(bar(ts) for ts in range(end - seconds * 1_000_000_000, end, MINUTE))
            reply = HistoryAnswer(query_id=query.query_id, con_id=query.con_id, bars=bars, error=error)
            await bus.append(bus.keys.answers(query.client), reply, source="gateway:test")
        await asyncio.sleep(0)


async def test_the_second_time_nothing_is_asked(tmp_path: Path) -> None:
    bus = MemoryBus(MemoryServer(), Keys("test"))
    asked: list[HistoryQuery] = []
    gateway = asyncio.create_task(_gateway(bus, asked))
    start = 1_700_000_040_000_000_000 // MINUTE * MINUTE
    history = History(Questions(bus, "me", SYSTEM_CLOCK), tmp_path, SYSTEM_CLOCK)
    first = await history.bars(7, start, start + 5 * MINUTE, "1 min")
    assert [one.ts_ns for one in first] == [start + number * MINUTE for number in range(5)]
    assert await history.bars(7, start, start + 5 * MINUTE, "1 min") == first
    assert len(asked) == 1
    other = History(Questions(bus, "me", SYSTEM_CLOCK), tmp_path, SYSTEM_CLOCK)
    assert len(await other.bars(7, start, start + 7 * MINUTE, "1 min")) == 7
    assert [query.duration for query in asked] == ["300 S", "120 S"]
    for path in tmp_path.rglob("*.mpz"):
        path.write_bytes(b"garbage")
    assert await other.bars(7, start, start + 5 * MINUTE, "1 min") == first
    assert len(asked) == 3
    gateway.cancel()


async def test_an_error_is_never_an_empty_answer(tmp_path: Path) -> None:
    bus = MemoryBus(MemoryServer(), Keys("test"))
    gateway = asyncio.create_task(_gateway(bus, [], error="no market data permission"))
    history = History(Questions(bus, "me", SYSTEM_CLOCK), tmp_path, SYSTEM_CLOCK)
    with pytest.raises(BrokerUnavailable, match="permission"):
        await history.bars(7, MINUTE, 2 * MINUTE, "1 min")
    with pytest.raises(BadInput, match="bar size"):
        await history.bars(7, MINUTE, 2 * MINUTE, "7 mins")
    assert list(tmp_path.rglob("*.mpz")) == []
    gateway.cancel()
