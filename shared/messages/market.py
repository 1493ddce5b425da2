"""Market data messages: contracts, quotes, trades and bars; the packed tick batch.

The tick path carries no pydantic: a batch is an array of fixed 64-byte records, validated where they enter the
system (the gateway) and read with `struct` or, where numpy is there, as a structured array of `TICK_DTYPE`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from decimal import Decimal
from enum import IntEnum
from itertools import repeat, starmap
from operator import itemgetter
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from shared.errors import DecodeError
from shared.messages.base import Message, Part, register

TICKS_TYPE = "ticks"
"""Value of the `type` field of a tick batch entry; its `body` is records, not msgpack."""
TICK_RECORD = struct.Struct("<qqqBBHIdddd")
"""con_id, ts_event_ns, ts_init_ns, kind, quality, flags, reserved, then four float64 (see `Tick`)."""
TICK_DTYPE = [
    ("con_id", "<i8"),
    ("ts_event_ns", "<i8"),
    ("ts_init_ns", "<i8"),
    ("kind", "u1"),
    ("quality", "u1"),
    ("flags", "<u2"),
    ("reserved", "<u4"),
    ("a", "<f8"),
    ("b", "<f8"),
    ("c", "<f8"),
    ("d", "<f8"),
]
"""numpy dtype of one record; a..d are bid, bid size, ask, ask size of a quote, and price, size, 0, 0 of a trade."""
_SIZE = TICK_RECORD.size
_KINDS, _NOT_NEGATIVE, _POSITIVE = bytes(range(2)), bytes(range(0x7F)), bytes(range(1, 0x7F))
"""Kinds that carry prices; the highest bytes of float64s that are neither negative nor NaN nor infinite, without and
with zero left out."""
_con_id = itemgetter(0)


class TickKind(IntEnum):
    """What a tick record is."""

    QUOTE = 0
    TRADE = 1
    MARKER = 2
    """A new leader's epoch starts here: quotes before it may have been missed (architecture §4, ticks)."""


class DataQuality(IntEnum):
    """What kind of data flows; values are IB's marketDataType (ib-facts A.12), 0 is not known yet."""

    UNKNOWN = 0
    LIVE = 1
    FROZEN = 2
    DELAYED = 3
    DELAYED_FROZEN = 4


FLAG_LATE = 1
"""A trade found after a gap: good for bars, never given to a strategy's `on_trade`."""
FLAG_SNAPSHOT = 2
"""The state at a marker, not a change of the market."""


class Tick(NamedTuple):
    """One quote or trade.

    For a quote a..d are bid, bid size (shares), ask, ask size; NaN is "no quote on this side". For a trade a and b are
    price and size. `ts_event_ns` is the receipt at the gateway's socket, or the exchange time where IB gives one;
    `ts_init_ns` is when the batch record was made. Both are wall time.
    """

    con_id: int
    ts_event_ns: int
    ts_init_ns: int
    kind: int
    quality: int
    flags: int
    reserved: int
    a: float
    b: float
    c: float
    d: float

    @property
    def is_quote(self) -> bool:
        """Return whether this is a quote."""
        return self.kind == TickKind.QUOTE

    @property
    def mid(self) -> float:
        """Return the middle of a quote, NaN when a side is missing."""
        return (self.a + self.c) / 2


_QUOTE, _TRADE = int(TickKind.QUOTE), int(TickKind.TRADE)
_made = tuple.__new__
"""Makes a Tick of eleven values that are there already, in half the time of `Tick(...)`."""


def quote_tick(
    con_id: int,
    ts_event_ns: int,
    ts_init_ns: int,
    quality: int,
    bid: float,
    bid_size: float,
    ask: float,
    ask_size: float,
    flags: int = 0,
) -> Tick:
    """Return a quote; pass NaN and 0 for a side without a quote."""
    values = (con_id, ts_event_ns, ts_init_ns, _QUOTE, quality, flags, 0, bid, bid_size, ask, ask_size)
    return _made(Tick, values)


def trade_tick(
    con_id: int, ts_event_ns: int, ts_init_ns: int, quality: int, price: float, size: float, flags: int = 0
) -> Tick:
    """Return a trade."""
    return _made(Tick, (con_id, ts_event_ns, ts_init_ns, _TRADE, quality, flags, 0, price, size, 0.0, 0.0))


def is_valid_tick(tick: Tick) -> bool:
    """Return whether a tick may enter the system: known kind, positive conId, finite positive prices, sizes >= 0."""
    if tick.con_id <= 0 or tick.ts_event_ns < 0:
        return False
    if tick.kind == TickKind.TRADE:
        return math.isfinite(tick.a) and tick.a > 0 and math.isfinite(tick.b) and tick.b >= 0
    if tick.kind == TickKind.QUOTE:
        sides = [(tick.a, tick.b), (tick.c, tick.d)]
        return all(math.isnan(price) or (math.isfinite(price) and size >= 0) for price, size in sides)
    return tick.kind == TickKind.MARKER


def pack_ticks(ticks: Sequence[Tick]) -> bytes:
    """Return the body of a tick batch: 64 bytes a tick, in order."""
    return b"".join(starmap(TICK_RECORD.pack, ticks))


def pack_valid(ticks: Sequence[Tick]) -> tuple[bytes, int]:
    """Return the body of those ticks that may enter the system (`is_valid_tick`), and how many may not.

    Where ticks come by the hundred thousand, asking each costs thrice what packing does. So they are packed first, and
    what the bytes of all of them together show to be in order is not asked.
    """
    body = pack_ticks(ticks)
    if _shows_valid(body) and all(map(_con_id, ticks)):
        return body, 0
    valid = [tick for tick in ticks if is_valid_tick(tick)]
    return pack_ticks(valid), len(ticks) - len(valid)


def _shows_valid(body: bytes) -> bool:
    """Return whether the highest byte of each number shows that every record, if its conId is not 0, is valid.

    That byte has the sign and most of the exponent: by it alone a number is known to be neither negative nor NaN nor
    infinite. What it does not show may still be valid: markers, quotes with one side, astronomical prices.
    """
    if not (body[7::_SIZE].isascii() and body[15::_SIZE].isascii()):  # conId, time: no sign bit
        return False
    if body[24::_SIZE].strip(_KINDS) or body[39::_SIZE].strip(_POSITIVE):  # kind, bid or price of a trade
        return False
    return not any(body[at::_SIZE].strip(_NOT_NEGATIVE) for at in (47, 55, 63))


def tick_rows(body: bytes) -> Iterator[tuple[Any, ...]]:
    """Yield the ticks of a batch body as plain tuples, fields as in `Tick`: for loops that take each apart.

    Raises:
        DecodeError: the length is no multiple of the record size.
    """
    if len(body) % _SIZE:
        raise DecodeError(f"a tick batch of {len(body)} bytes is no whole number of {_SIZE}-byte records")
    return TICK_RECORD.iter_unpack(body)


def unpack_ticks(body: bytes) -> Iterator[Tick]:
    """Yield the ticks of a batch body.

    Raises:
        DecodeError: the length is no multiple of the record size.
    """
    return map(_made, repeat(Tick), tick_rows(body))


class PriceIncrement(Part):
    """One row of a market rule: from `low_edge` on, prices move in steps of `increment`."""

    low_edge: Decimal
    increment: Decimal


@register
class ContractInfo(Message):
    """A contract as the broker defines it; the gateway keeps one hash entry per conId under `contracts`.

    `multiplier` is money per point (1 for stocks), `price_magnifier` as IB defines it. `trading_hours` and
    `liquid_hours` are IB's own strings in `time_zone`.
    """

    TYPE: ClassVar[str] = "contract"

    con_id: int = Field(gt=0)
    name: str = Field(description="unambiguous name in the contract grammar")
    symbol: str
    sec_type: str
    exchange: str
    primary_exchange: str = ""
    currency: str
    local_symbol: str = ""
    trading_class: str = ""
    expiry: str = ""
    strike: Decimal | None = None
    right: str = ""
    multiplier: Decimal = Decimal(1)
    price_magnifier: Decimal = Decimal(1)
    min_tick: Decimal = Decimal("0.01")
    increments: tuple[PriceIncrement, ...] = ()
    min_size: Decimal = Decimal(1)
    size_increment: Decimal = Decimal(1)
    long_name: str = ""
    time_zone: str = ""
    trading_hours: str = ""
    liquid_hours: str = ""
    order_types: str = ""
    valid_exchanges: str = ""
    under_con_id: int = 0

    def tick_at(self, price: Decimal) -> Decimal:
        """Return the price step that holds at `price`."""
        step = self.min_tick
        for row in self.increments:
            if abs(price) >= row.low_edge:
                step = row.increment
        return step

    def envelope_key(self) -> str:
        """Return the conId."""
        return str(self.con_id)


@register
class Bar(Message):
    """One time bar, published when it closes; `is_revised` marks a bar published again because of late trades.

    `ts_open_ns`..`ts_close_ns` is half open, wall time; volume in shares; `vwap` None without trades.
    `is_complete` is False where ticks of the interval are known to be missing. `hours` says what it covers: `rth`
    regular hours only, `all` whatever was traded, empty where the sender did not say.
    """

    TYPE: ClassVar[str] = "bar"

    con_id: int = Field(gt=0)
    interval: str = Field(description="1s, 5s, 1m or 1d")
    ts_open_ns: int
    ts_close_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = Decimal(0)
    vwap: Decimal | None = None
    trades: int = 0
    quality: int = 0
    is_complete: bool = True
    is_revised: bool = False
    hours: str = ""

    def envelope_key(self) -> str:
        """Return the conId."""
        return str(self.con_id)

    def envelope_id(self) -> str:
        """Return conId, interval and opening time: one bar each."""
        return f"{self.con_id}:{self.interval}:{self.ts_open_ns}"


@register
class SubscriptionRequest(Message):
    """What the leader should stream: the whole wanted set, written by marketdata whenever it changes.

    `renew` are those of them to end and begin anew once: nothing came of them although their market is open.
    """

    TYPE: ClassVar[str] = "subscriptions"

    con_ids: tuple[int, ...] = ()
    revision: int = 0
    renew: tuple[int, ...] = ()


@register
class DataStatus(Message):
    """What flows for a contract: quality (IB's marketDataType), the broker's code and the cure if nothing does."""

    TYPE: ClassVar[str] = "data_status"

    con_id: int
    quality: int = 0
    code: int = 0
    text: str = ""

    def envelope_key(self) -> str:
        """Return the conId."""
        return str(self.con_id)
