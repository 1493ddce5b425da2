from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from services.marketdata.shell.history import History, HistoryFailed, Wish
from services.marketdata.shell.history_desk import PIECE, WAITING, HistoryDesk, pieces_of
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import LeaseToken
from shared.clock import SYSTEM_CLOCK
from shared.errors import BusUnavailable, PacingRefused, TimedOut
from shared.messages import decode_fields
from shared.messages.requests import BarsAnswer, BarsPieces, BarsQuery, HistoryBar
from tests.support import eventually

SECOND = 1_000_000_000


def bars(count: int) -> list[HistoryBar]:
    one = Decimal(1)
    return [HistoryBar(ts_ns=number * SECOND, open=one, high=one, low=one, close=one) for number in range(count)]


class Played(History):
    """A history that answers as told."""

    def __init__(self) -> None:
        super().__init__(None, None, SYSTEM_CLOCK)  # type: ignore[arg-type]
        self.result: list[HistoryBar] | Exception = bars(3)
        self.gate = asyncio.Event()
        self.gate.set()
        self.wishes: list[Wish] = []

    async def bars(self, wish: Wish, *, deadline_ns: int = 0) -> list[HistoryBar]:
        self.wishes.append(wish)
        await self.gate.wait()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(MemoryServer(), Keys("test"))


@pytest.fixture
async def history(bus: MemoryBus) -> AsyncIterator[Played]:
    played = Played()
    token = await bus.lease_acquire("marketdata", "m", await bus.lease_view("marketdata"), at_least_epoch=1)
    assert isinstance(token, LeaseToken)
    desk = HistoryDesk(bus, played, "marketdata:m", SYSTEM_CLOCK)
    task = asyncio.create_task(desk.run(token, lambda: True))
    yield played
    task.cancel()


def query(number: int = 1, **more: Any) -> BarsQuery:
    deadline_ns = SYSTEM_CLOCK.wall_ns() + 5 * SECOND
    return BarsQuery(**{
        "query_id": str(number), "client": "me", "deadline_ns": deadline_ns, "con_id": 7, "bar_size": "1 min",
        "count": 3, **more,
    })  # fmt: skip


async def answers(bus: MemoryBus, count: int) -> list[BarsAnswer]:
    async def there() -> list[BarsAnswer]:
        entries = await bus.read_range(bus.keys.answers("me"))
        found = [decode_fields(entry.fields).message for entry in entries]
        return [one for one in found if isinstance(one, BarsAnswer)] if len(found) >= count else []

    result: list[BarsAnswer] = await eventually(there)
    return result


async def test_a_long_answer_comes_in_pieces_that_fit_together(bus: MemoryBus, history: Played) -> None:
    history.result = bars(2 * PIECE + 1)
    await bus.append(bus.keys.history_queries, query(what_to_show="bid"), source="t")
    found = await answers(bus, 3)
    assert [(one.first, len(one.bars), one.total) for one in found] == [
        (0, PIECE, 2 * PIECE + 1), (PIECE, PIECE, 2 * PIECE + 1), (2 * PIECE, 1, 2 * PIECE + 1),
    ]  # fmt: skip
    assert history.wishes[0].what_to_show == "BID"
    pieces = BarsPieces()
    assert pieces.add(found[2]) is None
    assert pieces.add(found[0]) is None
    assert pieces.add(found[0]) is None
    assert pieces.add(found[1]) == history.result


def test_pieces_of_two_answerings_are_not_mixed() -> None:
    short, long = pieces_of(query(), bars(3), "a", 0), pieces_of(query(), bars(PIECE + 3), "b", 0)
    pieces = BarsPieces()
    assert pieces.add(long[0]) is None
    assert pieces.add(short[0]) == bars(3)


@pytest.mark.parametrize(
    "error, code",
    [
        (HistoryFailed("IB_354", "not subscribed"), "IB_354"),
        (PacingRefused("PACING_HISTORY", "in 300 s"), "PACING_HISTORY"),
        (TimedOut("still being asked for"), "TIMED_OUT"),
        (BusUnavailable("Redis is away"), "BUS_AWAY"),
        (ValueError("what nobody thought of"), "HISTORY_FAILED"),
    ],
)
async def test_a_failure_is_an_error_with_its_code(
    bus: MemoryBus, history: Played, error: Exception, code: str
) -> None:
    history.result = error
    await bus.append(bus.keys.history_queries, query(), source="t")
    (answer,) = await answers(bus, 1)
    assert answer.code == code and answer.error and not answer.bars


async def test_what_is_unreadable_or_too_late_stops_nothing(bus: MemoryBus, history: Played) -> None:
    late = query(1, deadline_ns=SYSTEM_CLOCK.wall_ns() - SECOND)
    await bus.append(bus.keys.history_queries, late, source="t")
    bus._server.add(bus.keys.history_queries, {"type": b"bars_query", "body": b"\xc1"})
    await bus.append(bus.keys.history_queries, query(2), source="t")
    (answer,) = await answers(bus, 1)
    assert answer.query_id == "2"
    assert len(await bus.read_last(bus.keys.dead_letter, 10)) == 1


async def test_too_many_at_once_are_refused_at_once(bus: MemoryBus, history: Played) -> None:
    history.gate.clear()
    for number in range(WAITING + 1):
        await bus.append(bus.keys.history_queries, query(number), source="t")
    (refused,) = await answers(bus, 1)
    assert refused.code == "QUERIES_FULL" and refused.query_id == str(WAITING)
    history.gate.set()
    assert len({one.query_id for one in await answers(bus, WAITING + 1)}) == WAITING + 1
