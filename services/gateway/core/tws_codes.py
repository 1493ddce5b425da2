"""Decide what one of TWS' codes means: for the order that carries its id, for the link, for a request.

ib_insync turns every code it does not know into a local Cancelled (ib-facts D, M4a); here a code that nobody listed
changes no order: it asks the broker (`ASK`). A user extends or overrides the table with a TOML file:

    [codes.10349]
    kind = "info"
    order = "alive"
    text = "time in force set to DAY by a preset"

Source of the table: ib-facts A.4, A.9, A.11, A.12.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.errors import ConfigError


class CodeKind(StrEnum):
    """Which part of the gateway a code speaks to."""

    INFO = "info"
    ORDER = "order"
    LINK = "link"
    DATA = "data"
    REQUEST = "request"
    SESSION = "session"
    PACING = "pacing"


class OrderEffect(StrEnum):
    """What a code with an order's id says about that order."""

    ALIVE = "alive"
    """Informational: the order works on."""
    DEAD = "dead"
    """The broker refused it; a modify that is refused this way leaves the original in doubt, so it is asked."""
    ORIGINAL = "original"
    """A refused modify: the original works on. On a new order it means refused."""
    CANCELLED = "cancelled"
    """The broker confirms or reports a cancel."""
    GONE = "gone"
    """A cancel found nothing to cancel: the order is done or not ours; the broker's lists tell which."""
    ASK = "ask"
    """Nobody listed this code: change nothing, ask the broker."""


@dataclass(frozen=True, slots=True)
class CodeInfo:
    """One row: `text` is for people, where the broker's own text is not enough."""

    code: int
    kind: CodeKind
    order: OrderEffect = OrderEffect.ASK
    text: str = ""


def _rows(kind: CodeKind, order: OrderEffect, *codes: int) -> dict[int, CodeInfo]:
    return {code: CodeInfo(code, kind, order) for code in codes}


_INFO, _ORDER, _LINK = CodeKind.INFO, CodeKind.ORDER, CodeKind.LINK
_DATA, _REQUEST = CodeKind.DATA, CodeKind.REQUEST
_ALIVE, _DEAD, _ORIGINAL, _GONE = OrderEffect.ALIVE, OrderEffect.DEAD, OrderEffect.ORIGINAL, OrderEffect.GONE

TABLE: Mapping[int, CodeInfo] = {
    # An order's warnings: it works on. 399 held until the session, 404 shares being located, 2109 outsideRth ignored,
    # 10349 TIF set to DAY by a preset (ib_insync and ib_async 2.1 take the latter for a cancel: ib_async#191).
    **_rows(_INFO, _ALIVE, 399, 404, 2109, 10349, 10167, 2137, 2148, 2161, 2168, 2169, 2176),
    **_rows(_ORDER, OrderEffect.CANCELLED, 202),
    # Refused: nothing was placed.
    **_rows(
        _ORDER, _DEAD,
        103, 106, 107, 109, 111, 113, 116, 117, 118, 160, 163, 164, 200, 201, 203, 355, 378, 379, 380, 382, 383, 387,
        388, 391, 394, 403, 411, 412, 413, 422, 423, 434, 460, 463, 10006, 10052, 10109, 10243, 10247,
        10268, 10269, 10270, 10285, 10289, 10318, 10320,
    ),
    # On a modify the original works on; on a new order: refused.
    **_rows(_ORDER, _ORIGINAL, 104, 105, 110, 133, 134, 135, 136, 321, 329, 2102, 10149, 10326, 10327, 10341),
    **_rows(_ORDER, _GONE, 161, 10147, 10148),
    **_rows(_ORDER, OrderEffect.ASK, 10328),
    # The link.
    **_rows(
        _LINK, _ALIVE, 1100, 1101, 1102, 1300, 2103, 2104, 2105, 2106, 2107, 2108, 2110, 2119, 2157, 2158, 2100, 2101
    ),
    **_rows(CodeKind.SESSION, _ALIVE, 326, 327, 501, 502, 503, 504, 507, 509, 522),
    **_rows(CodeKind.PACING, _ALIVE, 100, 420),
    # Data and requests; none of these ids is an order's.
    **_rows(
        _DATA, _ALIVE,
        101, 300, 310, 316, 317, 354, 10089, 10090, 10091, 10168, 10186, 10187, 10189, 10190, 10197, 10225, 10182,
    ),
    **_rows(_REQUEST, _ALIVE, 162, 165, 166, 320, 322, 365, 366, 430, 492, 10339),
}  # fmt: skip

_CURES: Mapping[int, str] = {
    101: "all market data lines are used: fewer subscriptions, or a quote booster pack at IB",
    354: "no market data subscription for this instrument: subscribe in IB's client portal",
    10089: "live data needs an API subscription: subscribe in IB's client portal",
    10090: "part of the live data is not subscribed",
    10091: "part of the live data needs an API subscription",
    10167: "no live subscription: delayed data are shown",
    10168: "neither live nor delayed data: subscribe in IB's client portal",
    10186: "neither live nor delayed data: subscribe in IB's client portal",
    10197: "another live session of this user has the market data: close TWS or the mobile app there",
    10147: "the broker knows no such order to cancel",
    326: "the client id is in use or stuck",
}


class CodeTable:
    """The table as configured."""

    def __init__(self, rows: Mapping[int, CodeInfo] | None = None) -> None:
        self._rows = {**TABLE, **(rows or {})}

    def look_up(self, code: int) -> CodeInfo:
        """Return what a code means; an unlisted one asks, and 2100 to 2199 are IB's warnings."""
        found = self._rows.get(code)
        if found is not None:
            return found if found.text else CodeInfo(found.code, found.kind, found.order, _CURES.get(code, ""))
        if 2100 <= code < 2200:
            return CodeInfo(code, CodeKind.INFO, OrderEffect.ALIVE)
        return CodeInfo(code, CodeKind.REQUEST, OrderEffect.ASK)


def read_codes(text: str, *, source: str) -> dict[int, CodeInfo]:
    """Return the rows of a user's TOML text.

    Raises:
        ConfigError: it is not TOML, or a row is none; every mistake at once.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"GATEWAY_CODES_FILE: {source} is not TOML: {e}") from e
    mistakes: list[str] = []
    rows: dict[int, CodeInfo] = {}
    for name, row in dict(content.get("codes", {})).items():
        try:
            code = int(name)
            rows[code] = CodeInfo(
                code,
                CodeKind(row.get("kind", "info")),
                OrderEffect(row.get("order", "ask")),
                str(row.get("text", "")),
            )
        except (ValueError, AttributeError, TypeError) as e:
            mistakes.append(
                f"GATEWAY_CODES_FILE: row {name!r} of {source} is no code ({e}): write [codes.10349] with kind "
                f"({', '.join(CodeKind)}) and order ({', '.join(OrderEffect)})"
            )
    if mistakes:
        raise ConfigError(mistakes)
    return rows
