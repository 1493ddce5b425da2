from __future__ import annotations

from decimal import Decimal

from services.marketdata.core.resume import OVERLAP_NS, Resumption, start_after
from shared.messages.market import Bar

S = 1_000_000_000
MINUTE = 60 * S
T0 = 1_763_984_400 * S


def bar(at_s: int, close: str = "1", interval: str = "1s", length_s: int = 1) -> Bar:
    price = Decimal(close)
    opens = T0 + at_s * S
    return Bar(
        con_id=1, interval=interval, ts_open_ns=opens, ts_close_ns=opens + length_s * S, open=price, high=price,
        low=price, close=price, volume=Decimal(1), trades=1,
    )  # fmt: skip


def test_ticks_are_read_again_from_two_minutes_before_the_newest_minute() -> None:
    assert start_after([]) is None
    assert start_after([bar(0, interval="1m", length_s=60), bar(70)]) == T0 + MINUTE - OVERLAP_NS
    assert start_after([bar(0, interval="1d", length_s=86400)]) is None


def test_what_is_on_the_bus_is_not_published_again() -> None:
    resumption = Resumption(T0, [bar(1), bar(2)])
    assert resumption.news([bar(1), bar(2), bar(3)]) == [bar(3)]


def test_what_differs_is_published_once_as_revised() -> None:
    resumption = Resumption(T0, [bar(1)])
    [news] = resumption.news([bar(1, "2")])
    assert news.is_revised
    assert resumption.news([bar(1, "2")]) == []


def test_what_opened_before_the_start_is_not_known_whole_and_stays_unpublished() -> None:
    resumption = Resumption(T0 + 10 * S, [])
    assert resumption.news([bar(9), bar(10)]) == [bar(10)]
    day = bar(0, interval="1d", length_s=86400)
    assert resumption.news([day]) == [day]


def test_what_can_no_longer_be_rebuilt_is_forgotten() -> None:
    resumption = Resumption(T0, [bar(1), bar(100)])
    resumption.forget_before(T0 + 50 * S)
    assert not resumption.is_over
    resumption.forget_before(T0 + 101 * S)
    assert resumption.is_over
