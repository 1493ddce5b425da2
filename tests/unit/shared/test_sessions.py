from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from shared.sessions import SessionCalendar, zone_of

S = 1_000_000_000


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


def day(calendar: SessionCalendar, at: str) -> tuple[date, int, int] | None:
    found = calendar.day_of(ns(at))
    return None if found is None else (found.label, found.open_ns, found.close_ns)


def test_a_stock_day_in_winter_and_in_summer() -> None:
    hours = "20261030:0930-20261030:1600;20261102:0930-20261102:1600"
    calendar = SessionCalendar("US/Eastern", hours)
    assert day(calendar, "2026-10-30T13:30") == (date(2026, 10, 30), ns("2026-10-30T13:30"), ns("2026-10-30T20:00"))
    assert day(calendar, "2026-11-02T14:30") == (date(2026, 11, 2), ns("2026-11-02T14:30"), ns("2026-11-02T21:00"))
    assert day(calendar, "2026-11-02T13:30") is None


def test_a_session_belongs_to_the_date_on_which_it_ends() -> None:
    calendar = SessionCalendar("US/Central", "20261122:1700-20261123:1600;20261123:1700-20261124:1600")
    sunday_evening = day(calendar, "2026-11-23T00:00")
    assert sunday_evening == (date(2026, 11, 23), ns("2026-11-22T23:00"), ns("2026-11-23T22:00"))
    assert day(calendar, "2026-11-23T22:30") is None


def test_a_session_until_midnight_belongs_to_the_day_before_midnight() -> None:
    calendar = SessionCalendar("UTC", "20261123:0000-20261124:0000")
    assert day(calendar, "2026-11-23T12:00") == (date(2026, 11, 23), ns("2026-11-23T00:00"), ns("2026-11-24T00:00"))


def test_a_lunch_break_is_part_of_the_day_but_not_open() -> None:
    for hours in ("20261123:0900-20261123:1130;20261123:1230-20261123:1500", "20261123:0900-1130,1230-1500"):
        calendar = SessionCalendar("JST", hours)
        assert day(calendar, "2026-11-23T03:00") == (date(2026, 11, 23), ns("2026-11-23T00:00"), ns("2026-11-23T06:00"))
        assert calendar.is_open(ns("2026-11-23T02:00"))
        assert not calendar.is_open(ns("2026-11-23T03:00"))


def test_the_older_form_may_begin_the_evening_before() -> None:
    calendar = SessionCalendar("US/Central", "20090507:1700-1515,1530-1600")
    found = day(calendar, "2009-05-07T12:00")
    assert found == (date(2009, 5, 7), ns("2009-05-06T22:00"), ns("2009-05-07T21:00"))


def test_a_closed_date_has_no_day_and_an_unlisted_one_is_the_calendar_day() -> None:
    calendar = SessionCalendar("America/New_York", "20261126:CLOSED;20261127:0930-20261127:1300")
    assert day(calendar, "2026-11-26T15:00") is None
    assert not calendar.is_open(ns("2026-11-26T15:00"))
    assert day(calendar, "2026-11-25T15:00") == (date(2026, 11, 25), ns("2026-11-25T05:00"), ns("2026-11-26T05:00"))
    assert calendar.is_open(ns("2026-11-25T15:00"))
    assert not calendar.is_open(ns("2026-11-29T15:00")), "a Sunday"


@pytest.mark.parametrize("at, hours", [("2026-03-08T12:00", 23), ("2026-11-01T12:00", 25), ("2026-06-01T12:00", 24)])
def test_a_calendar_day_has_as_many_hours_as_the_zone_gives_it(at: str, hours: int) -> None:
    found = SessionCalendar("America/New_York").day_of(ns(at))
    assert found is not None
    assert found.close_ns - found.open_ns == hours * 3600 * S


@pytest.mark.parametrize(
    "garbage", ["nonsense", "20261123:9999-20261123:1600", "20261123:1600-20261123:0930", ";;", "2"]
)
def test_hours_that_cannot_be_read_are_no_hours(garbage: str) -> None:
    assert day(SessionCalendar("UTC", garbage), "2026-11-23T12:00") is not None


@pytest.mark.parametrize(
    "name, key",
    [
        ("US/Eastern", "US/Eastern"),
        ("EST", "America/New_York"),
        ("US/Eastern (Eastern Standard Time)", "US/Eastern"),
        ("", "UTC"),
        ("Mars/Olympus", "UTC"),
        ("../etc/passwd", "UTC"),
    ],
)
def test_zone_names_of_the_broker(name: str, key: str) -> None:
    assert zone_of(name).key == key
