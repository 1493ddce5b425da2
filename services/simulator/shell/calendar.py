"""Read exchange sessions from a calendar library (imported only when the market is to follow it)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.simulator.core.hours import Hours, TradingSession
from shared.clock import NS_PER_S
from shared.errors import ConfigError

NAMES = ("XNYS", "XETR", "CMES")


def exchange_hours(now_ns: int) -> Hours:
    """Return the sessions of a month back and a year ahead.

    Raises:
        ConfigError: the calendar library is not installed.
    """
    try:
        import exchange_calendars
    except ImportError as e:
        raise ConfigError("SIM_CALENDAR: install the calendars first: pip install 'copilot-quant[sim]'") from e
    today = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).date()
    hours = Hours()
    for name in NAMES:
        calendar = exchange_calendars.get_calendar(
            name, start=str(today - timedelta(days=30)), end=str(today + timedelta(days=300))
        )
        hours.calendars[name] = [
            TradingSession(int(opens.value), int(closes.value))
            for opens, closes in zip(calendar.schedule["open"], calendar.schedule["close"], strict=True)
        ]
    return hours
