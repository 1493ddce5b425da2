"""Write the ticks of one market data subscription: what changed, as TWS words it, live or delayed.

Invariant: what a subscription has been told is not sent again; a price change carries its size, a size change travels
alone.

Source: ib-facts A.12, B.5, E.3.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.simulator.core import generic_ticks as generic
from services.simulator.core.book import Book
from services.simulator.core.contracts import Instrument
from services.simulator.core.floor import Floor
from services.simulator.core.greeks import greeks, implied_volatility, years_left
from services.simulator.core.headlines import headlines
from services.simulator.core.market import NS_PER_S, Quote, Trade
from shared.tws import responses as rs

LIVE = {"bid": 1, "ask": 2, "last": 4, "high": 6, "low": 7, "close": 9, "open": 14, "bid_size": 0, "ask_size": 3,
        "last_size": 5, "volume": 8, "last_time": 45, "bid_greeks": 10, "ask_greeks": 11, "last_greeks": 12,
        "model": 13}  # fmt: skip
DELAYED = {"bid": 66, "ask": 67, "last": 68, "high": 72, "low": 73, "close": 75, "open": 76, "bid_size": 69,
           "ask_size": 70, "last_size": 71, "volume": 74, "last_time": 88, "bid_greeks": 80, "ask_greeks": 81,
           "last_greeks": 82, "model": 83}  # fmt: skip
BID_EXCHANGE, ASK_EXCHANGE, LAST_EXCHANGE, MARK_PRICE, TRADE_COUNT, HALTED = 32, 33, 84, 37, 54, 49
_LETTERS = "QNPZVK"


@dataclass(slots=True)
class Line:
    """One reqMktData subscription and what it has been told."""

    session: int
    req_id: int
    instrument: Instrument
    is_snapshot: bool
    wanted: frozenset[int]
    types: dict[str, int]
    bid: float = 0.0
    bid_size: float = -1.0
    ask: float = 0.0
    ask_size: float = -1.0
    last: float = 0.0
    high: float = 0.0
    low: float = 0.0
    volume: float = -1.0
    mark: float = 0.0
    last_second: int = 0
    greeks_second: int = 0
    exchanges: str = ""
    heads: dict[str, str] = field(default_factory=dict)
    """How its messages begin, where they are written as text; empty where they go as objects."""

    @property
    def is_complete(self) -> bool:
        """Return whether everything was told that a snapshot has: both sides, and a trade where there are any."""
        has_quote = self.instrument.sec_type == "IND" or (self.bid_size >= 0 and self.ask_size >= 0)
        return has_quote and (self.last > 0 or self.instrument.sec_type in ("CASH", "BAG", "OPT"))


def send_quote(floor: Floor, line: Line, quote: Quote) -> None:
    """Tell what a quote changes."""
    send, types = floor.send, line.types
    if quote.bid != line.bid:
        send(line.session, rs.TickPrice(line.req_id, types["bid"], quote.bid, quote.bid_size, 1))
    elif quote.bid_size != line.bid_size:
        send(line.session, rs.TickSize(line.req_id, types["bid_size"], quote.bid_size))
    if quote.ask != line.ask:
        send(line.session, rs.TickPrice(line.req_id, types["ask"], quote.ask, quote.ask_size, 1))
    elif quote.ask_size != line.ask_size:
        send(line.session, rs.TickSize(line.req_id, types["ask_size"], quote.ask_size))
    line.bid, line.bid_size, line.ask, line.ask_size = quote.bid, quote.bid_size, quote.ask, quote.ask_size
    if line.instrument.sec_type == "OPT":
        _send_greeks(floor, line, quote.ts_ns)
    if line.wanted:
        _send_mark(floor, line)


def send_trade(floor: Floor, line: Line, trade: Trade) -> None:
    """Tell what a trade changes."""
    send, types, req_id = floor.send, line.types, line.req_id
    book = floor.book(trade.con_id)
    second = trade.ts_ns // NS_PER_S
    if second != line.last_second:
        line.last_second = second
        send(line.session, rs.TickString(req_id, types["last_time"], str(second)))
    if trade.price != line.last:
        line.last = trade.price
        send(line.session, rs.TickPrice(req_id, types["last"], trade.price, trade.size))
    else:
        send(line.session, rs.TickSize(req_id, types["last_size"], trade.size))
    if book.volume != line.volume:
        line.volume = book.volume
        send(line.session, rs.TickSize(req_id, types["volume"], book.volume))
    if book.high != line.high:
        line.high = book.high
        send(line.session, rs.TickPrice(req_id, types["high"], book.high))
    if book.low != line.low:
        line.low = book.low
        send(line.session, rs.TickPrice(req_id, types["low"], book.low))
    if line.wanted:
        _send_wanted(floor, line, trade, book)


def send_first(floor: Floor, line: Line, *, has_quote: bool = True) -> None:
    """Tell all that is known at the beginning of a subscription; a closed market has no quote: -1 with size 0."""
    book = floor.book(line.instrument.con_id)
    send, types, req_id = floor.send, line.types, line.req_id
    if not has_quote:
        for name in ("bid", "ask"):
            send(line.session, rs.TickPrice(req_id, types[name], -1.0, 0.0))
    elif book.has_quote:
        send_quote(floor, line, Quote(book.con_id, book.updated_ns, book.bid, book.bid_size, book.ask, book.ask_size))
    if book.last:
        send_trade(floor, line, Trade(book.con_id, book.last_ns or floor.now_ns, book.last, book.last_size))
        send(line.session, rs.TickPrice(req_id, types["open"], book.open))
    if book.close:
        send(line.session, rs.TickPrice(req_id, types["close"], book.close))
    if line.instrument.sec_type == "STK":
        send(line.session, rs.TickGeneric(req_id, HALTED, float(book.is_halted)))
        _send_exchanges(floor, line)
    for tick in generic.standing_ticks(req_id, line.instrument, line.wanted, floor.prices, floor.now_ns):
        send(line.session, tick)
    newest = next(headlines(line.instrument, floor.now_ns), None) if generic.NEWS in line.wanted else None
    if newest is not None:
        at_ms = newest.at_ns // 1_000_000
        send(line.session, rs.TickNews(req_id, at_ms, newest.provider, newest.article_id, newest.text))


def _send_wanted(floor: Floor, line: Line, trade: Trade, book: Book) -> None:
    vwap = book.vwap_sum / book.volume if book.volume else 0.0
    for number, kind in ((generic.RT_VOLUME, 48), (generic.RT_TRADE_VOLUME, 77)):
        if number in line.wanted:
            value = f"{trade.price};{trade.size:g};{trade.ts_ns // 1_000_000};{book.volume:g};{vwap:.8f};true"
            floor.send(line.session, rs.TickString(line.req_id, kind, value))
    if generic.TRADE_COUNT in line.wanted:
        floor.send(line.session, rs.TickGeneric(line.req_id, TRADE_COUNT, float(book.trades)))
    _send_mark(floor, line)


def _send_mark(floor: Floor, line: Line) -> None:
    if not line.wanted & {221, generic.MARK_PRICE, generic.SLOW_MARK_PRICE}:
        return
    mark = floor.book(line.instrument.con_id).mark
    if mark and mark != line.mark:
        line.mark = mark
        floor.send(line.session, rs.TickPrice(line.req_id, MARK_PRICE, mark))


def _send_exchanges(floor: Floor, line: Line) -> None:
    letter = _LETTERS[line.instrument.con_id % len(_LETTERS)]
    for kind in (BID_EXCHANGE, ASK_EXCHANGE, LAST_EXCHANGE):
        floor.send(line.session, rs.TickString(line.req_id, kind, letter))


def _send_greeks(floor: Floor, line: Line, now_ns: int) -> None:
    """Send the computations of bid, ask, last and model, at most once a second."""
    second = now_ns // NS_PER_S
    under = floor.universe.by_id(line.instrument.under_con_id)
    if second == line.greeks_second or under is None:
        return
    line.greeks_second = second
    option, types = floor.universe.by_id(line.instrument.con_id) or line.instrument, line.types
    level = floor.mark(under) * float(option.deliverable / option.multiplier)
    years = years_left(option, now_ns)
    for name, price in (("bid_greeks", line.bid), ("ask_greeks", line.ask), ("last_greeks", line.last)):
        if price > 0:
            volatility = implied_volatility(price, level, option.strike, years, option.right)
            floor.send(line.session, computation(line.req_id, types[name], option, level, years, volatility, price))
    floor.send(line.session, computation(line.req_id, types["model"], option, level, years, option.volatility, None))


def computation(
    req_id: int, kind: int, option: Instrument, under: float, years: float, volatility: float, price: float | None
) -> rs.TickOptionComputation:
    """Return message 21 for an option at a volatility; `price` None is the model's own."""
    found = greeks(under, option.strike, years, volatility, option.right)
    return rs.TickOptionComputation(
        req_id, kind, 1, round(volatility, 6), delta=round(found.delta, 6),
        option_price=round(found.price if price is None else price, 6), pv_dividend=0.0, gamma=round(found.gamma, 6),
        vega=round(found.vega, 6), theta=round(found.theta, 6), under_price=round(under, 6) if under > 0 else -1.0,
    )  # fmt: skip
