"""Say whether a contract's market is open, from the hours that the broker gives with its definition.

IB writes `20261123:0930-20261123:1600;20261126:CLOSED` (older servers: `20261123:0930-1200,1300-1600`), in the
contract's own time zone, for about a week; holidays are in it. A zone that is not known, or a moment after the last
listed date, is not known to be closed.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Spans = tuple[tuple[int, int], ...]
_SPAN = re.compile(r"(\d{8}):(\d{4})-(?:(\d{8}):)?(\d{4})")
_NS_PER_S = 1_000_000_000
_ZONES = {"EST": "America/New_York", "EST5EDT": "America/New_York", "CST": "America/Chicago", "MET": "Europe/Berlin",
          "CET": "Europe/Berlin", "GB-Eire": "Europe/London", "JST": "Asia/Tokyo"}  # fmt: skip
"""Names IB sends that have no daylight saving by themselves, although the exchange has."""


def spans_of(text: str, zone_name: str) -> tuple[Spans, int]:
    """Return the open spans of hours as IB writes them, wall ns, and up to when they are listed (0: nothing known)."""
    zone = _zone(zone_name)
    if zone is None:
        return (), 0
    spans, listed_to = [], 0
    for day in text.split(";"):
        date, _, rest = day.partition(":")
        if not re.fullmatch(r"\d{8}", date):
            continue
        try:
            listed_to = max(listed_to, _ns(date, "0000", zone, timedelta(days=1)))
            for part in rest.split(","):
                found = _SPAN.fullmatch(f"{date}:{part}")
                if found is not None:
                    spans.append((_ns(date, found[2], zone), _ns(found[3] or date, found[4], zone)))
        except ValueError:
            continue
    return tuple(sorted(spans)), max([listed_to, *(end for _, end in spans)])


def is_closed(spans: Spans, listed_to: int, now_ns: int) -> bool:
    """Return whether a market is known to be closed."""
    return now_ns < listed_to and not any(start <= now_ns < end for start, end in spans)


def _zone(name: str) -> ZoneInfo | None:
    cleaned = name.split(" (")[0].strip()
    try:
        return ZoneInfo(_ZONES.get(cleaned, cleaned)) if cleaned else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _ns(date: str, at: str, zone: ZoneInfo, later: timedelta = timedelta(0)) -> int:
    moment = datetime.strptime(date + ("0000" if at == "2400" else at), "%Y%m%d%H%M").replace(tzinfo=zone)
    moment += later + (timedelta(days=1) if at == "2400" else timedelta(0))  # of the wall clock: the zone stays
    return int(moment.timestamp()) * _NS_PER_S
