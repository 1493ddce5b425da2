"""A checksum over what a unit was told, in order: one event skipped, doubled or swapped changes all that follow."""

from __future__ import annotations

import struct
import zlib

_QUOTE = struct.Struct("<qdddd")


def quote_link(before: int, ts_ns: int, bid: float, bid_size: float, ask: float, ask_size: float) -> int:
    """Return the checksum after a quote."""
    return zlib.crc32(_QUOTE.pack(ts_ns, bid, bid_size, ask, ask_size), before)


def fill_link(before: int, exec_id: str) -> int:
    """Return the checksum after an execution."""
    return zlib.crc32(exec_id.encode(), before)
