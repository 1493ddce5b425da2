"""Describe the responses that carry quotes, bars, depth, history, news and scans.

Sizes are float64 and printed without `.0`; prices are float64 and printed with their point. A price of -1 with size 0
means "no quote", an implied volatility or price of -1 and a greek of -2 "not computed".

Source: ib-facts B.5, E.3; ib_insync 0.9.86 and ibapi 10.51 decoder.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from shared.errors import DecodeError
from shared.tws import versions
from shared.tws.contract import C_SCANNER, TwsContract
from shared.tws.fields import (
    INT,
    TEXT,
    Bool,
    Float,
    Gate,
    Int,
    Many,
    Reader,
    Shares,
    Text,
    Wire,
    Writer,
)
from shared.tws.layout import RESPONSES, Record, Response, message


# ------------------------------------------------------------------------------------------------ ticks
@message(RESPONSES, 1, version=6)
@dataclass(frozen=True, slots=True)
class TickPrice(Response):
    """A price and its size. attr_mask: bit 0 can auto execute, 1 past limit, 2 pre-open."""

    req_id: Int
    tick_type: Int
    price: Float
    size: Shares = 0.0
    attr_mask: Int = 0


@message(RESPONSES, 2, version=6)
@dataclass(frozen=True, slots=True)
class TickSize(Response):
    """A size without its price."""

    req_id: Int
    tick_type: Int
    size: Shares


@message(RESPONSES, 21)
@dataclass(frozen=True, slots=True)
class TickOptionComputation(Response):
    """Greeks of an option."""

    req_id: Int
    tick_type: Int
    tick_attrib: Int = 0
    implied_vol: Float = -1.0
    delta: Float = -2.0
    option_price: Float = -1.0
    pv_dividend: Float = -1.0
    gamma: Float = -2.0
    vega: Float = -2.0
    theta: Float = -2.0
    under_price: Float = -1.0


@message(RESPONSES, 45, version=6)
@dataclass(frozen=True, slots=True)
class TickGeneric(Response):
    """A number, such as halted or shortable."""

    req_id: Int
    tick_type: Int
    value: Float


@message(RESPONSES, 46, version=6)
@dataclass(frozen=True, slots=True)
class TickString(Response):
    """A text, such as the last trade's time in epoch seconds or RTVolume."""

    req_id: Int
    tick_type: Int
    value: Text


@message(RESPONSES, 47, version=6)
@dataclass(frozen=True, slots=True)
class TickEFP(Response):
    """An exchange for physicals."""

    req_id: Int
    tick_type: Int
    basis_points: Float = 0.0
    formatted_basis_points: Text = ""
    implied_future: Float = 0.0
    hold_days: Int = 0
    future_date: Text = ""
    dividend_impact: Float = 0.0
    dividends_to_date: Float = 0.0


@message(RESPONSES, 57, version=1)
@dataclass(frozen=True, slots=True)
class TickSnapshotEnd(Response):
    """A snapshot is complete."""

    req_id: Int


@message(RESPONSES, 58, version=1)
@dataclass(frozen=True, slots=True)
class MarketDataType(Response):
    """What flows for a request: 1 live, 2 frozen, 3 delayed, 4 delayed and frozen."""

    req_id: Int
    market_data_type: Int


@message(RESPONSES, 81)
@dataclass(frozen=True, slots=True)
class TickReqParams(Response):
    """Minimum tick, exchange map and snapshot permissions of a subscription."""

    req_id: Int
    min_tick: Float
    bbo_exchange: Text = ""
    snapshot_permissions: Int = 0


@message(RESPONSES, 84)
@dataclass(frozen=True, slots=True)
class TickNews(Response):
    """A headline; `time_ms` in epoch milliseconds."""

    req_id: Int
    time_ms: Int
    provider: Text = ""
    article_id: Text = ""
    headline: Text = ""
    extra_data: Text = ""


@dataclass(frozen=True, slots=True)
class TickByTickLast:
    """A trade. mask: bit 0 past limit, 1 unreported."""

    price: Float
    size: Shares
    mask: Int = 0
    exchange: Text = ""
    special_conditions: Text = ""


@dataclass(frozen=True, slots=True)
class TickByTickBidAsk:
    """A quote. mask: bit 0 bid past low, 1 ask past high (the other way round than in history)."""

    bid_price: Float
    ask_price: Float
    bid_size: Shares
    ask_size: Shares
    mask: Int = 0


@dataclass(frozen=True, slots=True)
class TickByTickMidPoint:
    """A mid price."""

    mid_point: Float


_TICK_WIRES: dict[int, Wire[Any]] = {
    1: Record(TickByTickLast),
    2: Record(TickByTickLast),
    3: Record(TickByTickBidAsk),
    4: Record(TickByTickMidPoint),
}


@message(RESPONSES, 99)
@dataclass(frozen=True, slots=True)
class TickByTick(Response):
    """One tick of a tick-by-tick subscription. tick_type: 1 Last, 2 AllLast, 3 BidAsk, 4 MidPoint."""

    req_id: int
    tick_type: int
    time: int
    """Epoch seconds."""
    tick: TickByTickLast | TickByTickBidAsk | TickByTickMidPoint

    def write_fields(self, out: Writer) -> None:
        """Append the fields."""
        for number in (self.req_id, self.tick_type, self.time):
            INT.write(out, number)
        _TICK_WIRES[self.tick_type].write(out, self.tick)

    @classmethod
    def read_fields(cls, src: Reader) -> TickByTick:
        """Take the fields."""
        req_id, tick_type, time = INT.read(src), INT.read(src), INT.read(src)
        if tick_type not in _TICK_WIRES:
            raise DecodeError(f"field 2 is {tick_type}, not a type of tick")
        return cls(req_id, tick_type, time, _TICK_WIRES[tick_type].read(src))


@message(RESPONSES, 91)
@dataclass(frozen=True, slots=True)
class RerouteMktData(Response):
    """Ask the client to subscribe to another contract."""

    req_id: Int
    con_id: Int
    exchange: Text


@message(RESPONSES, 92)
@dataclass(frozen=True, slots=True)
class RerouteMktDepth(Response):
    """Ask the client to subscribe to another contract's depth."""

    req_id: Int
    con_id: Int
    exchange: Text


# ------------------------------------------------------------------------------------------------ depth
@message(RESPONSES, 12, version=1)
@dataclass(frozen=True, slots=True)
class MarketDepth(Response):
    """A row of the book. operation: 0 insert, 1 update, 2 delete; side: 0 ask, 1 bid."""

    req_id: Int
    position: Int
    operation: Int
    side: Int
    price: Float
    size: Shares


@message(RESPONSES, 13, version=1)
@dataclass(frozen=True, slots=True)
class MarketDepthL2(Response):
    """A row of the book with its market maker or exchange."""

    req_id: Int
    position: Int
    market_maker: Text
    operation: Int
    side: Int
    price: Float
    size: Shares
    is_smart_depth: Bool = False


@dataclass(frozen=True, slots=True)
class DepthExchange:
    """An exchange that shows depth."""

    exchange: Text
    sec_type: Text
    listing_exchange: Text = ""
    service_data_type: Text = ""
    agg_group: Int = 0


@message(RESPONSES, 80)
@dataclass(frozen=True, slots=True)
class MktDepthExchanges(Response):
    """All exchanges that show depth."""

    exchanges: Annotated[tuple[DepthExchange, ...], Many(Record(DepthExchange))]


@dataclass(frozen=True, slots=True)
class SmartComponent:
    """One letter of a bboExchange."""

    bit_number: Int
    exchange: Text
    letter: Text


@message(RESPONSES, 82)
@dataclass(frozen=True, slots=True)
class SmartComponents(Response):
    """What the letters of a bboExchange mean."""

    req_id: Int
    components: Annotated[tuple[SmartComponent, ...], Many(Record(SmartComponent))]


# ------------------------------------------------------------------------------------------------ bars, history
@dataclass(frozen=True, slots=True)
class HistoricalBar:
    """One bar. `date`: yyyymmdd, "yyyymmdd hh:mm:ss Zone/Name" or epoch seconds, as asked by formatDate."""

    date: Text
    open: Float
    high: Float
    low: Float
    close: Float
    volume: Shares
    wap: Float
    count: Int


@message(RESPONSES, 17)
@dataclass(frozen=True, slots=True)
class HistoricalData(Response):
    """Bars, oldest first, in one message; from 196 without start and end, which follow in `HistoricalDataEnd`."""

    req_id: Int
    start: Annotated[str, TEXT, Gate(until=versions.HISTORICAL_DATA_END)] = ""
    end: Annotated[str, TEXT, Gate(until=versions.HISTORICAL_DATA_END)] = ""
    bars: Annotated[tuple[HistoricalBar, ...], Many(Record(HistoricalBar))] = ()


@message(RESPONSES, 108, since=versions.HISTORICAL_DATA_END)
@dataclass(frozen=True, slots=True)
class HistoricalDataEnd(Response):
    """The bars of a request were sent (from 196)."""

    req_id: Int
    start: Text
    end: Text


@message(RESPONSES, 90)
@dataclass(frozen=True, slots=True)
class HistoricalDataUpdate(Response):
    """The newest bar of a request that is kept up to date; its fields come in another order than in history."""

    req_id: Int
    count: Int
    date: Text
    open: Float
    close: Float
    high: Float
    low: Float
    wap: Float
    volume: Shares


@message(RESPONSES, 50, version=3)
@dataclass(frozen=True, slots=True)
class RealTimeBar(Response):
    """A bar of five seconds; `time` in epoch seconds."""

    req_id: Int
    time: Int
    open: Float
    high: Float
    low: Float
    close: Float
    volume: Shares
    wap: Float
    count: Int


@message(RESPONSES, 88)
@dataclass(frozen=True, slots=True)
class HeadTimestamp(Response):
    """The earliest time of a contract's data."""

    req_id: Int
    timestamp: Text


@dataclass(frozen=True, slots=True)
class HistogramEntry:
    """Volume at a price."""

    price: Float
    count: Shares


@message(RESPONSES, 89)
@dataclass(frozen=True, slots=True)
class HistogramData(Response):
    """Volume by price."""

    req_id: Int
    entries: Annotated[tuple[HistogramEntry, ...], Many(Record(HistogramEntry))]


@dataclass(frozen=True, slots=True)
class HistoricalTick:
    """A past mid price, with an unused field before it; `time` in epoch seconds."""

    time: Int
    unused: Int
    price: Float
    size: Shares


@dataclass(frozen=True, slots=True)
class HistoricalTickBidAsk:
    """A past quote. mask: bit 0 ask past high, 1 bid past low."""

    time: Int
    mask: Int
    bid_price: Float
    ask_price: Float
    bid_size: Shares
    ask_size: Shares


@dataclass(frozen=True, slots=True)
class HistoricalTickLast:
    """A past trade. mask: bit 0 past limit, 1 unreported."""

    time: Int
    mask: Int
    price: Float
    size: Shares
    exchange: Text = ""
    special_conditions: Text = ""


@message(RESPONSES, 96)
@dataclass(frozen=True, slots=True)
class HistoricalTicks(Response):
    """Past mid prices."""

    req_id: Int
    ticks: Annotated[tuple[HistoricalTick, ...], Many(Record(HistoricalTick))]
    done: Bool = True


@message(RESPONSES, 97)
@dataclass(frozen=True, slots=True)
class HistoricalTicksBidAsk(Response):
    """Past quotes."""

    req_id: Int
    ticks: Annotated[tuple[HistoricalTickBidAsk, ...], Many(Record(HistoricalTickBidAsk))]
    done: Bool = True


@message(RESPONSES, 98)
@dataclass(frozen=True, slots=True)
class HistoricalTicksLast(Response):
    """Past trades."""

    req_id: Int
    ticks: Annotated[tuple[HistoricalTickLast, ...], Many(Record(HistoricalTickLast))]
    done: Bool = True


@dataclass(frozen=True, slots=True)
class ScheduleSession:
    """One trading session."""

    start: Text
    end: Text
    ref_date: Text


@message(RESPONSES, 106, since=versions.HISTORICAL_SCHEDULE)
@dataclass(frozen=True, slots=True)
class HistoricalSchedule(Response):
    """A contract's trading sessions."""

    req_id: Int
    start: Text
    end: Text
    time_zone: Text
    sessions: Annotated[tuple[ScheduleSession, ...], Many(Record(ScheduleSession))]


# ------------------------------------------------------------------------------------------------ scanner, news
@message(RESPONSES, 19, version=1)
@dataclass(frozen=True, slots=True)
class ScannerParameters(Response):
    """What scans there are."""

    xml: Text


@dataclass(frozen=True, slots=True)
class ScannerRow:
    """One rank of a scan."""

    rank: Int
    contract: Annotated[TwsContract, C_SCANNER]
    market_name: Text = ""
    trading_class: Text = ""
    distance: Text = ""
    benchmark: Text = ""
    projection: Text = ""
    legs: Text = ""


@message(RESPONSES, 20, version=3)
@dataclass(frozen=True, slots=True)
class ScannerData(Response):
    """A scan's result."""

    req_id: Int
    rows: Annotated[tuple[ScannerRow, ...], Many(Record(ScannerRow))]


@message(RESPONSES, 51, version=1)
@dataclass(frozen=True, slots=True)
class FundamentalData(Response):
    """A report."""

    req_id: Int
    xml: Text


@message(RESPONSES, 14, version=1)
@dataclass(frozen=True, slots=True)
class NewsBulletin(Response):
    """A bulletin of an exchange."""

    message_id: Int
    message_type: Int
    text: Text
    origin_exchange: Text = ""


@message(RESPONSES, 83)
@dataclass(frozen=True, slots=True)
class NewsArticle(Response):
    """An article."""

    req_id: Int
    article_type: Int
    text: Text


@dataclass(frozen=True, slots=True)
class NewsProvider:
    """A source of news."""

    code: Text
    name: Text


@message(RESPONSES, 85)
@dataclass(frozen=True, slots=True)
class NewsProviders(Response):
    """All sources of news."""

    providers: Annotated[tuple[NewsProvider, ...], Many(Record(NewsProvider))]


@message(RESPONSES, 86)
@dataclass(frozen=True, slots=True)
class HistoricalNews(Response):
    """A past headline."""

    req_id: Int
    time: Text
    provider: Text
    article_id: Text
    headline: Text


@message(RESPONSES, 87)
@dataclass(frozen=True, slots=True)
class HistoricalNewsEnd(Response):
    """All headlines were sent."""

    req_id: Int
    has_more: Bool = False


@message(RESPONSES, 104, since=versions.WSH_CALENDAR)
@dataclass(frozen=True, slots=True)
class WshMetaData(Response):
    """The corporate calendar's description."""

    req_id: Int
    json: Text


@message(RESPONSES, 105, since=versions.WSH_CALENDAR)
@dataclass(frozen=True, slots=True)
class WshEventData(Response):
    """Corporate events."""

    req_id: Int
    json: Text
