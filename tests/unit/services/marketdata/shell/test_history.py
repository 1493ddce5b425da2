from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from services.marketdata.core.history import DAY_NS, BarCache, duration_text, steps_back
from services.marketdata.shell.history import MAX_BARS, History, HistoryFailed, Wish
from services.marketdata.shell.questions import Questions
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import SYSTEM_CLOCK
from shared.errors import BadInput, PacingRefused, TimedOut
from shared.messages import decode_fields
from shared.messages.requests import NO_DATA, HistoryAnswer, HistoryBar, HistoryQuery

MINUTE = 60_000_000_000
SECOND = 1_000_000_000
START = 1_700_000_040_000_000_000 // MINUTE * MINUTE


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


def test_daily_bars_are_never_asked_for_in_seconds() -> None:
    assert duration_text(DAY_NS, 86_400) == "1 D"


@pytest.mark.parametrize("count, length_s", [(1, 1), (60, 60), (390, 60), (200, 86_400), (2000, 86_400), (50, 3600)])
def test_the_walk_back_touches_and_ends(count: int, length_s: int) -> None:
    end = 20_000 * DAY_NS
    spans = list(steps_back(end, count, length_s))
    assert spans[0][1] == end
    assert all(newer[0] == older[1] for newer, older in itertools.pairwise(spans))
    assert sum(stop - start for start, stop in spans) >= count * length_s * SECOND
    assert len(spans) <= 60


@dataclass
class Gateway:
    """Answers what marketdata asks: one bar a minute, those of `closed` minutes left out."""

    bus: MemoryBus
    asked: list[HistoryQuery] = field(default_factory=list)
    failure: tuple[str, str] = ("", "")
    delay_s: float = 0.0
    has_bar: Callable[[int], bool] = lambda ts_ns: True

    async def run(self) -> None:
        cursor = "0-0"
        async with asyncio.TaskGroup() as group:
            while True:
                for entry in (await self.bus.read({self.bus.keys.queries: cursor}, block_ms=20)).get(
                    self.bus.keys.queries, []
                ):
                    cursor = entry.entry_id
                    query = decode_fields(entry.fields).message
                    assert isinstance(query, HistoryQuery)
                    self.asked.append(query)
                    group.create_task(self._answer(query))
                await asyncio.sleep(0)

    async def _answer(self, query: HistoryQuery) -> None:
        await asyncio.sleep(self.delay_s)
        now = SYSTEM_CLOCK.wall_ns()
        end = query.end_ns or now - now % MINUTE + MINUTE
        seconds = int(query.duration.split()[0])
        times = [ts for ts in range(end - seconds * SECOND, end, MINUTE) if self.has_bar(ts)]
        error, code = self.failure
        if not times and not error:
            error, code = "HMDS query returned no data", NO_DATA
        reply = HistoryAnswer(
            query_id=query.query_id, con_id=query.con_id, bars=() if error else tuple(map(bar, times)), error=error,
            code=code,
        )  # fmt: skip
        await self.bus.append(self.bus.keys.answers(query.client), reply, source="gateway:test")


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    made = Gateway(MemoryBus(MemoryServer(), Keys("test")))
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()


@pytest.fixture
async def history(gateway: Gateway, tmp_path: Path) -> AsyncIterator[History]:
    made = History(Questions(gateway.bus, "me", SYSTEM_CLOCK), tmp_path, SYSTEM_CLOCK)
    async with made.open():
        yield made


def minutes(count: int) -> Wish:
    return Wish(7, "1 min", START, START + count * MINUTE)


async def test_the_second_time_nothing_is_asked(gateway: Gateway, history: History, tmp_path: Path) -> None:
    first = await history.bars(minutes(5))
    assert [one.ts_ns for one in first] == [START + number * MINUTE for number in range(5)]
    assert await history.bars(minutes(5)) == first
    assert len(gateway.asked) == 1
    other = History(Questions(gateway.bus, "you", SYSTEM_CLOCK), tmp_path, SYSTEM_CLOCK)
    async with other.open():
        assert len(await other.bars(minutes(7))) == 7
        assert [query.duration for query in gateway.asked] == ["300 S", "120 S"]
        for path in tmp_path.rglob("*.mpz"):
            path.write_bytes(b"garbage")
        assert await other.bars(minutes(5)) == first
        assert len(gateway.asked) == 3


async def test_equal_wishes_at_once_are_asked_once_and_overlapping_ones_only_for_the_rest(
    gateway: Gateway, history: History
) -> None:
    gateway.delay_s = 0.05
    answers = await asyncio.gather(*[history.bars(minutes(5)) for _ in range(20)], history.bars(minutes(8)))
    assert all(found == answers[0] for found in answers[:20])
    assert len(answers[-1]) == 8
    assert [query.duration for query in gateway.asked] == ["300 S", "180 S"]


async def test_the_last_bars_are_found_behind_a_night(gateway: Gateway, history: History) -> None:
    morning = START // DAY_NS * DAY_NS + 10 * 3600 * SECOND
    gateway.has_bar = lambda ts_ns: not morning - 9 * 3600 * SECOND <= ts_ns < morning
    found = await history.bars(Wish(7, "1 min", 0, morning + 5 * MINUTE, count=60))
    assert len(found) == 60
    assert [one.ts_ns for one in found[-6:]] == [
        morning - 9 * 3600 * SECOND - MINUTE, *(morning + number * MINUTE for number in range(5)),
    ]  # fmt: skip


async def test_the_bar_that_grows_is_asked_again_only_after_a_while_and_left_out_if_closed_ones_are_wanted(
    gateway: Gateway, history: History
) -> None:
    while SYSTEM_CLOCK.wall_ns() % MINUTE > 55 * SECOND:  # a minute that ends during the test proves nothing
        await asyncio.sleep(0.2)
    now = SYSTEM_CLOCK.wall_ns()
    growing = await history.bars(Wish(7, "1 min", 0, 0, count=3))
    assert growing[-1].ts_ns == now - now % MINUTE
    assert await history.bars(Wish(7, "1 min", 0, 0, count=3)) == growing
    assert len(gateway.asked) == 1
    closed = await history.bars(Wish(7, "1 min", 0, 0, count=2, closed_only=True))
    assert closed == growing[:2]
    assert len(gateway.asked) == 1


async def test_an_error_is_never_an_empty_answer(gateway: Gateway, history: History, tmp_path: Path) -> None:
    gateway.failure = ("no market data permission", "IB_162")
    with pytest.raises(HistoryFailed, match="permission") as failed:
        await history.bars(minutes(1))
    assert failed.value.code == "IB_162"
    assert list(tmp_path.rglob("*.mpz")) == []
    gateway.failure = ("", "")
    assert len(await history.bars(minutes(1))) == 1


async def test_no_data_is_an_error_and_is_not_remembered(gateway: Gateway, history: History) -> None:
    gateway.has_bar = lambda ts_ns: False
    with pytest.raises(HistoryFailed, match="has no 1 min bars") as failed:
        await history.bars(minutes(5))
    assert failed.value.code == NO_DATA
    gateway.has_bar = lambda ts_ns: True
    assert len(await history.bars(minutes(5))) == 5


async def test_an_impatient_caller_leaves_the_answer_for_the_next(gateway: Gateway, history: History) -> None:
    gateway.delay_s = 0.3
    with pytest.raises(TimedOut, match="still being asked"):
        await history.bars(minutes(5), deadline_ns=SYSTEM_CLOCK.wall_ns() + SECOND // 20)
    assert len(await history.bars(minutes(5))) == 5
    assert len(gateway.asked) == 1


async def test_pacing_beyond_the_deadline_is_said(gateway: Gateway, history: History) -> None:
    gateway.failure = ("IB's limit allows this request in 300 s", "PACING_HISTORY")
    with pytest.raises(PacingRefused, match="300 s"):
        await history.bars(minutes(5), deadline_ns=SYSTEM_CLOCK.wall_ns() + 5 * SECOND)


@pytest.mark.parametrize(
    "wish, text",
    [
        (Wish(7, "7 mins", START, START + MINUTE), "bar size"),
        (Wish(7, "1 min", START, START - MINUTE), "end is not after"),
        (Wish(7, "1 min", 0, 0, count=MAX_BARS + 1), "more than"),
        (Wish(7, "1 min", 0, 0, count=1, what_to_show="../x"), "no kind"),
    ],
)
async def test_a_wish_that_means_no_bars_is_bad_input(
    gateway: Gateway, history: History, wish: Wish, text: str
) -> None:
    with pytest.raises(BadInput, match=text):
        await history.bars(wish)
    assert gateway.asked == []
