"""Write market data as the frames that go onto the wire, once per event for all who take it.

Most of what a client reads is prices and sizes. As message objects through the codec they cost several times as much,
so the usual ones are written here as text: what depends on the subscription is prepared in its `heads`, what depends
on the event is written once, and every subscriber gets both put together.

Invariants:
1. A text is, byte for byte, the frame that the codec makes of the message it stands for; a test compares the streams.
2. What is not usual (a fraction of a size, an option, generic ticks, a fault that may drop messages) goes the long way.

Source: ib-facts B.2, B.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from services.simulator.core.floor import Floor
from services.simulator.core.lines import Line, send_quote, send_trade
from services.simulator.core.market import NS_PER_S, Quote, Trade

LONGEST = 128
"""Payloads below this have a length whose last byte is ASCII and whose others are 0, so that a frame is a text too."""
HEADERS = tuple(f"\0\0\0{chr(length)}" for length in range(LONGEST))
_HUGE = 1e300
_MOST_KEPT = 50_000
_PRICES = ("bid", "ask", "last", "high", "low")
_SIZES = ("bid_size", "ask_size", "last_size", "volume")


def is_whole(size: float) -> bool:
    """Return whether a size is written the same for all versions: older ones have no fractions."""
    # A NaN is not equal to itself, an infinity is not below the bound.
    return -1e15 < size < 1e15 and int(size) == size


def is_usual_price(price: float) -> bool:
    """Return whether a price is a plain number."""
    return -_HUGE < price < _HUGE


class _Texts(dict[float, str]):
    """How numbers are written, with a field's end; the same few come again and again."""

    def __init__(self, write: Callable[[float], str]) -> None:
        super().__init__()
        self._write = write

    def __missing__(self, number: float) -> str:
        if len(self) >= _MOST_KEPT:
            self.clear()
        text = self[number] = self._write(number)
        return text


_prices = _Texts(lambda price: f"{float(price)!r}\0")
_sizes = _Texts(lambda size: f"{int(size)}\0" if is_whole(size) else "")
"""Empty for what only the codec writes."""


def heads(line: Line) -> dict[str, str]:
    """Return the beginning of every message of a subscription: id, version, request, tick type."""
    found = {name: f"1\0006\0{line.req_id}\0{line.types[name]}\0" for name in _PRICES}
    found |= {name: f"2\0006\0{line.req_id}\0{line.types[name]}\0" for name in _SIZES}
    found["last_time"] = f"46\0006\0{line.req_id}\0{line.types['last_time']}\0"
    return found


def is_plain(line: Line) -> bool:
    """Return whether a subscription has nothing but what this module writes."""
    return not line.wanted and line.instrument.sec_type != "OPT"


def write_quote(floor: Floor, lines: Iterable[Line], quote: Quote) -> bool:
    """Tell a contract's subscribers what a quote changes; False, and nothing said, if the codec has to write it."""
    bid, bid_size, ask, ask_size = quote.bid, quote.bid_size, quote.ask, quote.ask_size
    bid_size_text, ask_size_text = _sizes[bid_size], _sizes[ask_size]
    if not (bid_size_text and ask_size_text and 0 < bid < ask < _HUGE):
        return False
    bid_text = ask_text = ""
    for line in lines:
        head = line.heads
        if not head:
            send_quote(floor, line, quote)
            continue
        out = floor.out(line.session)
        if out is None:
            continue
        if bid != line.bid:
            bid_text = bid_text or f"{_prices[bid]}{bid_size_text}1\0"
            text = head["bid"] + bid_text
            out.append(HEADERS[len(text)] + text)
            line.bid, line.bid_size = bid, bid_size
        elif bid_size != line.bid_size:
            text = head["bid_size"] + bid_size_text
            out.append(HEADERS[len(text)] + text)
            line.bid_size = bid_size
        if ask != line.ask:
            ask_text = ask_text or f"{_prices[ask]}{ask_size_text}1\0"
            text = head["ask"] + ask_text
            out.append(HEADERS[len(text)] + text)
            line.ask, line.ask_size = ask, ask_size
        elif ask_size != line.ask_size:
            text = head["ask_size"] + ask_size_text
            out.append(HEADERS[len(text)] + text)
            line.ask_size = ask_size
    return True


def write_trade(floor: Floor, lines: Iterable[Line], trade: Trade) -> bool:
    """Tell a contract's subscribers what a trade changes; False, and nothing said, if the codec has to write it."""
    book = floor.book(trade.con_id)
    price, volume = trade.price, book.volume
    size_text = _sizes[trade.size]
    if not (size_text and is_whole(volume) and 0 < price < _HUGE):
        return False
    second = trade.ts_ns // NS_PER_S
    last_text = f"{_prices[price]}{size_text}0\0"
    for line in lines:
        head = line.heads
        if not head:
            send_trade(floor, line, trade)
            continue
        out = floor.out(line.session)
        if out is None:
            continue
        if second != line.last_second:
            line.last_second = second
            text = f"{head['last_time']}{second}\0"
            out.append(HEADERS[len(text)] + text)
        if price != line.last:
            line.last = price
            text = head["last"] + last_text
        else:
            text = head["last_size"] + size_text
        out.append(HEADERS[len(text)] + text)
        if volume != line.volume:
            line.volume = volume
            text = f"{head['volume']}{int(volume)}\0"
            out.append(HEADERS[len(text)] + text)
        if book.high != line.high:
            line.high = book.high
            text = f"{head['high']}{_prices[book.high]}0\0000\0"
            out.append(HEADERS[len(text)] + text)
        if book.low != line.low:
            line.low = book.low
            text = f"{head['low']}{_prices[book.low]}0\0000\0"
            out.append(HEADERS[len(text)] + text)
    return True
