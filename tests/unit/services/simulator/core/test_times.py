from __future__ import annotations

import pytest

from services.simulator.core.times import day_text, midnight_ns, parse_tws_time, zoned_text

NS = 1_000_000_000
NOON = 1_795_453_200 * NS  # 2026-11-23 12:00 New York


def test_execution_times_in_both_forms() -> None:
    assert zoned_text(NOON, "America/New_York") == "20261123 12:00:00 America/New_York"
    assert zoned_text(NOON, "America/New_York", with_name=False) == "20261123  12:00:00"
    assert day_text(NOON, "Asia/Tokyo") == "20261124"


def test_midnight_is_that_of_the_zone() -> None:
    assert zoned_text(midnight_ns(NOON, "America/New_York"), "America/New_York").startswith("20261123 00:00:00")


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("20261123 12:00:00 America/New_York", 0),
        ("20261123 12:00:00", 0),
        ("20261123 12:00:00 EST", 0),
        ("20261123 12:00:00 UTC", -5),
        ("20261123-12:00:00", -5),
        ("20261123  13:00:00", 1),
    ],
)
def test_request_times(text: str, hours: int) -> None:
    assert parse_tws_time(text, "America/New_York") == NOON + hours * 3600 * NS


def test_no_time_and_bad_times() -> None:
    assert parse_tws_time("", "UTC") is None
    for text in ("now", "20261123 12:00:00 Mars/Olympus", "20261323 12:00:00", "2026-11-23"):
        with pytest.raises(ValueError, match=r"."):
            parse_tws_time(text, "UTC")
