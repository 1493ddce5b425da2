"""Say when an instrument trades, and write its hours as contract details do.

By default the market is always open, so that the demo trades at any hour; a day then ends at midnight of TWS' zone.
With sessions given (by the shell, from an exchange calendar) it follows them, and stocks trade before and after the
regular session for orders that ask for it (outsideRth).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.simulator.core.contracts import Instrument
from services.simulator.core.times import local, midnight_ns

NS_PER_S = 1_000_000_000
QUIET = 0.1
"""How busy extended hours are."""


@dataclass(frozen=True, slots=True)
class TradingSession:
    """One regular session of a calendar, and what surrounds it; Unix nanoseconds.

    `first_ns` and `last_ns` bound the extended hours; 0 where there are none.
    """

    open_ns: int
    close_ns: int
    first_ns: int = 0
    last_ns: int = 0

    def bounds(self, *, extended: bool) -> tuple[int, int]:
        """Return begin and end, with the extended hours if asked for."""
        if not extended:
            return self.open_ns, self.close_ns
        return self.first_ns or self.open_ns, self.last_ns or self.close_ns


@dataclass
class Hours:
    """Trading hours by calendar name; a calendar that is missing is always open."""

    calendars: dict[str, list[TradingSession]] = field(default_factory=dict)
    day_zone: str = "America/New_York"
    """Where the days of an instrument that always trades end."""

    def is_open(self, instrument: Instrument, at_ns: int, *, extended: bool = False) -> bool:
        """Return whether trading goes on; the regular session only unless `extended`."""
        sessions = self.calendars.get(instrument.calendar)
        if sessions is None:
            return True
        wide = extended and instrument.sec_type == "STK"
        index = bisect_right(sessions, at_ns, key=lambda each: each.bounds(extended=wide)[0]) - 1
        return index >= 0 and at_ns < sessions[index].bounds(extended=wide)[1]

    def covers(self, instrument: Instrument, at_ns: int) -> bool:
        """Return whether the instrument's calendar is known at a time."""
        sessions = self.calendars.get(instrument.calendar)
        return sessions is not None and len(sessions) > 0 and sessions[0].open_ns <= at_ns <= sessions[-1].close_ns

    def next_open_ns(self, instrument: Instrument, at_ns: int, *, extended: bool = False) -> int:
        """Return when trading begins next; `at_ns` if it is open."""
        if self.is_open(instrument, at_ns, extended=extended):
            return at_ns
        wide = extended and instrument.sec_type == "STK"
        sessions = self.calendars[instrument.calendar]
        index = bisect_left(sessions, at_ns, key=lambda each: each.bounds(extended=wide)[0])
        return sessions[index].bounds(extended=wide)[0] if index < len(sessions) else at_ns + 86_400 * NS_PER_S

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

    def close_ns(self, instrument: Instrument, at_ns: int, *, extended: bool = False) -> int:
        """Return when the session that goes on, or else the next one, ends: when DAY orders expire."""
        wide = extended and instrument.sec_type == "STK"
        sessions = self.calendars.get(instrument.calendar, [])
        index = bisect_right(sessions, at_ns, key=lambda each: each.bounds(extended=wide)[1])
        return sessions[index].bounds(extended=wide)[1] if index < len(sessions) else self.day_end_ns(at_ns)

    def day_end_ns(self, at_ns: int) -> int:
        """Return the next midnight of the zone in which always-open instruments count their days."""
        # 26 hours after a midnight is always the next day, also where a day has 25 hours.
        return midnight_ns(midnight_ns(at_ns, self.day_zone) + 26 * 3600 * NS_PER_S, self.day_zone)

    def next_boundary_ns(self, at_ns: int) -> int:
        """Return the next moment at which any session begins or ends."""
        return min([self.day_end_ns(at_ns), *self._boundaries(at_ns)])

    def _boundaries(self, at_ns: int) -> Iterator[int]:
        for sessions in self.calendars.values():
            # The first session that is not over: sessions are many years long where a backtest asks.
            index = bisect_right(sessions, at_ns, key=lambda each: max(each.close_ns, each.last_ns))
            for session in sessions[index : index + 1]:
                later = [
                    each
                    for each in (session.first_ns, session.open_ns, session.close_ns, session.last_ns)
                    if each > at_ns
                ]
                if later:
                    yield min(later)

    def activity(self, instrument: Instrument, at_ns: int) -> float:
        """Return how busy trading is, 1 on average: busy after the open and before the close, quiet outside.

        Where no calendar is followed there is no day, and it is always 1.
        """
        sessions = self.calendars.get(instrument.calendar)
        if sessions is None:
            return 1.0
        index = bisect_right(sessions, at_ns, key=lambda each: each.open_ns) - 1
        if index < 0 or at_ns >= sessions[index].close_ns:
            return QUIET
        session = sessions[index]
        from_middle = 2.0 * (at_ns - session.open_ns) / (session.close_ns - session.open_ns) - 1.0
        return 0.5 + 1.5 * from_middle * from_middle

    def is_opening(self, instrument: Instrument, at_ns: int) -> bool:
        """Return whether the regular session begins at this moment (midnight where it always trades)."""
        sessions = self.calendars.get(instrument.calendar)
        if sessions is None:
            return midnight_ns(at_ns, self.day_zone) == at_ns
        return any(session.open_ns == at_ns for session in sessions)

    def is_closing(self, instrument: Instrument, at_ns: int) -> bool:
        """Return whether the regular session ends at this moment (midnight where it always trades)."""
        sessions = self.calendars.get(instrument.calendar)
        if sessions is None:
            return midnight_ns(at_ns, self.day_zone) == at_ns
        return any(session.close_ns == at_ns for session in sessions)

    def text(self, instrument: Instrument, now_ns: int, days: int = 6, *, extended: bool = False) -> str:
        """Return the hours of the coming days: `yyyymmdd:hhmm-yyyymmdd:hhmm;yyyymmdd:CLOSED`."""
        zone = instrument.time_zone
        wide = extended and instrument.sec_type == "STK"
        sessions = self.calendars.get(instrument.calendar)
        today = local(now_ns, zone)
        parts = []
        for offset in range(days):
            day = f"{today + timedelta(days=offset):%Y%m%d}"
            if sessions is None:
                parts.append(f"{day}:0000-{day}:2359")
                continue
            bounds = [each.bounds(extended=wide) for each in sessions]
            found = [
                f"{local(opens, zone):%Y%m%d:%H%M}-{local(closes, zone):%Y%m%d:%H%M}"
                for opens, closes in bounds
                if f"{local(closes, zone):%Y%m%d}" == day
            ]
            parts.append(",".join(found) or f"{day}:CLOSED")
        return ";".join(parts)
