"""Write the three messages that make up market data without going through the codec's fields.

They are most of what a client reads, and the codec takes several times as long for them. A test holds every byte
against the codec's; whatever this module does not know, the codec writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shared.tws.responses import Response, TickPrice, TickSize, TickString


def _size(value: float) -> str:
    # A NaN is not equal to itself, an infinity is not below the bound: both go to the codec, which refuses them.
    if -1e15 < value < 1e15:
        whole = int(value)
        if whole == value:
            return str(whole)
    raise ValueError(value)  # older versions have no fractions: the codec knows


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


_SHORT = 128
"""Payloads below this have a length whose last byte is ASCII and whose others are 0, so that a frame is a text too."""
_HEADERS = tuple(f"\0\0\0{chr(length)}" for length in range(_SHORT))


def quick_frames(responses: Sequence[Response], slow: Callable[[Response], bytes]) -> bytes:
    """Return the frames of messages in order; `slow` gives the frame of one that the codec has to write."""
    texts: list[str] = []
    for response in responses:
        write = _WRITERS.get(type(response))
        if write is not None:
            try:
                text = write(response)
                texts.append(_HEADERS[len(text)])
                texts.append(text)
                continue
            except (ValueError, OverflowError, IndexError):
                pass  # not a usual value: the codec writes it, or refuses it with its reason
        texts.append(slow(response).decode("latin-1"))
    return "".join(texts).encode("latin-1")
