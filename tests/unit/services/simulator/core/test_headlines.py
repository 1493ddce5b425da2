from __future__ import annotations

from itertools import islice

from services.simulator.core.headlines import headlines
from tests.unit.services.simulator.exchange_support import START_NS, Driver


def test_one_per_weekday_newest_first_and_none_from_the_future() -> None:
    apple = Driver().engine.floor.universe.by_symbol("AAPL")
    assert apple is not None
    found = list(islice(headlines(apple, START_NS), 10))
    assert found == list(islice(headlines(apple, START_NS), 10))
    assert all(each.at_ns <= START_NS for each in found)
    days = [each.article_id[-8:] for each in found]
    assert days[0] == "20261123" and days == sorted(set(days), reverse=True)
    before_it_came_out = next(headlines(apple, found[0].at_ns - 1))
    assert before_it_came_out == found[1]
