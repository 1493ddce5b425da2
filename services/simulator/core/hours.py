"""Say when an instrument trades, and write its hours as contract details do.

By default the market is always open, so that the demo trades at any hour; with sessions given (by the shell, from an
exchange calendar) it follows them.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.simulator.core.contracts import Instrument
from services.simulator.core.times import local

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TradingSession:
    """One regular session of a calendar; Unix nanoseconds."""

    open_ns: int
    close_ns: int


@dataclass
class Hours:
    """Trading hours by calendar name; a calendar that is missing is always open."""

    calendars: dict[str, list[TradingSession]] = field(default_factory=dict)

    def is_open(self, instrument: Instrument, at_ns: int) -> bool:
        """Return whether regular trading goes on."""
        sessions = self.calendars.get(instrument.calendar)
        if sessions is None:
            return True
        index = bisect_right(sessions, at_ns, key=lambda each: each.open_ns) - 1
        return index >= 0 and at_ns < sessions[index].close_ns

    def covers(self, instrument: Instrument, at_ns: int) -> bool:
        """Return whether the instrument's calendar is known at a time."""
        sessions = self.calendars.get(instrument.calendar)
        return sessions is not None and len(sessions) > 0 and sessions[0].open_ns <= at_ns <= sessions[-1].close_ns

    def next_open_ns(self, instrument: Instrument, at_ns: int) -> int:
        """Return when regular trading begins next; `at_ns` if it is open."""
        if self.is_open(instrument, at_ns):
            return at_ns
        for session in self.calendars[instrument.calendar]:
            if session.open_ns >= at_ns:
                return session.open_ns
        return at_ns + 86_400 * NS_PER_S

    def of_day(self, instrument: Instrument, day: datetime) -> list[tuple[str, str]]:
        """Return a local day's sessions as `yyyymmdd-hh:mm:ss` pairs: its calendar's, else New York's hours of shares.

        What has no calendar is open all week if it is a currency or a coin, else Monday to Friday.
        """
        text, zone = f"{day:%Y%m%d}", instrument.time_zone
        sessions = self.calendars.get(instrument.calendar)
        if sessions is None:
            if instrument.sec_type in ("CASH", "CRYPTO", "FUT"):
                return [(f"{text}-00:00:00", f"{text}-23:59:59")]
            return [(f"{text}-09:30:00", f"{text}-16:00:00")] if day.weekday() < 5 else []
        return [
            (f"{local(each.open_ns, zone):%Y%m%d-%H:%M:%S}", f"{local(each.close_ns, zone):%Y%m%d-%H:%M:%S}")
            for each in sessions
            if f"{local(each.open_ns, zone):%Y%m%d}" == text
        ]

    def text(self, instrument: Instrument, now_ns: int, days: int = 6) -> str:
        """Return the hours of the coming days: `yyyymmdd:hhmm-yyyymmdd:hhmm;yyyymmdd:CLOSED`."""
        zone = instrument.time_zone
        sessions = self.calendars.get(instrument.calendar)
        today = local(now_ns, zone)
        parts = []
        for offset in range(days):
            day = f"{today + timedelta(days=offset):%Y%m%d}"
            if sessions is None:
                parts.append(f"{day}:0000-{day}:2359")
                continue
            found = [
                f"{local(each.open_ns, zone):%Y%m%d:%H%M}-{local(each.close_ns, zone):%Y%m%d:%H%M}"
                for each in sessions
                if f"{local(each.open_ns, zone):%Y%m%d}" == day
            ]
            parts.append(",".join(found) or f"{day}:CLOSED")
        return ";".join(parts)
