"""Intents that wait keep their strategy's order, and the cursor stays in front of the oldest of them."""

from __future__ import annotations

from services.risk.shell.waiting import WAITING_MAX, Held, Waiting
from shared.bus.ports import Entry
from tests.risk_desk import intent_of


def held(number: int, strategy: str = "a") -> Held:
    return Held(Entry("intents", f"{number}-0", {}), intent_of(number, strategy=strategy), f"{number - 1}-0", 0)


def test_the_cursor_stays_before_the_oldest_that_waits() -> None:
    waiting = Waiting()
    assert not waiting and waiting.cursor("4-0") == "4-0"
    first, second, third = held(5), held(7, "b"), held(8)
    for one in (first, second, third):
        waiting.put(one)
    assert waiting.cursor("9-0") == "4-0" and len(waiting) == 3
    waiting.decided(second)
    assert waiting.cursor("9-0") == "4-0"
    waiting.decided(first)
    assert waiting.cursor("9-0") == "7-0"
    waiting.decided(third)
    assert waiting.cursor("9-0") == "9-0" and not waiting.strategies()


def test_each_strategy_has_its_first() -> None:
    waiting = Waiting()
    rows = [held(1), held(2), held(3, "b")]
    for one in rows:
        waiting.put(one)
    assert [waiting.head(name) for name in waiting.strategies()] == [rows[0], rows[2]]
    waiting.decided(rows[1])  # not the first: it is not its turn
    assert waiting.head("a") is rows[0] and waiting.head("c") is None
    waiting.decided(rows[0])
    assert waiting.head("a") is rows[1]


def test_there_is_an_end_to_it() -> None:
    waiting = Waiting()
    for number in range(WAITING_MAX):
        assert not waiting.is_full
        waiting.put(held(number))
    assert waiting.is_full
