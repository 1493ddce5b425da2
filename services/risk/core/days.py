"""Know times of day in a zone: when the trading day began, and whether a moment lies in a daily window.

`17:00 America/New_York` begins a trading day at that time every day; `23:45-00:45 America/New_York` is a window that
may run over midnight, `Fri 23:00-Sat 03:00 America/New_York` one a week. Edges are made in the zone, so a day may have
23 or 25 hours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_NS_PER_S = 1_000_000_000
_DAY = timedelta(days=1)
_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_START = re.compile(r"(\d\d:\d\d) (\S+)")
_WINDOW = re.compile(r"(?:(\w{3}) )?(\d\d:\d\d)-(?:(\w{3}) )?(\d\d:\d\d) (\S+)")


class TradingDay:
    """A trading day that begins at the same time of day; equal if written the same."""

    __slots__ = ("_end_ns", "_start_ns", "_zone", "at", "text")

    def __init__(self, text: str, at: time, zone: ZoneInfo) -> None:
        self.text = text
        self.at = at
        self._zone = zone
        self._start_ns = self._end_ns = 0

    @classmethod
    def of(cls, text: str) -> TradingDay:
        """Return the trading day of `HH:MM Zone`.

        Raises:
            ValueError: this is no time, or the zone is not known.
        """
        found = _DAY_START.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no trading day: write it as '17:00 America/New_York'")
        return cls(text, _time(found[1]), _zone(found[2]))

    def start_ns(self, now_ns: int) -> int:
        """Return when the trading day that `now_ns` lies in began, wall ns."""
        if not self._start_ns <= now_ns < self._end_ns:
            now = datetime.fromtimestamp(now_ns // _NS_PER_S, UTC).astimezone(self._zone)
            start = datetime.combine(now.date(), self.at, self._zone)
            if start > now:
                start = datetime.combine(now.date() - _DAY, self.at, self._zone)
            end = datetime.combine(start.date() + _DAY, self.at, self._zone)
            self._start_ns, self._end_ns = _ns(start), _ns(end)
        return self._start_ns

    def __eq__(self, other: object) -> bool:
        """Compare as written."""
        return isinstance(other, TradingDay) and other.text == self.text

    def __hash__(self) -> int:
        """Hash as written."""
        return hash(self.text)

    def __str__(self) -> str:
        """Return it as written."""
        return self.text


@dataclass(frozen=True, slots=True)
class Window:
    """A window that comes every day, or once a week where its days are named; half open."""

    text: str
    start: time
    end: time
    zone: ZoneInfo
    start_day: int | None = None
    end_day: int | None = None

    @classmethod
    def of(cls, text: str) -> Window:
        """Return the window of `HH:MM-HH:MM Zone` or `Day HH:MM-Day HH:MM Zone`.

        Raises:
            ValueError: this is no window, or the zone is not known.
        """
        found = _WINDOW.fullmatch(text)
        if found is None or bool(found[1]) != bool(found[3]):
            raise ValueError(f"{text!r} is no window: write it as '23:45-00:45 America/New_York'")
        days = [None if name is None else _weekday(name) for name in (found[1], found[3])]
        return cls(text, _time(found[2]), _time(found[4]), _zone(found[5]), *days)

    def holds(self, now_ns: int) -> bool:
        """Return whether a moment lies in the window."""
        now = datetime.fromtimestamp(now_ns // _NS_PER_S, UTC).astimezone(self.zone)
        at = now.time()
        if self.start_day is None or self.end_day is None:
            if self.start <= self.end:
                return self.start <= at < self.end
            return at >= self.start or at < self.end
        begin, end, here = (self.start_day, self.start), (self.end_day, self.end), (now.weekday(), at)
        return begin <= here < end if begin <= end else here >= begin or here < end

    def __str__(self) -> str:
        """Return it as written."""
        return self.text


def _time(text: str) -> time:
    return time.fromisoformat(text)


def _weekday(name: str) -> int:
    if name not in _NAMES:
        raise ValueError(f"{name!r} is no day: write one of {', '.join(_NAMES)}")
    return _NAMES.index(name)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as e:
        raise ValueError(f"time zone {name!r} is not known") from e


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * _NS_PER_S
