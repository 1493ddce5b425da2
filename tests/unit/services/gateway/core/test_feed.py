from __future__ import annotations

import math

from services.gateway.core.feed import Feed
from shared.messages.market import FLAG_SNAPSHOT, Tick, TickKind, is_valid_tick


def feed_with(req_id: int = 1, con_id: int = 265598) -> Feed:
    feed = Feed()
    feed.subscribe(req_id, con_id, 5)
    assert [tick.kind for tick in feed.take()] == [TickKind.MARKER]
    return feed


def quotes(ticks: list[Tick]) -> list[tuple[float, float, float, float]]:
    return [(tick.a, tick.b, tick.c, tick.d) for tick in ticks if tick.kind == TickKind.QUOTE]


def test_what_came_together_is_one_quote() -> None:
    feed = feed_with()
    feed.price(1, 1, 10.0, 3, 7)
    feed.size(1, 0, 3, 7)
    feed.price(1, 2, 10.1, 4, 7)
    feed.size(1, 3, 4, 7)
    feed.read_ended(7)
    (tick,) = feed.take()
    assert (tick.a, tick.b, tick.c, tick.d, tick.flags) == (10.0, 3, 10.1, 4, FLAG_SNAPSHOT)
    feed.price(1, 1, 10.05, 3, 8)
    feed.read_ended(8)
    (tick,) = feed.take()
    assert tick.a == 10.05 and tick.flags == 0 and tick.ts_event_ns == 8


def test_a_side_that_changes_twice_is_two_quotes() -> None:
    feed = feed_with()
    feed.price(1, 1, 10.0, 3, 7)
    feed.price(1, 2, 10.1, 4, 7)
    feed.price(1, 1, 10.2, 5, 7)
    feed.read_ended(7)
    assert quotes(feed.take()) == [(10.0, 3, 10.1, 4), (10.2, 5, 10.1, 4)]


def test_the_repeated_size_of_a_trade_is_no_second_trade() -> None:
    feed = feed_with()
    feed.price(1, 4, 10.0, 100, 7)
    feed.size(1, 5, 100, 7)
    feed.price(1, 4, 10.0, 50, 8)
    feed.size(1, 5, 50, 8)
    feed.size(1, 5, 70, 9)
    trades = [(tick.a, tick.b, tick.flags) for tick in feed.take()]
    assert trades == [(10.0, 100, FLAG_SNAPSHOT), (10.0, 50, 0), (10.0, 70, 0)]


def test_delayed_types_mean_the_same_and_carry_their_quality() -> None:
    feed = feed_with()
    assert feed.data_type(1, 3) == 265598 and feed.data_type(1, 3) == 0
    feed.price(1, 66, 10.0, 3, 7)
    feed.price(1, 67, 10.1, 4, 7)
    feed.read_ended(7)
    (tick,) = feed.take()
    assert tick.quality == 3 and (tick.a, tick.c) == (10.0, 10.1)


def test_no_quote_is_nan() -> None:
    feed = feed_with()
    feed.price(1, 1, 10.0, 3, 7)
    feed.price(1, 2, -1.0, 0, 7)
    feed.read_ended(7)
    (tick,) = feed.take()
    assert math.isnan(tick.c) and tick.d == 0


def test_a_slow_reader_gets_the_newest_quote_and_a_count() -> None:
    feed = Feed(limit=100)
    feed.subscribe(1, 1, 0)
    feed.subscribe(2, 2, 0)
    for number in range(1000):
        feed.price(1 + number % 2, 1, 10.0 + number, 1, number)
        feed.read_ended(number)
    assert feed.waiting <= 101 and feed.dropped > 0
    last = {tick.con_id: tick.a for tick in feed.take() if tick.kind == TickKind.QUOTE}
    assert last == {1: 1008.0, 2: 1009.0}


def test_nonsense_pushes_no_quote_out_when_the_reader_is_slow() -> None:
    feed = Feed(limit=3)
    feed.subscribe(1, 1, 0)
    feed.price(1, 1, 10.0, 1, 7)
    feed.read_ended(7)
    for number in range(5):
        feed.price(1, 1, math.inf, number, 8)
        feed.read_ended(8)
    assert [tick.a for tick in feed.take() if is_valid_tick(tick) and tick.kind == TickKind.QUOTE] == [10.0]


def test_unknown_requests_and_types_are_ignored() -> None:
    feed = feed_with()
    feed.price(9, 1, 10.0, 3, 7)
    feed.price(1, 37, 10.0, 3, 7)
    feed.size(9, 0, 3, 7)
    feed.read_ended(7)
    feed.unsubscribe(1)
    feed.price(1, 1, 10.0, 3, 7)
    assert feed.take() == [] and feed.con_id_of(1) == 0


def test_a_silent_feed_says_what_each_line_is_when_it_speaks_and_goes_on_from_there() -> None:
    feed = Feed()
    feed.hush()
    feed.subscribe(1, 265598, 5)
    feed.subscribe(2, 4391, 5)
    feed.subscribe(3, 12087792, 5)
    for bid in (10.0, 10.2):
        feed.price(1, 1, bid, 3, 7)
        feed.price(1, 2, 10.5, 4, 7)
        feed.price(1, 4, 10.1, 100, 7)
        feed.read_ended(7)
    feed.price(2, 4, 50.0, 1, 8)
    assert feed.data_type(1, 1) == 265598
    assert feed.take() == [] and feed.waiting == 0 and feed.qualities == {265598: 1}
    feed.speak(9)
    ticks = [(tick.con_id, tick.kind, tick.a, tick.flags, tick.ts_event_ns) for tick in feed.take()]
    assert ticks == [
        (265598, TickKind.MARKER, 0.0, 0, 9),
        (265598, TickKind.QUOTE, 10.2, FLAG_SNAPSHOT, 9),
        (265598, TickKind.TRADE, 10.1, FLAG_SNAPSHOT, 9),
        (4391, TickKind.MARKER, 0.0, 0, 9),
        (4391, TickKind.TRADE, 50.0, FLAG_SNAPSHOT, 9),
        (12087792, TickKind.MARKER, 0.0, 0, 9),
    ]
    feed.price(1, 1, 10.3, 3, 10)
    feed.price(2, 1, 49.0, 1, 10)
    feed.read_ended(10)
    assert [(tick.con_id, tick.flags) for tick in feed.take()] == [(265598, 0), (4391, FLAG_SNAPSHOT)]
    feed.speak(11)
    assert feed.take() == [], "it spoke already"
    feed.price(1, 1, 10.4, 3, 12)
    feed.hush()
    assert feed.waiting == 0


def test_what_was_lost_is_told_with_a_marker_before_what_came_meanwhile_and_a_snapshot_after_it() -> None:
    feed = feed_with()
    feed.subscribe(2, 8314, 5)
    feed.price(1, 1, 10.0, 3, 7)
    feed.price(2, 1, 20.0, 3, 7)
    feed.read_ended(7)
    feed.take()  # and the bus did not take it
    feed.price(1, 1, 10.1, 3, 8)
    feed.price(1, 4, 10.2, 5, 8)
    feed.lost({265598}, 9)
    ticks = feed.take()
    assert [(tick.con_id, tick.kind, tick.a, tick.flags) for tick in ticks] == [
        (265598, TickKind.MARKER, 0.0, 0),
        (265598, TickKind.QUOTE, 10.1, 0),
        (265598, TickKind.TRADE, 10.2, FLAG_SNAPSHOT),
        (265598, TickKind.QUOTE, 10.1, FLAG_SNAPSHOT),
        (265598, TickKind.TRADE, 10.2, FLAG_SNAPSHOT),
    ]
