"""Write and read the times of the TWS protocol.

Source: ib-facts A.6 (execution times), B.5; formats seen in recordings.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

NS_PER_S = 1_000_000_000
LATEST_NS = 7_258_118_400 * NS_PER_S
_ZONED = re.compile(r"(\d{8})[ -]+(\d{1,2}:\d{2}:\d{2})(?: +(\S+))?")
_ZONE_ALIASES = {"EST": "America/New_York", "EDT": "America/New_York", "MET": "Europe/Berlin", "JST": "Asia/Tokyo"}


def local(at_ns: int, zone: str) -> datetime:
    """Return a moment in a zone."""
    return datetime.fromtimestamp(at_ns // NS_PER_S, ZoneInfo(zone))


def to_ns(moment: datetime) -> int:
    """Return a zoned moment as Unix nanoseconds."""
    return int(moment.timestamp()) * NS_PER_S


def zoned_text(at_ns: int, zone: str, *, with_name: bool = True) -> str:
    """Return `yyyymmdd hh:mm:ss Zone/Name`, or the older form with two blanks and no zone."""
    moment = local(at_ns, zone)
    return f"{moment:%Y%m%d %H:%M:%S} {zone}" if with_name else f"{moment:%Y%m%d  %H:%M:%S}"


def midnight_ns(now_ns: int, zone: str) -> int:
    """Return the last midnight of a zone."""
    moment = local(now_ns, zone)
    return to_ns(moment.replace(hour=0, minute=0, second=0, microsecond=0))


def day_text(at_ns: int, zone: str) -> str:
    """Return `yyyymmdd` of a moment in a zone."""
    return f"{local(at_ns, zone):%Y%m%d}"


def parse_tws_time(text: str, zone: str) -> int | None:
    """Return the moment a request names, in `zone` if it names none; None for an empty text.

    Accepts `yyyymmdd hh:mm:ss [zone]`, `yyyymmdd-hh:mm:ss` (UTC) and `yyyymmdd`.

    Raises:
        ValueError: another form, or an unknown zone.
    """
    stripped = text.strip()
    if not stripped:
        return None
    if re.fullmatch(r"\d{8}", stripped):
        moment = datetime.strptime(stripped, "%Y%m%d").replace(hour=23, minute=59, second=59, tzinfo=ZoneInfo(zone))
        return _sensible(text, to_ns(moment))
    match = _ZONED.fullmatch(stripped)
    if match is None:
        raise ValueError(f"{text!r} is not a time like 20261123 15:30:00 US/Eastern")
    day, clock, name = match.groups()
    where: tzinfo | None = UTC if stripped[8] == "-" and name is None else None
    if where is None:
        try:
            where = ZoneInfo(_ZONE_ALIASES.get(name, name) if name else zone)
        except (KeyError, ValueError, OSError) as e:
            raise ValueError(f"time zone {name!r} is not known") from e
    return _sensible(text, to_ns(datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S").replace(tzinfo=where)))


def _sensible(text: str, at_ns: int) -> int:
    if not 0 <= at_ns < LATEST_NS:
        raise ValueError(f"{text!r} lies outside 1970 to 2199")
    return at_ns
