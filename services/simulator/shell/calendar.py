"""Read exchange sessions from a calendar library (imported only when the market is to follow it)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.simulator.core.hours import Hours, TradingSession
from shared.clock import NS_PER_S
from shared.errors import ConfigError

NAMES = ("XNYS", "XETR", "CMES")
PRE_MARKET_HOUR, POST_MARKET_HOURS = 4, 4
_NEW_YORK = ZoneInfo("America/New_York")


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
            _session(name, int(opens.value), int(closes.value))
            for opens, closes in zip(calendar.schedule["open"], calendar.schedule["close"], strict=True)
        ]
    hours.calendars["24/5"] = list(_forex_weeks(today))
    return hours


def _session(name: str, open_ns: int, close_ns: int) -> TradingSession:
    if name != "XNYS":
        return TradingSession(open_ns, close_ns)
    opens = datetime.fromtimestamp(open_ns // NS_PER_S, _NEW_YORK)
    first = opens.replace(hour=PRE_MARKET_HOUR, minute=0, second=0)
    return TradingSession(
        open_ns, close_ns, int(first.timestamp()) * NS_PER_S, close_ns + POST_MARKET_HOURS * 3600 * NS_PER_S
    )


def _forex_weeks(today: date) -> Iterator[TradingSession]:
    """Yield the days of currency trading: from 17:15 of the day before to 17:00 New York, Monday to Friday."""
    for offset in range(-30, 300):
        day = today + timedelta(days=offset)
        if day.weekday() < 5:
            eve = day - timedelta(days=1)
            opens = datetime(eve.year, eve.month, eve.day, 17, 15, tzinfo=_NEW_YORK)
            closes = datetime(day.year, day.month, day.day, 17, 0, tzinfo=_NEW_YORK)
            yield TradingSession(int(opens.timestamp()) * NS_PER_S, int(closes.timestamp()) * NS_PER_S)
