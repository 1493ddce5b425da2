"""Write the three messages that make up market data without going through the codec's fields.

They are most of what a client reads, and the codec takes several times as long for them. A test holds every byte
against the codec's; whatever this module does not know, the codec writes. What the core has written already
(`core/tick_text.py`) is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from services.simulator.core.floor import Sendable
from services.simulator.core.tick_text import HEADERS, is_usual_price, is_whole
from shared.tws.responses import Response, TickPrice, TickSize, TickString


def _size(value: float) -> str:
    if not is_whole(value):
        raise ValueError(value)  # the codec knows how, or refuses it
    return str(int(value))


def _price(tick: Any) -> str:
    price = tick.price
    if not is_usual_price(price):
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


def quick_frames(responses: Sequence[Sendable], slow: Callable[[Response], bytes]) -> bytes:
    """Return the frames of messages in order; `slow` gives the frame of one that the codec has to write."""
    texts: list[str] = []
    for response in responses:
        if isinstance(response, str):
            texts.append(response)
            continue
        write = _WRITERS.get(type(response))
        if write is not None:
            try:
                text = write(response)
                texts.append(HEADERS[len(text)])
                texts.append(text)
                continue
            except (ValueError, OverflowError, IndexError):
                pass  # not a usual value: the codec writes it, or refuses it with its reason
        texts.append(slow(response).decode("latin-1"))
    return "".join(texts).encode("latin-1")
