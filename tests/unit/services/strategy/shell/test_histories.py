from __future__ import annotations

from decimal import Decimal

import pytest

from services.strategy.api import Strategy
from services.strategy.shell.histories import HistoryBook
from services.strategy.shell.loader import Declared, DeclaredUnit
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import ManualClock
from shared.ids import UnitId
from shared.messages.codec import decode_fields
from shared.messages.requests import BarsAnswer, BarsQuery, HistoryBar
from tests.unit.services.strategy.parts import IBM, NICKEL

DAILY = Declared("s", Strategy, Strategy.Params(), (), "s.py", history=(("1 day", 3),))
UNIT = DeclaredUnit(UnitId("s/all"), DAILY, ("IBM", "NICKEL"))
NONE = DeclaredUnit(UnitId("t/all"), Declared("t", Strategy, Strategy.Params(), (), "t.py"), ("IBM",))


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(MemoryServer(), Keys("x"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def book(bus: MemoryBus, clock: ManualClock) -> HistoryBook:
    return HistoryBook(bus, client="w1.history", source="strategy:w1", clock=clock)


async def queries(bus: MemoryBus) -> list[BarsQuery]:
    found = [decode_fields(entry.fields).message for entry in await bus.read_range(bus.keys.history_queries)]
    return [one for one in found if isinstance(one, BarsQuery)]


def answer(query: BarsQuery, error: str = "") -> BarsAnswer:
    one = Decimal(2)
    bars = tuple(HistoryBar(ts_ns=n, open=one, high=one, low=one, close=one) for n in range(query.count))
    return BarsAnswer(
        query_id=query.query_id, con_id=query.con_id, error=error, total=0 if error else len(bars),
        bars=() if error else bars,
    )  # fmt: skip


async def test_a_unit_gets_its_bars_once_all_of_them_have_come(book: HistoryBook, bus: MemoryBus) -> None:
    assert book.of_unit(UNIT, [IBM, NICKEL]) is None
    await book._step()
    first, second = await queries(bus)
    assert (first.bar_size, first.count, first.closed_only, first.use_rth) == ("1 day", 3, True, True)
    await bus.answer(first.client, answer(first), source="m")
    await book._step()
    assert book.of_unit(UNIT, [IBM, NICKEL]) is None
    assert "NICKEL" in book.why_missing("s/all")
    await bus.answer(second.client, answer(second), source="m")
    await book._step()
    loaded = book.of_unit(UNIT, [IBM, NICKEL])
    assert loaded is not None
    assert {key: len(bars) for key, bars in loaded.items()} == {(IBM.con_id, "1 day"): 3, (NICKEL.con_id, "1 day"): 3}
    assert len(await queries(bus)) == 2


async def test_an_error_is_shown_and_asked_again_later(book: HistoryBook, bus: MemoryBus, clock: ManualClock) -> None:
    book.of_unit(UNIT, [IBM])
    await book._step()
    (query,) = await queries(bus)
    await bus.answer(query.client, answer(query, "no market data permission"), source="m")
    await book._step()
    assert book.of_unit(UNIT, [IBM]) is None
    assert "no market data permission" in book.why_missing("s/all")
    assert len(await queries(bus)) == 1
    clock.advance(6.0)
    await book._step()
    assert len(await queries(bus)) == 2


async def test_bars_from_before_the_last_bars_end_are_asked_for_again(
    book: HistoryBook, bus: MemoryBus, clock: ManualClock
) -> None:
    book.of_unit(UNIT, [IBM])
    await book._step()
    (query,) = await queries(bus)
    await bus.answer(query.client, answer(query), source="m")
    await book._step()
    clock.advance(86_400.0)
    assert book.of_unit(UNIT, [IBM]) is None
    await book._step()
    assert len(await queries(bus)) == 2


async def test_a_unit_without_needs_waits_for_nothing(book: HistoryBook, bus: MemoryBus) -> None:
    assert book.of_unit(NONE, [IBM]) == {}
    await book._step()
    assert await queries(bus) == []
