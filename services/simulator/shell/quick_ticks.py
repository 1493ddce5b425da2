"""Write the three messages that make up market data without going through the codec's fields.

They are most of what a client reads, and the codec takes several times as long for them. A test holds every byte
against the codec's; whatever this module does not know, the codec writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.tws.responses import Response, TickPrice, TickSize, TickString


def _size(value: float) -> str:
    # A NaN is not equal to itself, an infinity is not below the bound: both go to the codec, which refuses them.
    if -1e15 < value < 1e15:
        whole = int(value)
        return str(whole) if whole == value else repr(float(value))
    raise ValueError(value)


def _price(tick: Any) -> str:
    price = tick.price
    if not -1e300 < price < 1e300:
        raise ValueError(price)
    return f"1\0006\0{tick.req_id}\0{tick.tick_type}\0{float(price)!r}\0{_size(tick.size)}\0{tick.attr_mask}\0"


def _only_size(tick: Any) -> str:
    return f"2\0006\0{tick.req_id}\0{tick.tick_type}\0{_size(tick.size)}\0"


def _text(tick: Any) -> str:
    value = tick.value
    if "\0" in value or "\\" in value or not value.isascii():
        raise ValueError(value)
    return f"46\0006\0{tick.req_id}\0{tick.tick_type}\0{value}\0"


_WRITERS: dict[type[Response], Callable[[Any], str]] = {TickPrice: _price, TickSize: _only_size, TickString: _text}


def quick_frame(response: Response) -> bytes | None:
    """Return a message's frame as the codec would write it at any version, None where the codec has to."""
    write = _WRITERS.get(type(response))
    if write is None:
        return None
    try:
        payload = write(response).encode("ascii")
    except (ValueError, OverflowError):
        return None
    return len(payload).to_bytes(4, "big") + payload
