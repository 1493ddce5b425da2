"""Serve live market data: quotes and trades, tick-by-tick, five-second bars, snapshots.

Invariants:
1. What a subscription has not changed is not sent again; a price change carries its size, a size change travels alone.
2. At most `market_data_lines` contracts are subscribed at once, over all clients (error 101).
3. A request id is used by one subscription of a session at a time (error 322).

Source: ib-facts A.11, A.12, B.5, E.3.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.simulator.core.contracts import Instrument, Listing, NotFound
from services.simulator.core.floor import Floor
from services.simulator.core.market import NS_PER_S, MarketEvent, Quote, Trade
from services.simulator.core.sessions import Session
from shared.tws import requests as rq
from shared.tws import responses as rs

BAR_S = 5
SNAPSHOT_NS = 250_000_000
NOT_SUBSCRIBED = (
    "Requested market data is not subscribed. Delayed market data is available.Error&{symbol} {exchange} /TOP/ALL"
)
DELAYED_SHOWN = "Requested market data is not subscribed. Displaying delayed market data."
_LIVE = {"bid": 1, "ask": 2, "last": 4, "high": 6, "low": 7, "close": 9, "open": 14, "bid_size": 0, "ask_size": 3,
         "last_size": 5, "volume": 8}  # fmt: skip
_DELAYED = {"bid": 66, "ask": 67, "last": 68, "high": 72, "low": 73, "close": 75, "open": 76, "bid_size": 69,
            "ask_size": 70, "last_size": 71, "volume": 74}  # fmt: skip


@dataclass(slots=True)
class Line:
    """One reqMktData subscription and what it has been told."""

    session: int
    req_id: int
    instrument: Instrument
    is_snapshot: bool
    wants_rt_volume: bool
    types: dict[str, int]
    bid: float = 0.0
    bid_size: float = -1.0
    ask: float = 0.0
    ask_size: float = -1.0
    last: float = 0.0
    high: float = 0.0
    low: float = 0.0
    volume: float = -1.0
    last_second: int = 0


@dataclass(slots=True)
class Tape:
    """One tick-by-tick subscription."""

    session: int
    req_id: int
    con_id: int
    kind: str


@dataclass(slots=True)
class BarLine:
    """One five-second bar subscription and the bar in the making."""

    session: int
    req_id: int
    instrument: Instrument
    what: str
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    volume: float = 0.0
    value: float = 0.0
    count: int = 0

    def add(self, price: float, size: float) -> None:
        """Take a price into the bar."""
        if not self.open:
            self.open = self.high = self.low = price
        self.high, self.low, self.close = max(self.high, price), min(self.low, price), price
        self.volume += size
        self.value += size * price
        self.count += 1


@dataclass
class _Subscribers:
    lines: dict[tuple[int, int], Line] = field(default_factory=dict)
    tapes: dict[tuple[int, int], Tape] = field(default_factory=dict)
    bars: dict[tuple[int, int], BarLine] = field(default_factory=dict)

    def is_empty(self) -> bool:
        return not (self.lines or self.tapes or self.bars)


class DataDesk:
    """The market data side of the exchange."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._by_contract: dict[int, _Subscribers] = {}
        self._where: dict[tuple[int, int], int] = {}
        self._bar_timer_set = False
        self.is_needed: dict[int, bool] = {}

    # -------------------------------------------------------------------------------------------- requests
    def market_data(self, session: Session, request: rq.ReqMktData) -> None:
        """Start quotes and trades, or one snapshot."""
        floor = self._floor
        if request.snapshot and request.generic_ticks:
            text = "Snapshot market data subscription is not applicable to generic ticks"
            floor.error(session.session, request.req_id, 414, text)
            return
        listing = self._admit(session, request.req_id, request)
        if listing is None:
            return
        types = self._permission(session, request.req_id, listing)
        if types is None:
            return
        line = Line(
            session.session, request.req_id, listing.instrument, request.snapshot, "233" in request.generic_ticks, types
        )
        instrument = listing.instrument
        self._subscribers(instrument.con_id).lines[(line.session, line.req_id)] = line
        self._where[(line.session, line.req_id)] = instrument.con_id
        is_delayed = types is _DELAYED
        floor.send(line.session, rs.MarketDataType(line.req_id, 3 if is_delayed else 1))
        floor.send(line.session, rs.TickReqParams(line.req_id, float(instrument.min_tick), _bbo(instrument), 3))
        floor.watch(instrument)
        self._first_ticks(line)
        if line.is_snapshot:
            floor.later(SNAPSHOT_NS, lambda: self._end_snapshot(line))

    def cancel_market_data(self, session: Session, request: rq.CancelMktData) -> None:
        """Stop a subscription."""
        self._cancel(session, request.req_id, 300, "Can't find EId with tickerId:{req_id}")

    def market_data_type(self, session: Session, request: rq.ReqMarketDataType) -> None:
        """Note which kinds of data the client accepts beside live."""
        session.market_data_type = request.market_data_type

    def tick_by_tick(self, session: Session, request: rq.ReqTickByTick) -> None:
        """Start a tick-by-tick stream."""
        kinds = ("Last", "AllLast", "BidAsk", "MidPoint")
        if request.tick_type not in kinds:
            text = f"Error validating request.-'cV' : cause - Invalid tick-by-tick type '{request.tick_type}'."
            self._floor.error(session.session, request.req_id, 321, text)
            return
        listing = self._admit(session, request.req_id, request)
        if listing is None:
            return
        con_id = listing.instrument.con_id
        tape = Tape(session.session, request.req_id, con_id, request.tick_type)
        self._subscribers(con_id).tapes[(tape.session, tape.req_id)] = tape
        self._where[(tape.session, tape.req_id)] = con_id
        self._floor.watch(listing.instrument)

    def cancel_tick_by_tick(self, session: Session, request: rq.CancelTickByTick) -> None:
        """Stop a tick-by-tick stream."""
        self._cancel(session, request.req_id, 300, "Can't find EId with tickerId:{req_id}")

    def real_time_bars(self, session: Session, request: rq.ReqRealTimeBars) -> None:
        """Start five-second bars."""
        if request.what_to_show not in ("TRADES", "MIDPOINT", "BID", "ASK"):
            text = f"Error validating request.-'bY' : cause - Invalid real time query:{request.what_to_show}"
            self._floor.error(session.session, request.req_id, 321, text)
            return
        listing = self._admit(session, request.req_id, request)
        if listing is None:
            return
        con_id = listing.instrument.con_id
        bars = BarLine(session.session, request.req_id, listing.instrument, request.what_to_show)
        self._subscribers(con_id).bars[(bars.session, bars.req_id)] = bars
        self._where[(bars.session, bars.req_id)] = con_id
        self._floor.watch(listing.instrument)
        if not self._bar_timer_set:
            self._bar_timer_set = True
            self._arm_bars()

    def cancel_real_time_bars(self, session: Session, request: rq.CancelRealTimeBars) -> None:
        """Stop five-second bars."""
        self._cancel(session, request.req_id, 300, "Can't find EId with tickerId:{req_id}")

    def forget(self, session: int) -> None:
        """Drop all subscriptions of a session."""
        for key in [key for key in self._where if key[0] == session]:
            self._drop(key)

    def requests(self) -> list[tuple[int, int]]:
        """Return session and request id of every subscription."""
        return list(self._where)

    def tell_halted(self, con_id: int, *, is_halted: bool) -> None:
        """Tell a contract's subscribers of a trading halt or its end (tick 49)."""
        subscribers = self._by_contract.get(con_id)
        for line in subscribers.lines.values() if subscribers else ():
            self._floor.send(line.session, rs.TickGeneric(line.req_id, 49, float(is_halted)))

    def subscribed_contracts(self) -> int:
        """Return how many contracts are subscribed."""
        return len(self._by_contract)

    def has_subscribers(self, con_id: int) -> bool:
        """Return whether anybody takes this contract's data."""
        return con_id in self._by_contract

    # -------------------------------------------------------------------------------------------- admission
    def _admit(
        self, session: Session, req_id: int, request: rq.ReqMktData | rq.ReqTickByTick | rq.ReqRealTimeBars
    ) -> Listing | None:
        floor = self._floor
        if (session.session, req_id) in self._where:
            floor.error(session.session, req_id, 322, "Error processing request.-'bS' : cause - Duplicate ticker id")
            return None
        found = floor.universe.resolve(request.contract)
        if isinstance(found, NotFound):
            floor.error(session.session, req_id, 200, found.text)
            return None
        con_id = found.instrument.con_id
        if con_id not in self._by_contract and len(self._by_contract) >= floor.config.market_data_lines:
            floor.error(session.session, req_id, 101, "Max number of tickers has been reached.")
            return None
        return found

    def _permission(self, session: Session, req_id: int, listing: Listing) -> dict[str, int] | None:
        permission = self._floor.config.data_permission
        if permission == "live":
            return _LIVE
        if permission == "delayed" and session.market_data_type in (3, 4):
            self._floor.error(session.session, req_id, 10167, DELAYED_SHOWN)
            return _DELAYED
        text = NOT_SUBSCRIBED.format(symbol=listing.instrument.symbol, exchange=listing.instrument.primary_exchange)
        code = 354 if permission == "delayed" else 10168
        if permission == "none":
            text = "Requested market data is not subscribed. Delayed market data is not enabled."
        self._floor.error(session.session, req_id, code, text)
        return None

    def _subscribers(self, con_id: int) -> _Subscribers:
        return self._by_contract.setdefault(con_id, _Subscribers())

    def _cancel(self, session: Session, req_id: int, code: int, text: str) -> None:
        if not self._drop((session.session, req_id)):
            self._floor.error(session.session, req_id, code, text.format(req_id=req_id))

    def _drop(self, key: tuple[int, int]) -> bool:
        con_id = self._where.pop(key, None)
        if con_id is None:
            return False
        subscribers = self._by_contract[con_id]
        subscribers.lines.pop(key, None)
        subscribers.tapes.pop(key, None)
        subscribers.bars.pop(key, None)
        if subscribers.is_empty():
            del self._by_contract[con_id]
            self._floor.release(con_id)
        return True

    # -------------------------------------------------------------------------------------------- ticks
    def on_market(self, event: MarketEvent) -> None:
        """Pass an event on to its subscribers."""
        subscribers = self._by_contract.get(event.con_id)
        if subscribers is None:
            return
        if isinstance(event, Quote):
            for line in subscribers.lines.values():
                self._quote(line, event)
        else:
            for line in subscribers.lines.values():
                self._trade(line, event)
        for tape in subscribers.tapes.values():
            self._tape(tape, event)
        for bars in subscribers.bars.values():
            _into_bar(bars, event)

    def _quote(self, line: Line, quote: Quote) -> None:
        send, types = self._floor.send, line.types
        if quote.bid != line.bid:
            send(line.session, rs.TickPrice(line.req_id, types["bid"], quote.bid, quote.bid_size, 1))
        elif quote.bid_size != line.bid_size:
            send(line.session, rs.TickSize(line.req_id, types["bid_size"], quote.bid_size))
        if quote.ask != line.ask:
            send(line.session, rs.TickPrice(line.req_id, types["ask"], quote.ask, quote.ask_size, 1))
        elif quote.ask_size != line.ask_size:
            send(line.session, rs.TickSize(line.req_id, types["ask_size"], quote.ask_size))
        line.bid, line.bid_size, line.ask, line.ask_size = quote.bid, quote.bid_size, quote.ask, quote.ask_size

    def _trade(self, line: Line, trade: Trade) -> None:
        send, types, req_id = self._floor.send, line.types, line.req_id
        book = self._floor.book(trade.con_id)
        second = trade.ts_ns // NS_PER_S
        if second != line.last_second:
            line.last_second = second
            send(line.session, rs.TickString(req_id, 45, str(second)))
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
        if line.wants_rt_volume:
            vwap = book.vwap_sum / book.volume if book.volume else 0.0
            value = f"{trade.price};{trade.size:g};{trade.ts_ns // 1_000_000};{book.volume:g};{vwap:.8f};true"
            send(line.session, rs.TickString(req_id, 48, value))

    def _first_ticks(self, line: Line) -> None:
        book = self._floor.book(line.instrument.con_id)
        send, types, req_id = self._floor.send, line.types, line.req_id
        if book.has_quote:
            quote = Quote(book.con_id, book.updated_ns, book.bid, book.bid_size, book.ask, book.ask_size)
            self._quote(line, quote)
        if book.last:
            self._trade(line, Trade(book.con_id, book.last_ns or self._floor.now_ns, book.last, book.last_size))
            send(line.session, rs.TickPrice(req_id, types["open"], book.open))
        if book.close:
            send(line.session, rs.TickPrice(req_id, types["close"], book.close))
        if line.instrument.sec_type == "STK":
            send(line.session, rs.TickGeneric(req_id, 49, float(book.is_halted)))

    def _end_snapshot(self, line: Line) -> None:
        if self._drop((line.session, line.req_id)):
            self._floor.send(line.session, rs.TickSnapshotEnd(line.req_id))

    def _tape(self, tape: Tape, event: MarketEvent) -> None:
        second = event.ts_ns // NS_PER_S
        if isinstance(event, Trade):
            if tape.kind in ("Last", "AllLast"):
                kind = 1 if tape.kind == "Last" else 2
                tick = rs.TickByTickLast(event.price, event.size, 0, "ARCA", "")
                self._floor.send(tape.session, rs.TickByTick(tape.req_id, kind, second, tick))
        elif tape.kind == "BidAsk":
            both = rs.TickByTickBidAsk(event.bid, event.ask, event.bid_size, event.ask_size)
            self._floor.send(tape.session, rs.TickByTick(tape.req_id, 3, second, both))
        elif tape.kind == "MidPoint":
            mid = rs.TickByTickMidPoint(round((event.bid + event.ask) / 2, 6))
            self._floor.send(tape.session, rs.TickByTick(tape.req_id, 4, second, mid))

    # -------------------------------------------------------------------------------------------- bars
    def _arm_bars(self) -> None:
        period_ns = BAR_S * NS_PER_S
        self._floor.later(period_ns - self._floor.now_ns % period_ns, self._send_bars)

    def _send_bars(self) -> None:
        self._arm_bars()
        start_s = self._floor.now_ns // NS_PER_S - BAR_S
        for subscribers in self._by_contract.values():
            for bars in subscribers.bars.values():
                self._send_bar(bars, start_s)

    def _send_bar(self, bars: BarLine, start_s: int) -> None:
        price = bars.close or self._floor.mark(bars.instrument)
        if not bars.count:
            bars.open = bars.high = bars.low = bars.close = price
        is_trades = bars.what == "TRADES"
        wap = bars.value / bars.volume if bars.volume else price
        self._floor.send(
            bars.session,
            rs.RealTimeBar(
                bars.req_id, start_s, bars.open, bars.high, bars.low, bars.close, bars.volume if is_trades else -1,
                round(wap, 6) if is_trades else -1, bars.count if is_trades else -1,
            ),
        )  # fmt: skip
        close = bars.close
        bars.open = bars.high = bars.low = 0.0
        bars.close, bars.volume, bars.value, bars.count = close, 0.0, 0.0, 0


def _into_bar(bars: BarLine, event: MarketEvent) -> None:
    if isinstance(event, Trade):
        if bars.what == "TRADES":
            bars.add(event.price, event.size)
    elif bars.what == "MIDPOINT":
        bars.add(round((event.bid + event.ask) / 2, 6), 0.0)
    elif bars.what == "BID":
        bars.add(event.bid, 0.0)
    elif bars.what == "ASK":
        bars.add(event.ask, 0.0)


def _bbo(instrument: Instrument) -> str:
    return f"{instrument.con_id % 0xFFFFFF:06x}"
