from __future__ import annotations

import warnings
from datetime import UTC, date, datetime

import pytest

from services.simulator.core.universe import default_universe

pytest.importorskip("exchange_calendars")


def test_the_new_york_sessions_are_those_of_the_exchange() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        from services.simulator.shell.calendar import exchange_hours

        hours = exchange_hours(1_795_446_000 * 1_000_000_000)
    apple = next(each for each in default_universe(date(2026, 11, 23)) if each.symbol == "AAPL")

    def at(day: int, hour: int, minute: int) -> bool:
        moment = datetime(2026, 11, day, hour, minute, tzinfo=UTC)
        return hours.is_open(apple, int(moment.timestamp()) * 1_000_000_000)

    assert not at(23, 14, 29) and at(23, 14, 30) and at(23, 20, 59) and not at(23, 21, 0)
    assert not at(26, 16, 0)  # Thanksgiving
    assert at(27, 17, 59) and not at(27, 18, 1)  # a half day
