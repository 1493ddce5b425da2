"""Serve live market data: quotes and trades, tick-by-tick, depth, five-second bars, snapshots.

Invariants:
1. At most `market_data_lines` contracts are subscribed at once, over all clients (error 101).
2. A request id is used by one subscription of a session at a time (error 322).

Source: ib-facts A.11, A.12, B.5, E.3.
"""

from __future__ import annotations

from collections.abc import Callable

from services.simulator.core.contracts import Instrument, Listing, NotFound
from services.simulator.core.depth import MAKERS, MAX_ROWS, DepthLine, send_depth
from services.simulator.core.floor import Floor
from services.simulator.core.generic_ticks import NEWS, legal_text, parse_generic_ticks
from services.simulator.core.history_pacing import HistoryPacing
from services.simulator.core.lines import DELAYED, LIVE, Line, send_first, send_quote, send_trade
from services.simulator.core.market import NS_PER_S, MarketEvent, Quote, Trade
from services.simulator.core.sessions import Session
from services.simulator.core.subscriptions import BarLine, Subscribers, Tape, into_bar
from services.simulator.core.tick_text import heads, is_plain, write_quote, write_trade
from shared.tws import requests as rq
from shared.tws import responses as rs

BAR_S = 5
SNAPSHOT_NS = 11 * NS_PER_S
SNAPSHOT_STEP_NS = NS_PER_S // 4
"""How long TWS waits for what a snapshot still lacks, and how often it looks."""
NOT_SUBSCRIBED = (
    "Requested market data is not subscribed. Delayed market data is available.Error&{symbol} {exchange} /TOP/ALL"
)
NO_DEPTH = "Deep market data is not supported for this combination of security type/exchange"
DELAYED_SHOWN = "Requested market data is not subscribed. Displaying delayed market data."
FROZEN = (2, 4)
"""Market data types that show the last quotes of a closed market."""
TAPE_KINDS = ("Last", "AllLast", "BidAsk", "MidPoint")
TAPE_REPEAT_NS = 15 * NS_PER_S
MIN_TAPES = 5
MIN_DEPTHS = 3


class DataDesk:
    """The market data side of the exchange."""

    def __init__(self, floor: Floor, pacing: HistoryPacing | None = None) -> None:
        self._floor = floor
        self._by_contract: dict[int, Subscribers] = {}
        self._where: dict[tuple[int, int], int] = {}
        self.is_open: Callable[[Instrument], bool] = lambda _: True
        self.is_extended: Callable[[Instrument], bool] = lambda _: True
        """Whether a contract trades now, outside of regular hours too."""
        self.past_ticks: Callable[[Session, rq.ReqTickByTick], None] = lambda _, __: None
        self._tape_times: dict[tuple[int, str], int] = {}
        self._pacing = pacing or HistoryPacing()
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
        wanted = parse_generic_ticks(request.generic_ticks)
        if wanted is None:
            text = legal_text(request.generic_ticks, request.contract.sec_type)
            floor.error(session.session, request.req_id, 321, text)
            return
        listing = self._admit(session, request.req_id, request)
        if listing is None:
            return
        types = self._permission(session, request.req_id, listing)
        if types is None:
            return
        line = Line(session.session, request.req_id, listing.instrument, request.snapshot, wanted, types)
        if floor.writes_ticks and is_plain(line):
            line.heads = heads(line)
        instrument = listing.instrument
        self._subscribers(instrument.con_id).lines[(line.session, line.req_id)] = line
        self._where[(line.session, line.req_id)] = instrument.con_id
        is_closed = not self.is_open(instrument)
        shows_frozen = is_closed and session.market_data_type in FROZEN
        kind = (3 if types is DELAYED else 1) + shows_frozen
        floor.send(line.session, rs.MarketDataType(line.req_id, kind))
        floor.send(line.session, rs.TickReqParams(line.req_id, float(instrument.min_tick), _bbo(instrument), 3))
        if request.contract.delta_neutral is not None:
            under = request.contract.delta_neutral
            floor.send(line.session, rs.DeltaNeutralValidation(line.req_id, under.con_id, under.delta, under.price))
        floor.faults.asked_anew(instrument.con_id)
        floor.watch(instrument)
        send_first(floor, line, has_quote=shows_frozen or not is_closed)
        if line.is_snapshot:
            until_ns = floor.now_ns + max(SNAPSHOT_NS, floor.config.snapshot_ns)
            floor.later(floor.config.snapshot_ns, lambda: self._end_snapshot(line, until_ns))

    def cancel_market_data(self, session: Session, request: rq.CancelMktData) -> None:
        """Stop a subscription."""
        self._cancel(session, request.req_id, 300, "Can't find EId with tickerId:{req_id}")

    def market_data_type(self, session: Session, request: rq.ReqMarketDataType) -> None:
        """Note which kinds of data the client accepts beside live."""
        session.market_data_type = request.market_data_type

    def tick_by_tick(self, session: Session, request: rq.ReqTickByTick) -> None:
        """Start a tick-by-tick stream."""
        if request.tick_type not in TAPE_KINDS:
            text = f"Error validating request.-'cV' : cause - Invalid tick-by-tick type '{request.tick_type}'."
            self._floor.error(session.session, request.req_id, 321, text)
            return
        listing = self._admit(session, request.req_id, request)
        if listing is None or self._is_tape_refused(session, request, listing.instrument):
            return
        con_id = listing.instrument.con_id
        tape = Tape(session.session, request.req_id, con_id, request.tick_type, request.ignore_size)
        self._subscribers(con_id).tapes[(tape.session, tape.req_id)] = tape
        self._where[(tape.session, tape.req_id)] = con_id
        if request.number_of_ticks > 0:
            self.past_ticks(session, request)
        self._floor.watch(listing.instrument)

    def _is_tape_refused(self, session: Session, request: rq.ReqTickByTick, instrument: Instrument) -> bool:
        """Check IB's limits on tick-by-tick data: kinds of contract, number, and repeats."""
        floor, kind = self._floor, request.tick_type
        has_none = instrument.sec_type in ("OPT", "BAG") or (
            instrument.sec_type in ("CASH", "IND") and kind in TAPE_KINDS[:2]
        )
        key = (instrument.con_id, kind)
        is_repeat = (
            floor.config.history_pacing and floor.now_ns - self._tape_times.get(key, -TAPE_REPEAT_NS) < TAPE_REPEAT_NS
        )
        if has_none or is_repeat:
            reason = f"No market data for {instrument.symbol} {instrument.sec_type} {kind}"
            if not has_none:
                reason = "The same instrument may be requested once in 15 seconds"
            text = f"Failed to request tick-by-tick data:{reason}"
            floor.error(session.session, request.req_id, 10189, text)
            return True
        running = sum(len(each.tapes) for each in self._by_contract.values())
        if running >= max(MIN_TAPES, floor.config.market_data_lines // 20):
            text = "Max number of tick-by-tick requests has been reached."
            floor.error(session.session, request.req_id, 10190, text)
            return True
        self._tape_times[key] = floor.now_ns
        return False

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
        if listing is None or self._are_bars_refused(session, request, listing.instrument):
            return
        con_id = listing.instrument.con_id
        bars = BarLine(session.session, request.req_id, listing.instrument, request.what_to_show, request.use_rth)
        self._subscribers(con_id).bars[(bars.session, bars.req_id)] = bars
        self._where[(bars.session, bars.req_id)] = con_id
        self._floor.watch(listing.instrument)
        if not self._bar_timer_set:
            self._bar_timer_set = True
            self._arm_bars()

    def _are_bars_refused(self, session: Session, request: rq.ReqRealTimeBars, instrument: Instrument) -> bool:
        """Check what five-second bars there are, and the pacing that they share with historical ones."""
        floor, what = self._floor, request.what_to_show
        reason = ""
        alike = f"{instrument.con_id}/{request.contract.exchange}/{what}"
        if instrument.sec_type == "CASH" and what == "TRADES":
            reason = f"No historical market data for {instrument.symbol}/CASH@IDEALPRO Last 5"
        elif floor.config.history_pacing and not self._pacing.admit(alike, f"{alike}/live", floor.now_ns):
            reason = "Historical data request pacing violation"
        if reason:
            floor.error(session.session, request.req_id, 420, f"Invalid Real-time Query:{reason}")
        return bool(reason)

    # -------------------------------------------------------------------------------------------- depth
    def market_depth(self, session: Session, request: rq.ReqMktDepth) -> None:
        """Start the rows of an order book."""
        floor, number = self._floor, request.req_id
        if not 1 <= request.num_rows <= MAX_ROWS:
            text = f"Error validating request.-'cP' : cause - Invalid number of rows: {request.num_rows}"
            floor.error(session.session, number, 321, text)
            return
        listing = self._admit(session, number, request)
        if listing is None:
            return
        instrument = listing.instrument
        is_everywhere = (request.contract.exchange or instrument.route) == "SMART"
        if instrument.sec_type in ("IND", "OPT", "BAG") or (is_everywhere and not request.is_smart_depth):
            floor.error(session.session, number, 10092, NO_DEPTH)
            return
        running = sum(len(each.depths) for each in self._by_contract.values())
        limit = max(MIN_DEPTHS, floor.config.market_data_lines // 100)
        if running >= limit:
            text = f"Max number ({limit}) of market depth requests has been reached"
            floor.error(session.session, number, 309, text)
            return
        is_smart = request.is_smart_depth and is_everywhere
        depth = DepthLine(session.session, number, instrument, request.num_rows, is_smart)
        self._subscribers(instrument.con_id).depths[(depth.session, number)] = depth
        self._where[(depth.session, number)] = instrument.con_id
        if is_smart:
            makers = "; ".join(MAKERS)
            floor.error(session.session, number, 2152, f"Exchanges - Depth: {makers}; Top: BYX; AMEX; ")
        floor.watch(instrument)
        book = floor.book(instrument.con_id)
        if book.has_quote:
            quote = Quote(book.con_id, book.updated_ns, book.bid, book.bid_size, book.ask, book.ask_size)
            send_depth(floor, depth, quote)

    def cancel_market_depth(self, session: Session, request: rq.CancelMktDepth) -> None:
        """Stop the rows of an order book."""
        self._cancel(session, request.req_id, 310, "Can't find the subscribed market depth with tickerId:{req_id}")

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

    def news_takers(self, con_id: int) -> list[tuple[int, int]]:
        """Return session and request id of the subscriptions that take a contract's headlines."""
        subscribers = self._by_contract.get(con_id)
        return [key for key, line in subscribers.lines.items() if NEWS in line.wanted] if subscribers else []

    def tell_halted(self, con_id: int, *, is_halted: bool) -> None:
        """Tell a contract's subscribers of a trading halt or its end (tick 49)."""
        subscribers = self._by_contract.get(con_id)
        for line in subscribers.lines.values() if subscribers else ():
            self._floor.send(line.session, rs.TickGeneric(line.req_id, 49, float(is_halted)))

    def release_unused(self, con_id: int) -> None:
        """Let a contract's market rest if nobody takes its data."""
        if con_id not in self._by_contract:
            self._floor.release(con_id)

    def subscribed_contracts(self) -> int:
        """Return how many contracts are subscribed."""
        return len(self._by_contract)

    # -------------------------------------------------------------------------------------------- admission
    def _admit(
        self,
        session: Session,
        req_id: int,
        request: rq.ReqMktData | rq.ReqTickByTick | rq.ReqRealTimeBars | rq.ReqMktDepth,
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
            return LIVE
        if permission == "delayed" and session.market_data_type in (3, 4):
            self._floor.error(session.session, req_id, 10167, DELAYED_SHOWN)
            return DELAYED
        text = NOT_SUBSCRIBED.format(symbol=listing.instrument.symbol, exchange=listing.instrument.primary_exchange)
        code = 354 if permission == "delayed" else 10168
        if permission == "none":
            text = "Requested market data is not subscribed. Delayed market data is not enabled."
        self._floor.error(session.session, req_id, code, text)
        return None

    def _subscribers(self, con_id: int) -> Subscribers:
        return self._by_contract.setdefault(con_id, Subscribers())

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
        subscribers.depths.pop(key, None)
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
        floor, lines = self._floor, subscribers.lines.values()
        is_text = floor.writes_ticks and not floor.faults.is_active
        if isinstance(event, Quote):
            if lines and not (is_text and write_quote(floor, lines, event)):
                for line in lines:
                    send_quote(floor, line, event)
        elif lines and not (is_text and write_trade(floor, lines, event)):
            for line in lines:
                send_trade(floor, line, event)
        if subscribers.has_more:
            self._tell_others(subscribers, event)

    def _tell_others(self, subscribers: Subscribers, event: MarketEvent) -> None:
        if isinstance(event, Quote):
            for depth in subscribers.depths.values():
                send_depth(self._floor, depth, event)
        for tape in subscribers.tapes.values():
            self._tape(tape, event)
        for bars in subscribers.bars.values():
            into_bar(bars, event)

    def _end_snapshot(self, line: Line, until_ns: int) -> None:
        """End a snapshot that has everything, or for which TWS has waited long enough."""
        if not line.is_complete and self._floor.now_ns < until_ns and (line.session, line.req_id) in self._where:
            wait_ns = min(SNAPSHOT_STEP_NS, until_ns - self._floor.now_ns)
            self._floor.later(wait_ns, lambda: self._end_snapshot(line, until_ns))
            return
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
            prices = (event.bid, event.ask)
            if tape.ignores_size and prices == tape.last:
                return
            tape.last = prices
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
                if self.is_open(bars.instrument) or (not bars.use_rth and self.is_extended(bars.instrument)):
                    self._send_bar(bars, start_s)
                bars.restart()

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


def _bbo(instrument: Instrument) -> str:
    return f"{instrument.con_id % 0xFFFFFF:06x}"
