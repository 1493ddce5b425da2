"""Trading days and windows are times in a zone: daylight saving, midnight and weekends included."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from services.risk.core.days import TradingDay, Window

NEW_YORK = ZoneInfo("America/New_York")


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("now", "start"),
    [
        ("2026-11-26 16:59:59", "2026-11-25 17:00"),
        ("2026-11-26 17:00", "2026-11-26 17:00"),
        ("2026-11-27 00:30", "2026-11-26 17:00"),
        ("2026-11-01 12:00", "2026-10-31 17:00"),  # the clocks go back in between: 25 hours
        ("2026-03-08 12:00", "2026-03-07 17:00"),  # and forward: 23
    ],
)
def test_a_trading_day_begins_at_its_time(now: str, start: str) -> None:
    day = TradingDay.of("17:00 America/New_York")
    assert day.start_ns(ns(now)) == ns(start)
    assert day.start_ns(ns(now)) == ns(start), "also when asked again"


def test_days_are_equal_as_written() -> None:
    one = TradingDay.of("17:00 America/New_York")
    assert one == TradingDay.of(str(one)) and hash(one) == hash(TradingDay.of(str(one)))
    assert one != TradingDay.of("00:00 UTC")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("23:45-00:45", ["26 23:45", "26 00:44:59"], ["26 00:45", "26 12:00"]),
        ("12:00-13:00", ["26 12:00"], ["26 13:00"]),
        ("Fri 23:00-Sat 03:00", ["27 23:30", "28 02:59"], ["26 23:30", "28 03:00"]),
        ("Sat 23:00-Mon 03:00", ["29 12:00", "30 01:00"], ["28 22:00"]),
    ],
)
def test_windows(text: str, inside: list[str], outside: list[str]) -> None:
    window = Window.of(f"{text} America/New_York")
    assert str(window) == f"{text} America/New_York"
    assert all(window.holds(ns(f"2026-11-{moment}")) for moment in inside)
    assert not any(window.holds(ns(f"2026-11-{moment}")) for moment in outside)


@pytest.mark.parametrize("text", ["", "17:00", "25:00 UTC", "17:00 Mars/Olympus", "noon UTC"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        TradingDay.of(text)


NO_WINDOWS = ["23:45 UTC", "23:45-00:45", "Fri 23:00-03:00 UTC", "Foo 01:00-Sat 03:00 UTC", "25:00-26:00 UTC"]


@pytest.mark.parametrize("text", NO_WINDOWS)
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Window.of(text)
