from __future__ import annotations

from decimal import Decimal

import pytest

from services.strategy.core.events import Bar
from services.strategy.core.history import DAY_NS, MAX_COUNT, BarHistory, ClosedBar, checked_needs, closed_bar_of
from shared.errors import BadInput
from shared.messages.requests import HistoryBar
from tests.unit.services.strategy.parts import IBM

MINUTE = 60_000_000_000
START = 20_000 * DAY_NS


def closed(ts_ns: int, close: float = 1.0) -> ClosedBar:
    return ClosedBar(ts_ns, 1.0, 2.0, 0.5, close, 10.0, 1.1)


def bar(ts_ns: int, close: float = 9.0, *, interval: str = "1m", length_ns: int = MINUTE, complete: bool = True) -> Bar:
    return Bar(IBM, interval, ts_ns, ts_ns + length_ns, 9.0, 9.0, 9.0, close, 1.0, None, complete)


def loaded(count: int = 10, horizons: dict[str, int] | None = None) -> BarHistory:
    history = BarHistory({"1 min": 10}, horizons)
    history.load(IBM.con_id, "1 min", [closed(START + number * MINUTE) for number in range(count)])
    return history


def times(history: BarHistory, count: int = 10) -> list[int]:
    return [(one.ts_ns - START) // MINUTE for one in history.last(IBM.con_id, "1 min", count)]


def test_nothing_is_seen_that_had_not_closed_where_the_unit_goes_on() -> None:
    history = loaded()
    assert times(history) == []
    history.begin(START + 4 * MINUTE + MINUTE - 1)
    assert times(history) == [0, 1, 2, 3]
    history.begin(START + 2 * MINUTE)
    assert times(history) == [0, 1, 2, 3], "a horizon never goes back"
    assert times(history, 2) == [2, 3]


def test_bars_of_the_stream_carry_it_on_and_replace_what_was_loaded() -> None:
    history = loaded()
    history.begin(START + 3 * MINUTE)
    history.take(bar(START + 3 * MINUTE, close=7.0))
    assert times(history) == [0, 1, 2, 3]
    assert history.last(IBM.con_id, "1m", 1)[0].close == 7.0
    history.take(bar(START + 4 * MINUTE, complete=False))
    assert history.last(IBM.con_id, "1 min", 1)[0].close == 1.0, "the broker's whole bar is better than half of ours"
    history.take(bar(START + 10 * MINUTE))
    assert times(history) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]


def test_a_resumed_unit_shows_the_same_bars_at_the_same_event() -> None:
    before = loaded(5)
    before.begin(START + 5 * MINUTE)
    before.take(bar(START + 5 * MINUTE))
    resumed = loaded(9, dict(before.horizons))  # three more had closed until it was loaded again
    resumed.begin(START + 6 * MINUTE)
    assert times(resumed) == times(before)
    for history in (before, resumed):
        history.take(bar(START + 6 * MINUTE))
    assert times(resumed) == times(before)


def test_a_daily_bar_of_the_stream_is_that_of_its_date() -> None:
    history = BarHistory({"1 day": 3})
    history.load(IBM.con_id, "1 day", [closed(START - DAY_NS), closed(START)])
    history.begin(START)
    noon = START + DAY_NS // 2
    history.take(bar(noon, close=5.0, interval="1d", length_ns=DAY_NS // 3))
    assert [(one.ts_ns, one.close) for one in history.last(IBM.con_id, "1d", 3)] == [
        (START - DAY_NS, 1.0),
        (START, 5.0),
    ]


def test_bars_nobody_asked_for_are_not_kept() -> None:
    history = loaded()
    history.take(bar(START, interval="1s"))
    assert history.horizons == {}


@pytest.mark.parametrize("size, count", [("1 min", 11), ("1 day", 1), ("1 min", 0)])
def test_more_than_was_asked_for_is_an_error_that_says_what_was(size: str, count: int) -> None:
    with pytest.raises(BadInput, match="10 of '1 min'"):
        loaded().last(IBM.con_id, size, count)


def test_needs_are_in_sizes_that_the_streams_carry_on() -> None:
    assert checked_needs({"1m": 3, "1 min": 5, "1 DAY": 2}) == {"1 min": 5, "1 day": 2}
    wrong_needs: list[tuple[dict[str, object], str]] = [
        ({"5 mins": 1}, "1 secs, 5 secs"), ({"1 min": 0}, "number"), ({"1 min": MAX_COUNT + 1}, "number"),
        ({"1 min": "x"}, "number"), ({"1 min": True}, "number"), ({"weekly": 1}, "bar size"),
    ]  # fmt: skip
    for wrong, word in wrong_needs:
        with pytest.raises(BadInput, match=word):
            checked_needs(wrong)


def test_the_brokers_bars_become_numbers() -> None:
    one = Decimal("1.5")
    made = closed_bar_of(HistoryBar(ts_ns=3, open=one, high=one, low=one, close=one, volume=Decimal(2)))
    assert (made.ts_ns, made.open, made.volume) == (3, 1.5, 2.0)
    assert made.vwap != made.vwap
