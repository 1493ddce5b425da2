"""Sizes of bars and spans of history as people write them.

IB's own words (`1 min`, `5 mins`, `1 day`; `3600 S`, `30 D`, `1 Y`) and short forms (`1m`, `5m`, `1d`; `3600s`, `30d`,
`1y`) mean the same. Spans are calendar time: a month is 30 days, a year 365.
"""

from __future__ import annotations

import re

from shared.errors import BadInput

BAR_SIZES = {
    "1 secs": 1,
    "5 secs": 5,
    "10 secs": 10,
    "15 secs": 15,
    "30 secs": 30,
    "1 min": 60,
    "2 mins": 120,
    "3 mins": 180,
    "5 mins": 300,
    "10 mins": 600,
    "15 mins": 900,
    "20 mins": 1200,
    "30 mins": 1800,
    "1 hour": 3600,
    "2 hours": 7200,
    "4 hours": 14400,
    "8 hours": 28800,
    "1 day": 86400,
}
"""IB's own words for bar sizes, in seconds."""
_BY_SECONDS = {seconds: name for name, seconds in BAR_SIZES.items()}
_UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hour": 3600, "d": 86_400, "day": 86_400}
_SPANS = {"S": 1, "H": 3600, "D": 86_400, "W": 7 * 86_400, "M": 30 * 86_400, "Y": 365 * 86_400}
_SIZE = re.compile(r"([0-9]{1,3}) ?(s|sec|m|min|h|hour|d|day)s?")
_SPAN = re.compile(r"([0-9]{1,7}) ?([A-Z])")


def parse_bar_size(text: str) -> str:
    """Return IB's words for a bar size.

    Raises:
        BadInput: there are no such bars.
    """
    match = _SIZE.fullmatch(text.strip().lower())
    name = None if match is None else _BY_SECONDS.get(int(match[1]) * _UNITS[match[2]])
    if name is None:
        raise BadInput(f"{text!r} is no bar size: choose from {', '.join(BAR_SIZES)}")
    return name


def parse_span_s(text: str) -> int:
    """Return a span of time in seconds.

    Raises:
        BadInput: it is no number with S, H, D, W, M or Y.
    """
    match = _SPAN.fullmatch(text.strip().upper())
    seconds = int(match[1]) * _SPANS.get(match[2], 0) if match is not None else 0
    if not seconds:
        raise BadInput(f"{text!r} is no span of time: write 3600 S, 30 D, 2 W, 6 M or 1 Y")
    return seconds
