"""Answer historical requests: bars, live bars, head timestamp, ticks, histogram, schedule; with IB's pacing.

Source: ib-facts A.11 (pacing), B.5, B.7.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.simulator.core.chance import Chance
from services.simulator.core.contracts import Instrument, NotFound
from services.simulator.core.floor import Floor
from services.simulator.core.history import (
    BAR_SECONDS,
    DAY_S,
    Bar,
    History,
    has_kind,
    head_ns,
    parse_duration,
    parse_period,
)
from services.simulator.core.history_pacing import HistoryPacing
from services.simulator.core.hours import Hours
from services.simulator.core.market import NS_PER_S, Quote, quote_around
from services.simulator.core.sessions import Session
from services.simulator.core.times import local, parse_tws_time, zoned_text
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import TwsContract
from shared.tws.versions import HISTORICAL_DATA_END

PREFIX = "Historical Market Data Service error message:"
PACING_TEXT = PREFIX + "Historical data request pacing violation"
MAX_TICKS = 1000
MAX_SCHEDULE_DAYS = 3660
MAX_HISTOGRAM_BARS = 500


@dataclass(slots=True)
class LiveBars:
    """A historical request that is kept up to date."""

    session: int
    req_id: int
    instrument: Instrument
    bar_s: int
    what: str
    format_date: int
    last_sent: Bar | None = None


class HistoryDesk:
    """The historical side of the exchange."""

    def __init__(self, floor: Floor, history: History, pacing: HistoryPacing, hours: Hours) -> None:
        self._floor = floor
        self._hours = hours
        self._history = history
        self._pacing = pacing
        self._live: dict[tuple[int, int], LiveBars] = {}
        self._is_ticking = False

    def bars(self, session: Session, request: rq.ReqHistoricalData) -> None:
        """Answer reqHistoricalData, and keep it up to date if asked."""
        instrument = self._instrument(session, request.req_id, request.contract)
        if instrument is None:
            return
        what = request.what_to_show.upper()
        bar_s = BAR_SECONDS.get(request.bar_size, 0)
        if what == "SCHEDULE":
            self._schedule(session, request, instrument)
            return
        if self._is_refused(session, request, instrument):
            return
        now_ns = self._floor.now_ns
        try:
            end_ns = min(parse_tws_time(request.end, instrument.time_zone) or now_ns, now_ns)
            duration_s = parse_duration(request.duration)
            bars = self._history.bars(
                instrument, end_ns=end_ns, duration_s=duration_s, bar_s=bar_s, what=what, use_rth=request.use_rth
            )
        except ValueError as e:
            self._service_error(session, request.req_id, str(e))
            return
        if not bars:
            self._service_error(session, request.req_id, "HMDS query returned no data")
            return
        zone = instrument.time_zone
        rows = tuple(self._row(instrument, bar, bar_s, request.format_date) for bar in bars)
        start, end = zoned_text(end_ns - duration_s * NS_PER_S, zone), zoned_text(end_ns, zone)
        self._floor.send(session.session, rs.HistoricalData(request.req_id, start, end, rows))
        if session.version >= HISTORICAL_DATA_END:
            self._floor.send(session.session, rs.HistoricalDataEnd(request.req_id, start, end))
        if request.keep_up_to_date:
            self._keep(LiveBars(session.session, request.req_id, instrument, bar_s, what, request.format_date))

    def _is_refused(self, session: Session, request: rq.ReqHistoricalData, instrument: Instrument) -> bool:
        """Check what a request for bars asks for; send the error if it cannot be answered."""
        what, bar_s = request.what_to_show.upper(), BAR_SECONDS.get(request.bar_size, 0)
        if not bar_s:
            self._invalid(session, request.req_id, f"Historical data bar size setting is invalid: {request.bar_size}")
            return True
        if not has_kind(instrument, what):
            name = f"{instrument.symbol}@{request.contract.exchange or instrument.route} {what.title()} {bar_s}"
            self._service_error(session, request.req_id, f"No historical market data for {name}")
            return True
        if request.keep_up_to_date and request.end:
            self._invalid(session, request.req_id, "End date not supported with keepUpToDate.")
            return True
        is_paced = self._floor.config.history_pacing and bar_s <= 30
        alike = f"{instrument.con_id}/{request.contract.exchange}/{what}"
        exact = f"{alike}/{request.end}/{request.bar_size}/{request.duration}/{request.use_rth}"
        weight = 2 if what == "BID_ASK" else 1
        if is_paced and not self._pacing.admit(alike, exact, self._floor.now_ns, weight):
            self._floor.error(session.session, request.req_id, 162, PACING_TEXT)
            return True
        return False

    def cancel_bars(self, session: Session, request: rq.CancelHistoricalData) -> None:
        """Stop keeping bars up to date."""
        live = self._live.pop((session.session, request.req_id), None)
        if live is None:
            text = f"No historical data query found for ticker id:{request.req_id}"
            self._floor.error(session.session, request.req_id, 366, text)
        else:
            self._service_error(session, request.req_id, f"API historical data query cancelled: {request.req_id}")

    def head_timestamp(self, session: Session, request: rq.ReqHeadTimestamp) -> None:
        """Answer since when there is data."""
        instrument = self._instrument(session, request.req_id, request.contract)
        if instrument is None:
            return
        at_ns = head_ns(instrument)
        text = str(at_ns // NS_PER_S) if request.format_date == 2 else f"{local(at_ns, 'UTC'):%Y%m%d-%H:%M:%S}"
        self._floor.send(session.session, rs.HeadTimestamp(request.req_id, text))

    def histogram(self, session: Session, request: rq.ReqHistogramData) -> None:
        """Answer how much traded at which price during a period."""
        instrument = self._instrument(session, request.req_id, request.contract)
        if instrument is None:
            return
        what = "TRADES" if has_kind(instrument, "TRADES") else "MIDPOINT"
        try:
            duration_s = parse_period(request.period)
            bar_s = next(each for each in (60, 900, 3600, DAY_S) if duration_s // each <= MAX_HISTOGRAM_BARS)
            bars = self._history.bars(
                instrument, end_ns=self._floor.now_ns, duration_s=duration_s, bar_s=bar_s, what=what,
                use_rth=request.use_rth,
            )  # fmt: skip
        except (ValueError, StopIteration) as e:
            self._invalid(session, request.req_id, str(e) or f"Invalid histogram period {request.period!r}")
            return
        volumes: dict[float, float] = {}
        for bar in bars:
            volumes[bar.close] = volumes.get(bar.close, 0.0) + max(1.0, bar.volume)
        rows = tuple(rs.HistogramEntry(price, volume) for price, volume in sorted(volumes.items()))
        self._floor.send(session.session, rs.HistogramData(request.req_id, rows))

    def ticks(self, session: Session, request: rq.ReqHistoricalTicks) -> None:
        """Answer historical ticks, one a second, from the price path."""
        instrument = self._instrument(session, request.req_id, request.contract)
        if instrument is None:
            return
        if instrument.legs:
            self._service_error(session, request.req_id, f"No historical ticks for {instrument.symbol} BAG")
            return
        if not 0 < request.number_of_ticks <= MAX_TICKS:
            self._invalid(session, request.req_id, f"Number of ticks must be 1 to {MAX_TICKS}")
            return
        try:
            start_ns = parse_tws_time(request.start, instrument.time_zone)
            end_ns = parse_tws_time(request.end, instrument.time_zone)
        except ValueError as e:
            self._invalid(session, request.req_id, str(e))
            return
        count = request.number_of_ticks
        first_s = (start_ns or (end_ns or self._floor.now_ns) - count * NS_PER_S) // NS_PER_S
        seconds = [second for second in range(first_s, first_s + count) if second * NS_PER_S <= self._floor.now_ns]
        self._send_ticks(session, request, instrument, seconds)

    def past_ticks(self, session: Session, request: rq.ReqTickByTick) -> None:
        """Send the last ticks before a tick-by-tick stream that asks for them."""
        kinds = {"BidAsk": "BID_ASK", "MidPoint": "MIDPOINT"}
        count = min(request.number_of_ticks, MAX_TICKS)
        what = kinds.get(request.tick_type, "TRADES")
        past = rq.ReqHistoricalTicks(request.req_id, request.contract, number_of_ticks=count, what_to_show=what)
        self.ticks(session, past)

    def _send_ticks(
        self, session: Session, request: rq.ReqHistoricalTicks, instrument: Instrument, seconds: list[int]
    ) -> None:
        quotes = [(second, self._quote_at(instrument, second)) for second in seconds]
        req_id, what = request.req_id, request.what_to_show.upper()
        answer: rs.Response
        if what == "BID_ASK":
            both = [rs.HistoricalTickBidAsk(s, 0, q.bid, q.ask, q.bid_size, q.ask_size) for s, q in quotes]
            answer = rs.HistoricalTicksBidAsk(req_id, tuple(both))
        elif what == "TRADES":
            last = [rs.HistoricalTickLast(s, 0, q.bid, q.bid_size, "ARCA", "") for s, q in quotes]
            answer = rs.HistoricalTicksLast(req_id, tuple(last))
        else:
            mids = [rs.HistoricalTick(s, 0, round((q.bid + q.ask) / 2, 6), 0) for s, q in quotes]
            answer = rs.HistoricalTicks(req_id, tuple(mids))
        self._floor.send(session.session, answer)

    def _quote_at(self, instrument: Instrument, second: int) -> Quote:
        start_ns = second * NS_PER_S
        mid = self._history.bar(instrument, start_ns, 1, start_ns + NS_PER_S, "MIDPOINT").open
        return quote_around(instrument, mid, Chance(instrument.con_id ^ second), start_ns)

    def cancel_nothing(self, session: Session, request: rq.Request) -> None:
        """Take the cancel of a request that was answered at once."""

    def forget(self, session: int) -> None:
        """Drop a session's live bars."""
        for key in [key for key in self._live if key[0] == session]:
            del self._live[key]

    # -------------------------------------------------------------------------------------------- live bars
    def _keep(self, live: LiveBars) -> None:
        self._live[(live.session, live.req_id)] = live
        self._floor.watch(live.instrument)
        if not self._is_ticking:
            self._is_ticking = True
            self._floor.later(NS_PER_S, self._update)

    def _update(self) -> None:
        if not self._live:
            self._is_ticking = False
            return
        self._floor.later(NS_PER_S, self._update)
        now_ns = self._floor.now_ns
        for live in self._live.values():
            period_ns = live.bar_s * NS_PER_S
            start_ns = now_ns // period_ns * period_ns
            if live.bar_s >= DAY_S:
                moment = local(now_ns, live.instrument.time_zone)
                start_ns = int(moment.replace(hour=0, minute=0, second=0).timestamp()) * NS_PER_S
            if start_ns >= now_ns:
                continue
            bar = self._history.bar(live.instrument, start_ns, live.bar_s, now_ns, live.what)
            if bar == live.last_sent:
                continue
            live.last_sent = bar
            row = self._row(live.instrument, bar, live.bar_s, live.format_date)
            self._floor.send(
                live.session,
                rs.HistoricalDataUpdate(
                    live.req_id, row.count, row.date, row.open, row.close, row.high, row.low, row.wap, row.volume
                ),
            )

    # -------------------------------------------------------------------------------------------- parts
    def _row(self, instrument: Instrument, bar: Bar, bar_s: int, format_date: int) -> rs.HistoricalBar:
        if bar_s >= DAY_S:
            date = f"{local(bar.start_ns, instrument.time_zone):%Y%m%d}"
        elif format_date == 2:
            date = str(bar.start_ns // NS_PER_S)
        else:
            date = zoned_text(bar.start_ns, instrument.time_zone)
        return rs.HistoricalBar(date, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.wap, bar.count)

    def _schedule(self, session: Session, request: rq.ReqHistoricalData, instrument: Instrument) -> None:
        try:
            end_ns = parse_tws_time(request.end, instrument.time_zone) or self._floor.now_ns
            days = max(1, parse_duration(request.duration) // DAY_S)
        except ValueError as e:
            self._service_error(session, request.req_id, str(e))
            return
        rows = []
        for back in range(min(days, MAX_SCHEDULE_DAYS) - 1, -1, -1):
            day = local(end_ns - back * DAY_S * NS_PER_S, instrument.time_zone)
            for opens, closes in self._hours.of_day(instrument, day):
                rows.append(rs.ScheduleSession(opens, closes, f"{day:%Y%m%d}"))
        start = rows[0].start if rows else ""
        end = rows[-1].end if rows else ""
        message = rs.HistoricalSchedule(request.req_id, start, end, instrument.time_zone, tuple(rows))
        self._floor.send(session.session, message)

    def _instrument(self, session: Session, req_id: int, contract: TwsContract) -> Instrument | None:
        found = self._floor.universe.resolve(contract)
        if isinstance(found, NotFound):
            self._floor.error(session.session, req_id, 200, found.text)
            return None
        return found.instrument

    def _service_error(self, session: Session, req_id: int, text: str) -> None:
        self._floor.error(session.session, req_id, 162, PREFIX + text)

    def _invalid(self, session: Session, req_id: int, text: str) -> None:
        self._floor.error(session.session, req_id, 321, f"Error validating request.-'bP' : cause - {text}")
