"""Know when the broker is expected to be away: its nightly reset, the gateway's daily restart, the weekly login.

Shortly before and within a window what adds exposure is refused at the claim (never held and fired late); cancels and
orders that reduce go through while the link is up (P7). A window that is over without the link having come back is
outlived. Written as text:

    reset Sun-Fri 00:15-01:45 America/New_York; restart daily 23:45-23:50 America/New_York

A day is the one on which the window opens, in its own zone; one that closes at or before its opening time ends on the
next day. Windows that overlap or touch are one. Times are wall nanoseconds UTC.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.errors import ConfigError
from shared.messages.control import WindowPhase

NS_PER_S = 1_000_000_000
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LINE = re.compile(r"(?P<name>[\w-]+)\s+(?P<days>[\w,-]+)\s+(?P<from>\d\d?:\d\d)-(?P<to>\d\d?:\d\d)\s+(?P<zone>\S+)")
_AROUND = timedelta(days=8)


@dataclass(frozen=True, slots=True)
class Window:
    """One window: weekdays count from Monday, 0."""

    name: str
    days: tuple[int, ...]
    opens: time
    closes: time
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Spell:
    """One time the broker is expected to be away: names of the windows that make it, and when."""

    name: str
    opens_ns: int
    closes_ns: int


@dataclass(frozen=True, slots=True)
class WindowState:
    """Where we are; `spell` is the one that is near, lasts, or was outlived."""

    phase: WindowPhase
    spell: Spell | None = None


def parse_windows(text: str) -> tuple[Window, ...]:
    """Return the windows that a text names; `none` names none.

    Raises:
        ConfigError: a window cannot be read; every mistake is named.
    """
    windows, mistakes = [], []
    for line in (part.strip() for part in text.split(";")):
        if not line or line.lower() == "none":
            continue
        try:
            windows.append(_parse(line))
        except ValueError as e:
            mistakes.append(f"{line!r}: {e}")
    if mistakes:
        raise ConfigError(mistakes)
    return tuple(windows)


def _parse(line: str) -> Window:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError("write `name days HH:MM-HH:MM zone`, for example reset Sun-Fri 00:15-01:45 America/New_York")
    try:
        zone = ZoneInfo(found["zone"])
    except (ZoneInfoNotFoundError, ValueError) as e:
        raise ValueError(f"there is no time zone {found['zone']!r}") from e
    return Window(found["name"], _days(found["days"]), _clock_time(found["from"]), _clock_time(found["to"]), zone)


def _clock_time(text: str) -> time:
    hour, _, minute = text.partition(":")
    try:
        return time(int(hour), int(minute))
    except ValueError as e:
        raise ValueError(f"{text} is no time of day") from e


def _days(text: str) -> tuple[int, ...]:
    if text.lower() == "daily":
        return tuple(range(7))
    days: list[int] = []
    for part in text.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise ValueError(f"days are daily, or names like Mon, Sun-Fri, Sat,Sun; not {text!r}")
        at, end = _DAYS.index(first), _DAYS.index(last or first)
        days += [(at + step) % 7 for step in range((end - at) % 7 + 1)]
    return tuple(dict.fromkeys(days))


def spells(windows: Sequence[Window], around_ns: int) -> tuple[Spell, ...]:
    """Return every spell of some eight days before and after a moment, in order, merged where they touch."""
    found: list[Spell] = []
    for window in windows:
        moment = datetime.fromtimestamp(around_ns / NS_PER_S, UTC).astimezone(window.zone)
        day = (moment - _AROUND).date()
        while day <= (moment + _AROUND).date():
            if day.weekday() in window.days:
                end_day = day if window.closes > window.opens else day + timedelta(days=1)
                opens = datetime.combine(day, window.opens, window.zone)
                closes = datetime.combine(end_day, window.closes, window.zone)
                found.append(Spell(window.name, _ns(opens), _ns(closes)))
            day += timedelta(days=1)
    merged: list[Spell] = []
    for spell in sorted(found, key=lambda each: (each.opens_ns, each.closes_ns, each.name)):
        if merged and spell.opens_ns <= merged[-1].closes_ns:
            last = merged[-1]
            names = last.name if spell.name in last.name.split("+") else f"{last.name}+{spell.name}"
            merged[-1] = Spell(names, last.opens_ns, max(last.closes_ns, spell.closes_ns))
        else:
            merged.append(spell)
    return tuple(merged)


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * NS_PER_S


class Windows:
    """Follows the clock and the link through the windows.

    Args:
        windows: what is configured.
        lead_s: how long before a window what adds exposure is refused already.
        grace_s: how long after a window a link that has not come back counts as outlived.
        began_ns: when this process began to look; what ended before is not held against the link.
    """

    def __init__(self, windows: Sequence[Window], *, lead_s: float, grace_s: float, began_ns: int) -> None:
        self._windows = tuple(windows)
        self._lead_ns = int(lead_s * NS_PER_S)
        self._grace_ns = int(grace_s * NS_PER_S)
        self._ready_ns = began_ns
        self._spells: tuple[Spell, ...] = ()
        self._known_until_ns = 0

    def _near(self, now_ns: int) -> tuple[Spell | None, Spell | None]:
        """Return the last spell that is over and the one that lasts or comes next."""
        if not self._windows:
            return None, None
        if now_ns >= self._known_until_ns:
            self._spells = spells(self._windows, now_ns)
            self._known_until_ns = now_ns + 3600 * NS_PER_S
        past = [spell for spell in self._spells if spell.closes_ns <= now_ns]
        ahead = [spell for spell in self._spells if spell.closes_ns > now_ns]
        return (past[-1] if past else None), (ahead[0] if ahead else None)

    def look(self, now_ns: int, *, is_ready: bool) -> WindowState:
        """Note whether the link is up and return where we are."""
        if is_ready:
            self._ready_ns = max(self._ready_ns, now_ns)
        past, ahead = self._near(now_ns)
        if ahead is not None and now_ns >= ahead.opens_ns - self._lead_ns:
            return WindowState(WindowPhase.WITHIN if now_ns >= ahead.opens_ns else WindowPhase.NEAR, ahead)
        if past is not None and self._ready_ns < past.closes_ns and now_ns >= past.closes_ns + self._grace_ns:
            return WindowState(WindowPhase.OUTLIVED, past)
        return WindowState(WindowPhase.CLEAR)

    def refusal(self, now_ns: int) -> str:
        """Return why what adds exposure is not sent now, or nothing."""
        _, ahead = self._near(now_ns)
        if ahead is None or now_ns < ahead.opens_ns - self._lead_ns:
            return ""
        return f"window {ahead.name}, {_text(ahead.opens_ns)} to {_text(ahead.closes_ns)} UTC"


def _text(moment_ns: int) -> str:
    return datetime.fromtimestamp(moment_ns / NS_PER_S, UTC).strftime("%a %H:%M")
