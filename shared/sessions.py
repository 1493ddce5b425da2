"""Say to which trading day a moment belongs, from the hours that the broker gives per contract.

IB writes hours as `20261123:0930-20261123:1600;20261126:CLOSED` (older servers: `20261123:0930-1200,1300-1600`), in
the contract's own time zone. A session belongs to the date on which it ends, so that Sunday evening's futures
session is part of Monday.

Invariants:
1. Edges are made in the contract's time zone and only then turned into UTC: a day may have 23 or 25 hours.
2. A date that is listed and closed has no trading day. Only a date that is not listed at all falls back to the
   calendar day of the zone: hours strings cover about a week, and a contract may come without any.

Known limit: whether an unlisted date is open is not known; weekdays count as open.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NS_PER_S = 1_000_000_000
_ONE_DAY = timedelta(days=1)
_LEGACY_ZONES = {
    "EST": "America/New_York",
    "EDT": "America/New_York",
    "EST5EDT": "America/New_York",
    "CST": "America/Chicago",
    "CTT": "America/Chicago",
    "CST6CDT": "America/Chicago",
    "MST": "America/Denver",
    "PST": "America/Los_Angeles",
    "MET": "Europe/Berlin",
    "CET": "Europe/Berlin",
    "BST": "Europe/London",
    "GB-Eire": "Europe/London",
    "JST": "Asia/Tokyo",
    "HKT": "Asia/Hong_Kong",
}
"""Names IB sends that are no zones, or zones without daylight saving (`EST` is UTC-5 all year round)."""
_SPAN = re.compile(r"(?:(\d{8}):)?(\d{4})-(?:(\d{8}):)?(\d{4})")


@dataclass(frozen=True, slots=True)
class TradingDay:
    """One trading day: `open_ns`..`close_ns` is half open, Unix ns UTC; `sessions` are its open spans within."""

    label: date
    open_ns: int
    close_ns: int
    sessions: tuple[tuple[int, int], ...]


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of a contract; UTC for an empty or unknown name (`US/Eastern (Eastern Time)` is cut)."""
    cleaned = name.split(" (")[0].strip()
    try:
        return ZoneInfo(_LEGACY_ZONES.get(cleaned, cleaned or "UTC"))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def _to_ns(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp()) * NS_PER_S


def _edge(day: date, hhmm: str, zone: ZoneInfo) -> int:
    hour, minute = int(hhmm[:2]), int(hhmm[2:])
    if hour == 24:
        day, hour = day + _ONE_DAY, 0
    return _to_ns(datetime.combine(day, time(hour, minute), zone))


def _date(text: str) -> date:
    return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date()


def _spans_of(part: str, zone: ZoneInfo) -> tuple[date, list[tuple[int, int]]]:
    """Return the date a part starts with, and its open spans; raises ValueError for text that is no hours."""
    listed = _date(part[:8])
    text = part[8:].lstrip(":")
    if text.upper() == "CLOSED":
        return listed, []
    spans: list[tuple[int, int]] = []
    for index, piece in enumerate(text.split(",")):
        # the first span's date was cut off above; further ones may carry their own
        found = _SPAN.fullmatch(piece)
        if found is None:
            raise ValueError(f"{piece!r} in trading hours {part!r} is no span")
        first_day = _date(found[1]) if found[1] and index else listed
        start_ns = _edge(first_day, found[2], zone)
        end_day = _date(found[3]) if found[3] else first_day
        end_ns = _edge(end_day, found[4], zone)
        if end_ns <= start_ns and not found[3]:
            # the older form names the day the session belongs to: it began the evening before
            start_ns = _edge(first_day - _ONE_DAY, found[2], zone)
        if end_ns <= start_ns:
            raise ValueError(f"{piece!r} in trading hours {part!r} ends before it starts")
        spans.append((start_ns, end_ns))
    return listed, spans


class SessionCalendar:
    """The trading days of one contract.

    Args:
        time_zone: as the broker names it.
        hours: the broker's trading or liquid hours, "" where unknown; parts that cannot be read are skipped.
    """

    __slots__ = ("_closed", "_days", "_opens", "zone")

    def __init__(self, time_zone: str = "", hours: str = "") -> None:
        self.zone = zone_of(time_zone)
        by_label: dict[date, list[tuple[int, int]]] = {}
        closed: dict[date, None] = {}
        for part in hours.split(";"):
            if not part.strip():
                continue
            try:
                listed, spans = _spans_of(part.strip(), self.zone)
            except (ValueError, IndexError):
                continue
            if not spans:
                closed[listed] = None
            for span in spans:
                by_label.setdefault(self._date_at(span[1] - 1), []).append(span)
        self._days = sorted(
            (
                TradingDay(label, min(s[0] for s in spans), max(s[1] for s in spans), tuple(sorted(spans)))
                for label, spans in by_label.items()
            ),
            key=lambda day: day.open_ns,
        )
        self._opens = [day.open_ns for day in self._days]
        self._closed = closed

    @property
    def days(self) -> list[TradingDay]:
        """Return the trading days that are listed, oldest first."""
        return self._days

    def _date_at(self, ts_ns: int) -> date:
        return datetime.fromtimestamp(ts_ns // NS_PER_S, self.zone).date()

    def _is_listed(self, day: date) -> bool:
        return day in self._closed or any(known.label == day for known in self._days)

    def _calendar_day(self, day: date) -> TradingDay:
        start_ns = _to_ns(datetime.combine(day, time(), self.zone))
        end_ns = _to_ns(datetime.combine(day + _ONE_DAY, time(), self.zone))
        return TradingDay(day, start_ns, end_ns, ((start_ns, end_ns),))

    def day_of(self, ts_ns: int) -> TradingDay | None:
        """Return the trading day that holds `ts_ns`, or None outside every session of a listed date."""
        index = bisect_right(self._opens, ts_ns) - 1
        if index >= 0 and ts_ns < self._days[index].close_ns:
            return self._days[index]
        day = self._date_at(ts_ns)
        if self._is_listed(day):
            return None
        return self._calendar_day(day)

    def is_open(self, ts_ns: int) -> bool:
        """Return whether the market is open at `ts_ns`; on dates that are not listed, whether it is a weekday."""
        index = bisect_right(self._opens, ts_ns) - 1
        if index >= 0 and ts_ns < self._days[index].close_ns:
            return any(start <= ts_ns < end for start, end in self._days[index].sessions)
        day = self._date_at(ts_ns)
        return not self._is_listed(day) and day.weekday() < 5
