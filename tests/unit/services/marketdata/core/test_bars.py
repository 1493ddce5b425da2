from __future__ import annotations

from decimal import Decimal

import pytest

from services.marketdata.core.bars import BarRules, ContractBars
from shared.messages.market import Bar
from shared.sessions import SessionCalendar

S = 1_000_000_000
MINUTE = 60 * S
T0 = 1_763_984_400 * S  # 2025-11-24 11:40:00 UTC, a whole minute
CALENDAR = SessionCalendar("UTC", "")


def builder(*intervals: str, known_from_ns: int = 1, **rules: object) -> ContractBars:
    chosen = BarRules(intervals=intervals or ("1s", "5s", "1m", "1d"), **rules)  # type: ignore[arg-type]
    return ContractBars(1, CALENDAR, chosen, known_from_ns=known_from_ns)


def feed(bars: ContractBars, *trades: tuple[float, float, float]) -> list[Bar]:
    out: list[Bar] = []
    for at_s, price, size in trades:
        bars.on_trade(T0 + int(at_s * S), price, size, 1, out)
    return out


def advance(bars: ContractBars, at_s: float) -> list[Bar]:
    out: list[Bar] = []
    bars.advance(T0 + int(at_s * S), out)
    return out


def short(bar: Bar) -> tuple[str, float, str, str, str, str, str, int]:
    at_s = (bar.ts_open_ns - T0) / S
    prices = str(bar.open), str(bar.high), str(bar.low), str(bar.close)
    return (bar.interval, at_s, *prices, str(bar.volume), bar.trades)


def test_a_second_closes_with_the_next_trade_and_carries_its_trades() -> None:
    out = feed(builder("1s"), (0.1, 10.0, 100), (0.5, 10.5, 50), (0.7, 9.75, 1), (0.9, 10.25, 10), (1.0, 11.0, 1))
    assert [short(bar) for bar in out] == [("1s", 0.0, "10", "10.5", "9.75", "10.25", "161", 4)]
    assert out[0].vwap == Decimal("10.169255")
    assert not out[0].is_revised
    assert out[0].quality == 1


def test_a_bar_says_which_hours_it_covers() -> None:
    bars = builder("1s", "1d", day_hours="all")
    out = feed(bars, (0.5, 10.0, 1), (1.5, 10.0, 1)) + advance(bars, 2 * 86_400)
    assert {(bar.interval, bar.hours) for bar in out} == {("1s", "all"), ("1d", "all")}


def test_open_and_close_are_the_first_and_last_by_event_time_not_by_arrival() -> None:
    out = feed(builder("1s"), (0.5, 10.0, 1), (0.1, 9.0, 1), (0.9, 12.0, 1), (0.7, 11.0, 1), (2.0, 1.0, 1))
    assert [short(bar) for bar in out] == [("1s", 0.0, "9", "12", "9", "12", "4", 4)]


def test_longer_intervals_hold_the_same_trades() -> None:
    out = feed(builder("5s", "1m"), (0.5, 10.0, 1), (4.5, 12.0, 2), (5.5, 11.0, 4), (61.0, 1.0, 8))
    assert [short(bar) for bar in out] == [
        ("5s", 0.0, "10", "12", "10", "12", "3", 2),
        ("5s", 5.0, "11", "11", "11", "11", "4", 1),
        ("1m", 0.0, "10", "12", "10", "11", "7", 3),
    ]


def test_an_interval_closes_on_time_without_a_later_trade() -> None:
    bars = builder("1s", "5s", grace_ns=S // 5)
    feed(bars, (0.5, 10.0, 1))
    assert bars.deadline_ns() == T0 + S + S // 5
    assert advance(bars, 1.1) == []
    assert [bar.interval for bar in advance(bars, 1.2)] == ["1s"]
    assert bars.deadline_ns() == T0 + 5 * S + S // 5
    assert advance(bars, 5.19) == []
    assert [bar.interval for bar in advance(bars, 5.2)] == ["5s"]


def test_a_bar_is_given_out_once() -> None:
    bars = builder("1s")
    feed(bars, (0.5, 10.0, 1))
    assert len(advance(bars, 3)) == 1
    assert advance(bars, 4) == []
    assert feed(bars, (5.5, 11.0, 1)) == []


def test_a_late_trade_revises_the_closed_bar_and_joins_the_open_longer_one() -> None:
    bars = builder("1s", "5s")
    feed(bars, (0.5, 10.0, 1), (1.5, 10.0, 1))
    late = feed(bars, (0.9, 12.0, 5))
    assert [short(bar) for bar in late] == [("1s", 0.0, "10", "12", "10", "12", "6", 2)]
    assert late[0].is_revised
    closed = advance(bars, 6)
    assert [short(bar) for bar in closed] == [
        ("1s", 1.0, "10", "10", "10", "10", "1", 1),
        ("5s", 0.0, "10", "12", "10", "10", "7", 3),
    ]
    assert not closed[1].is_revised


def test_a_late_trade_of_an_interval_without_trades_makes_its_bar() -> None:
    bars = builder("1s", "5s")
    feed(bars, (0.5, 10.0, 1), (7.5, 10.0, 1))
    late = feed(bars, (3.0, 9.0, 2), (5.5, 8.0, 2))
    assert [(*short(bar)[:2], bar.is_revised) for bar in late] == [
        ("1s", 3.0, False),
        ("5s", 0.0, True),
        ("1s", 5.0, False),
    ]
    assert short(advance(bars, 11)[1]) == ("5s", 5.0, "8", "10", "8", "10", "3", 2)


def test_what_is_later_than_the_history_is_counted_and_dropped() -> None:
    bars = builder("1s")
    feed(bars, *[(second, 10.0, 1) for second in range(130)])
    assert feed(bars, (0.5, 99.0, 1)) == []
    assert bars.too_late == 1


def test_a_gap_makes_what_it_touches_incomplete() -> None:
    bars = builder("1s", "1m")
    feed(bars, (0.5, 10.0, 1))
    bars.mark_gap(T0 + 3 * S + S // 2)
    out = feed(bars, (3.7, 10.0, 1), (5.0, 10.0, 1), (6.0, 10.0, 1), (61, 10.0, 1), (62, 10.0, 1), (121, 1.0, 1))
    complete = {(bar.interval, (bar.ts_open_ns - T0) // S): bar.is_complete for bar in out}
    assert complete[("1s", 0)] is False
    assert complete[("1s", 3)] is False
    assert complete[("1s", 5)] is True
    assert complete[("1m", 0)] is False
    assert complete[("1m", 60)] is True


def test_the_first_bars_of_a_contract_seen_in_the_middle_are_incomplete() -> None:
    bars = builder("1s", "1m", known_from_ns=T0 + 30 * S + 1)
    out = feed(bars, (30.5, 10.0, 1), (31.0, 10.0, 1), (60.0, 10.0, 1), (120.0, 1.0, 1))
    assert [(bar.interval, bar.is_complete) for bar in out] == [
        ("1s", False),
        ("1s", True),
        ("1m", False),
        ("1s", True),
        ("1m", True),
    ]


def test_no_bar_without_trades_unless_asked() -> None:
    asked = builder("1s", "5s", fill_empty=("1s",))
    out = feed(asked, (0.5, 10.0, 1), (3.5, 11.0, 1))
    assert [short(bar) for bar in out] == [
        ("1s", 0.0, "10", "10", "10", "10", "1", 1),
        ("1s", 1.0, "10", "10", "10", "10", "0", 0),
        ("1s", 2.0, "10", "10", "10", "10", "0", 0),
    ]
    assert [short(bar)[:2] for bar in advance(asked, 5.5)] == [("1s", 3.0), ("5s", 0.0), ("1s", 4.0)]
    assert [bar.interval for bar in feed(builder("1s"), (0.5, 10.0, 1), (3.5, 11.0, 1))] == ["1s"]


def test_empty_bars_stop_with_the_market() -> None:
    closes = SessionCalendar("UTC", "20251124:0000-20251124:1141")
    bars = ContractBars(1, closes, BarRules(intervals=("1m",), fill_empty=("1m",)), known_from_ns=1)
    feed(bars, (0.5, 10.0, 1))
    assert [bar.trades for bar in advance(bars, 600)] == [1]


def test_delayed_data_closes_as_much_later_as_it_comes() -> None:
    bars = builder("1s", grace_ns=0)
    bars.note_lag(900 * S)
    feed(bars, (0.5, 10.0, 1))
    assert advance(bars, 900.5) == []
    assert len(advance(bars, 901)) == 1


def test_the_daily_bar_follows_the_session_and_leaves_out_what_is_outside() -> None:
    session = SessionCalendar("UTC", "20251124:1141-20251124:1142;20251125:CLOSED")
    bars = ContractBars(1, session, BarRules(intervals=("1d",)), known_from_ns=1)
    out = feed(bars, (30, 5.0, 1), (61, 10.0, 1), (90, 12.0, 2), (130, 99.0, 4))
    out += advance(bars, 140)
    assert [short(bar) for bar in out] == [("1d", 60.0, "10", "12", "10", "12", "3", 2)]
    assert [bar.hours for bar in out] == ["rth"]


def test_a_seeded_day_goes_on_without_counting_twice() -> None:
    first = builder("1d")
    feed(first, (1, 10.0, 1), (2, 14.0, 1), (3, 8.0, 1))
    state = first.day_state()
    assert state is not None
    assert state.trades == 2
    assert state.upto_ns == T0 + 3 * S
    second = builder("1d")
    second.seed_day(state)
    feed(second, (1, 10.0, 1), (2, 14.0, 1), (3, 8.0, 1), (4, 9.0, 1))
    out: list[Bar] = []
    second.advance(state.close_ns + S, out)
    assert [short(bar)[2:] for bar in out] == [("10", "14", "8", "9", "4", 4)]


@pytest.mark.parametrize("price, text", [(10.0, "10"), (0.1, "0.1"), (1.23456789, "1.23456789"), (1e-7, "1E-7")])
def test_prices_come_out_as_they_went_in(price: float, text: str) -> None:
    out = feed(builder("1s"), (0, price, 1), (1, price, 1))
    assert str(out[0].open) == text
