"""When a strategy may trade a contract: its session, the last entry, and when the platform makes it flat.

Invariants:
1. Times come from the broker's hours of the contract, in its own zone: half-days and holidays are theirs.
2. `last_entry` and `flat_by` as clock times mean a regular day; on one that closes earlier they keep their distance to
   the close.
3. A weekday that the broker's hours do not list any more (they cover about a week) is taken for a regular one; a listed
   date that is closed has no session.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import StrEnum

from shared.errors import BadInput
from shared.messages.market import ContractInfo
from shared.sessions import SessionCalendar, TradingDay

NS_PER_S = 1_000_000_000
MINUTE_NS = 60 * NS_PER_S
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_BEFORE = re.compile(r"([1-9]\d{0,2}) ?m(in)?")


class Session(StrEnum):
    """Which of a contract's hours a strategy trades."""

    RTH = "rth"
    EXTENDED = "extended"
    OVERNIGHT = "overnight"
    """The extended hours without the regular ones."""


@dataclass(frozen=True, slots=True)
class SessionRules:
    """What a strategy declares; times are "HH:MM" in the contract's zone or "15 min" before the close."""

    session: Session
    last_entry: str = ""
    flat_by: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no time.

        Raises:
            BadInput: with a sentence.
        """
        for name, text in (("last_entry", self.last_entry), ("flat_by", self.flat_by)):
            if text and not _CLOCK.fullmatch(text) and not _BEFORE.fullmatch(text):
                raise BadInput(
                    f"{name}: {text!r} is neither a time like 15:45 nor minutes before the close like 15 min"
                )
        if self.flat_by and self.session is not Session.RTH:
            raise BadInput('flat_by needs session = "rth": IB takes no market orders in stocks outside regular hours')


@dataclass(frozen=True, slots=True)
class Window:
    """One open span of a session, half open, wall ns UTC; entries end at `entries_until_ns`, flat from `flat_ns` on."""

    open_ns: int
    close_ns: int
    entries_until_ns: int
    flat_ns: int | None


class SessionPlan:
    """The windows of one contract.

    Raises:
        BadInput: the broker gave no hours for it.
    """

    def __init__(self, rules: SessionRules, contract: ContractInfo) -> None:
        self._rules = rules
        self._regular = SessionCalendar(contract.time_zone, contract.liquid_hours)
        self._trading = SessionCalendar(contract.time_zone, contract.trading_hours)
        usual = {Session.RTH: self._regular}.get(rules.session, self._trading)
        if not usual.days or not self._regular.days:
            raise BadInput(
                f"{contract.name}: the broker gave no hours, so session = {rules.session.value!r} says nothing"
            )
        self._known = (0, 0)
        self._window: Window | None = None
        self._opens = sorted(start for day in self._regular.days for start, _ in day.sessions)

    @property
    def is_flattening(self) -> bool:
        """Return whether the platform makes it flat before the close."""
        return bool(self._rules.flat_by)

    def next_open_ns(self, now_ns: int) -> int:
        """Return when the next listed regular session opens; a minute later, to ask again, where none is listed."""
        at = bisect_right(self._opens, now_ns)
        return self._opens[at] if at < len(self._opens) else now_ns + MINUTE_NS

    def window(self, now_ns: int) -> Window | None:
        """Return the window that holds a moment, None outside of the session."""
        if not self._known[0] <= now_ns < self._known[1]:
            self._window = self._find(now_ns)
            until_ns = now_ns // MINUTE_NS * MINUTE_NS + MINUTE_NS  # hours have whole minutes
            start_ns = now_ns // MINUTE_NS * MINUTE_NS
            self._known = (start_ns, until_ns if self._window is None else self._window.close_ns)
        return self._window

    def _find(self, now_ns: int) -> Window | None:
        regular = _span_at(_day(self._regular, now_ns), now_ns)
        if self._rules.session is Session.RTH:
            span = regular
        else:
            day = _day(self._trading, now_ns)
            span = _span_at(day, now_ns)
            if day is not None and span is not None and self._rules.session is Session.OVERNIGHT:
                cut = _sessions_on(self._regular, day.label)
                span = None if regular is not None else _without(span, cut, now_ns)
        if span is None:
            return None
        calendar = self._regular if self._rules.session is Session.RTH else self._trading
        flat = self._before_close(self._rules.flat_by, calendar)
        last = self._before_close(self._rules.last_entry, calendar)
        until_ns = min(span[1] - (last or 0), span[1] - (flat or 0))
        return Window(span[0], span[1], until_ns, None if flat is None else span[1] - flat)

    @staticmethod
    def _before_close(text: str, calendar: SessionCalendar) -> int | None:
        """Return how long before the close a time is, in nanoseconds."""
        if not text:
            return None
        minutes = _BEFORE.fullmatch(text)
        if minutes is not None:
            return int(minutes[1]) * MINUTE_NS
        hour, minute = (int(part) for part in text.split(":"))
        closes = [datetime.fromtimestamp(day.close_ns // NS_PER_S, calendar.zone) for day in calendar.days]
        latest = max(close.hour * 60 + close.minute or 24 * 60 for close in closes)
        return max(0, latest - hour * 60 - minute) * MINUTE_NS


def _day(calendar: SessionCalendar, now_ns: int) -> TradingDay | None:
    """Return the trading day at a moment; of an unlisted weekday one like the longest that is listed."""
    day = calendar.day_of(now_ns)
    if day is None or day in calendar.days:
        return day
    return _like_the_longest(calendar, day.label)


def _sessions_on(calendar: SessionCalendar, label: date) -> tuple[tuple[int, int], ...]:
    """Return the open spans of a date: as listed, none if it is listed and closed, else those of a regular day."""
    for day in calendar.days:
        if day.label == label:
            return day.sessions
    noon = datetime.combine(label, time(12), calendar.zone).astimezone(UTC)
    day_at_noon = calendar.day_of(int(noon.timestamp()) * NS_PER_S)
    like = None if day_at_noon is None else _like_the_longest(calendar, label)
    return () if like is None else like.sessions


def _like_the_longest(calendar: SessionCalendar, label: date) -> TradingDay | None:
    """Return a regular day of a date that is not listed, none at a weekend."""
    if label.weekday() > 4:
        return None
    like = max(calendar.days, key=lambda one: sum(end - start for start, end in one.sessions))
    midnight = datetime.combine(like.label, datetime.min.time(), calendar.zone)
    target = datetime.combine(label, datetime.min.time(), calendar.zone)

    def moved(at_ns: int) -> int:
        """Keep the time on the wall, whatever the zone's offset is on that day."""
        local = datetime.fromtimestamp(at_ns // NS_PER_S, calendar.zone).replace(tzinfo=None)
        shifted = target.replace(tzinfo=None) + (local - midnight.replace(tzinfo=None))
        return int(shifted.replace(tzinfo=calendar.zone).astimezone(UTC).timestamp()) * NS_PER_S

    spans = tuple((moved(start), moved(end)) for start, end in like.sessions)
    return TradingDay(label, spans[0][0], spans[-1][1], spans)


def _span_at(day: TradingDay | None, now_ns: int) -> tuple[int, int] | None:
    if day is None:
        return None
    return next(((start, end) for start, end in day.sessions if start <= now_ns < end), None)


def _without(span: tuple[int, int], cut: tuple[tuple[int, int], ...], now_ns: int) -> tuple[int, int]:
    """Return the part of a span that holds a moment, the regular hours cut out."""
    start_ns, end_ns = span
    for begin, end in cut:
        if end <= now_ns:
            start_ns = max(start_ns, end)
        elif begin > now_ns:
            end_ns = min(end_ns, begin)
    return start_ns, end_ns
