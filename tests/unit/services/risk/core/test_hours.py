"""Hours as IB writes them, in both of its forms; what is not listed is not known to be closed."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from services.risk.core.hours import is_closed, spans_of

NEW_YORK = "US/Eastern"
HOURS = "20261125:0930-20261125:1600;20261126:CLOSED;20261127:0930-20261127:1300"


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("now", "closed"),
    [
        ("2026-11-25 09:29", True),
        ("2026-11-25 09:30", False),
        ("2026-11-25 16:00", True),
        ("2026-11-26 12:00", True),
        ("2026-11-27 12:59", False),
        ("2026-11-27 13:30", True),
        ("2026-11-30 03:00", False),
    ],
)
def test_a_holiday_and_a_half_day(now: str, closed: bool) -> None:
    assert is_closed(*spans_of(HOURS, NEW_YORK), ns(now)) is closed
    assert is_closed(*spans_of(HOURS, "EST (Eastern Standard Time)"), ns(now)) is closed


def test_a_session_over_midnight_and_the_older_form() -> None:
    futures = spans_of("20261126:1800-20261127:1700", NEW_YORK)
    assert not is_closed(*futures, ns("2026-11-27 03:00")) and is_closed(*futures, ns("2026-11-26 17:30"))
    older = spans_of("20261125:0930-1200,1300-2400", NEW_YORK)
    assert is_closed(*older, ns("2026-11-25 12:30")) and not is_closed(*older, ns("2026-11-25 23:59"))


@pytest.mark.parametrize("text", ["", "nonsense", "2026:0930-1600", "20261399:0930-1600"])
def test_nonsense_closes_nothing(text: str) -> None:
    assert not is_closed(*spans_of(text, NEW_YORK), ns("2026-11-25 12:00"))


def test_an_unknown_zone_closes_nothing() -> None:
    assert spans_of(HOURS, "Mars/Olympus") == spans_of(HOURS, "") == ((), 0)
