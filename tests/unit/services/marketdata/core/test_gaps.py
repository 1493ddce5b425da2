from __future__ import annotations

from services.marketdata.core.gaps import CameBack, StaleWatch, WentSilent
from shared.sessions import SessionCalendar

S = 1_000_000_000
T0 = 1_763_984_400 * S  # a Monday


def test_silence_is_said_once_and_its_end_once() -> None:
    watch = StaleWatch(10 * S)
    watch.want((1,), T0)
    assert watch.check({1: T0}, {}, T0 + 10 * S) == []
    assert watch.check({1: T0}, {}, T0 + 11 * S) == [WentSilent(1, T0)]
    assert watch.check({1: T0}, {}, T0 + 20 * S) == []
    assert watch.silent == {1: T0}
    assert watch.check({1: T0 + 21 * S}, {}, T0 + 22 * S) == [CameBack(1, 21 * S)]
    assert watch.silent == {}


def test_a_new_want_has_time_to_begin_and_a_dropped_one_is_forgotten() -> None:
    watch = StaleWatch(10 * S)
    watch.want((1,), T0)
    assert watch.check({}, {}, T0 + 5 * S) == []
    assert watch.check({}, {}, T0 + 11 * S) == [WentSilent(1, T0)]
    watch.want((), T0 + 12 * S)
    assert watch.silent == {}


def test_a_closed_market_is_silent_by_right() -> None:
    closed = SessionCalendar("UTC", "20251124:CLOSED")
    watch = StaleWatch(10 * S)
    watch.want((1,), T0)
    assert watch.check({}, {1: closed}, T0 + 3600 * S) == []


def test_the_first_moments_after_the_opening_count_from_the_opening() -> None:
    opens = SessionCalendar("UTC", "20251124:1141-20251124:1600")
    watch = StaleWatch(10 * S)
    watch.want((1,), T0)
    assert watch.check({}, {1: opens}, T0 + 65 * S) == []
    assert watch.check({}, {1: opens}, T0 + 71 * S) == [WentSilent(1, T0)]


def test_what_is_silent_is_subscribed_anew_at_once_and_then_less_and_less_often() -> None:
    watch = StaleWatch(10 * S)
    watch.want((1, 2), T0)

    def renewed(until_s: int) -> list[tuple[int, tuple[int, ...]]]:
        found = []
        for second in range(until_s):
            now_ns = T0 + second * S
            watch.check({2: now_ns}, {}, now_ns)
            if renewals := watch.renewals(now_ns):
                found.append((second, renewals))
        return found

    assert renewed(160) == [(11, (1,)), (31, (1,)), (71, (1,)), (151, (1,))]


def test_one_that_was_sound_for_long_begins_with_its_first_pause_again() -> None:
    watch = StaleWatch(10 * S)
    watch.want((1,), T0)
    watch.check({}, {}, T0 + 11 * S)
    assert watch.renewals(T0 + 11 * S) == (1,)
    for second in range(12, 200):  # it ticks again
        watch.check({1: T0 + second * S}, {}, T0 + second * S)
        assert watch.renewals(T0 + second * S) == ()
    watch.check({1: T0 + 199 * S}, {}, T0 + 210 * S)
    assert watch.renewals(T0 + 210 * S) == (1,)
    watch.check({1: T0 + 211 * S}, {}, T0 + 212 * S)
    watch.check({1: T0 + 211 * S}, {}, T0 + 222 * S)
    assert watch.renewals(T0 + 222 * S) == (), "it was silent a moment ago: not so soon again"
