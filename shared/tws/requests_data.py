"""Describe the requests about market data, history, contracts, news and the scanner.

The classes carry IB's names. Fields that a server version does not have keep their defaults.

Source: ib-facts B.7; ib_insync 0.9.86 client.py, ibapi 10.51 client.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from shared.tws import versions
from shared.tws.contract import C12, C_FUNDAMENTAL, LEGS4, OPTIONAL_DELTA_NEUTRAL, Contract12, TwsContract
from shared.tws.fields import (
    BOOL,
    INT,
    TAG_STRING,
    TEXT,
    Bool,
    Gate,
    Int,
    OptBool,
    OptDecimal,
    OptInt,
    Reader,
    TagString,
    TagValue,
    Text,
    TrailingOptions,
    Writer,
)
from shared.tws.layout import REQUESTS, Request, message


# ------------------------------------------------------------------------------------------------ quotes
@message(REQUESTS, 1, version=11)
@dataclass(frozen=True, slots=True)
class ReqMktData(Request):
    """Subscribe to a contract's quotes, or ask for one snapshot."""

    req_id: int
    contract: TwsContract
    generic_ticks: str = ""
    snapshot: bool = False
    regulatory_snapshot: bool = False
    options: tuple[TagValue, ...] = ()

    def write_fields(self, out: Writer) -> None:
        """Append the fields; legs only for combinations."""
        INT.write(out, self.req_id)
        C12.write(out, self.contract)
        if self.contract.sec_type == "BAG":
            LEGS4.write(out, self.contract.combo_legs)
        OPTIONAL_DELTA_NEUTRAL.write(out, self.contract.delta_neutral)
        TEXT.write(out, self.generic_ticks)
        BOOL.write(out, self.snapshot)
        BOOL.write(out, self.regulatory_snapshot)
        TAG_STRING.write(out, self.options)

    @classmethod
    def read_fields(cls, src: Reader) -> ReqMktData:
        """Take the fields."""
        req_id = INT.read(src)
        contract = C12.read(src)
        legs = LEGS4.read(src) if contract.sec_type == "BAG" else ()
        contract = replace(contract, combo_legs=legs, delta_neutral=OPTIONAL_DELTA_NEUTRAL.read(src))
        return cls(req_id, contract, TEXT.read(src), BOOL.read(src), BOOL.read(src), TAG_STRING.read(src))


@message(REQUESTS, 2, version=2)
@dataclass(frozen=True, slots=True)
class CancelMktData(Request):
    """Leave a contract's quotes."""

    req_id: Int


@message(REQUESTS, 59, version=1)
@dataclass(frozen=True, slots=True)
class ReqMarketDataType(Request):
    """Allow a fallback: 1 live, 2 frozen, 3 delayed, 4 delayed and frozen."""

    market_data_type: Int


@message(REQUESTS, 10, version=5)
@dataclass(frozen=True, slots=True)
class ReqMktDepth(Request):
    """Subscribe to a contract's order book."""

    req_id: Int
    contract: Contract12
    num_rows: Int = 5
    is_smart_depth: Bool = False
    options: TagString = ()


@message(REQUESTS, 11, version=1)
@dataclass(frozen=True, slots=True)
class CancelMktDepth(Request):
    """Leave an order book."""

    req_id: Int
    is_smart_depth: Bool = False


@message(REQUESTS, 97)
@dataclass(frozen=True, slots=True)
class ReqTickByTick(Request):
    """Subscribe to every tick: Last, AllLast, BidAsk or MidPoint."""

    req_id: Int
    contract: Contract12
    tick_type: Text = "Last"
    number_of_ticks: Int = 0
    ignore_size: Bool = False


@message(REQUESTS, 98)
@dataclass(frozen=True, slots=True)
class CancelTickByTick(Request):
    """Leave a contract's ticks."""

    req_id: Int


@message(REQUESTS, 50, version=3)
@dataclass(frozen=True, slots=True)
class ReqRealTimeBars(Request):
    """Subscribe to bars of five seconds."""

    req_id: Int
    contract: Contract12
    bar_size: Int = 5
    what_to_show: Text = "TRADES"
    use_rth: Bool = False
    options: TagString = ()


@message(REQUESTS, 51, version=1)
@dataclass(frozen=True, slots=True)
class CancelRealTimeBars(Request):
    """Leave a contract's bars."""

    req_id: Int


@message(REQUESTS, 82)
@dataclass(frozen=True, slots=True)
class ReqMktDepthExchanges(Request):
    """Ask which exchanges show depth."""


@message(REQUESTS, 83)
@dataclass(frozen=True, slots=True)
class ReqSmartComponents(Request):
    """Ask what the letters of a bboExchange mean."""

    req_id: Int
    bbo_exchange: Text


# ------------------------------------------------------------------------------------------------ contracts
@message(REQUESTS, 9, version=8)
@dataclass(frozen=True, slots=True)
class ReqContractDetails(Request):
    """Ask for every contract that matches a description; its sec_id_type, sec_id and issuer_id count too."""

    req_id: int
    contract: TwsContract
    include_expired: bool = False

    def write_fields(self, out: Writer) -> None:
        """Append the fields."""
        INT.write(out, self.req_id)
        C12.write(out, self.contract)
        BOOL.write(out, self.include_expired)
        TEXT.write(out, self.contract.sec_id_type)
        TEXT.write(out, self.contract.sec_id)
        if out.version >= versions.BOND_ISSUER_ID:
            TEXT.write(out, self.contract.issuer_id)

    @classmethod
    def read_fields(cls, src: Reader) -> ReqContractDetails:
        """Take the fields."""
        req_id = INT.read(src)
        contract = C12.read(src)
        include_expired = BOOL.read(src)
        contract = replace(contract, sec_id_type=TEXT.read(src), sec_id=TEXT.read(src))
        if src.version >= versions.BOND_ISSUER_ID:
            contract = replace(contract, issuer_id=TEXT.read(src))
        return cls(req_id, contract, include_expired)


@message(REQUESTS, 78)
@dataclass(frozen=True, slots=True)
class ReqSecDefOptParams(Request):
    """Ask for the expirations and strikes of an underlying's options."""

    req_id: Int
    symbol: Text = ""
    fut_fop_exchange: Text = ""
    sec_type: Text = ""
    con_id: Int = 0


@message(REQUESTS, 81)
@dataclass(frozen=True, slots=True)
class ReqMatchingSymbols(Request):
    """Search contracts by the beginning of a symbol or name."""

    req_id: Int
    pattern: Text


@message(REQUESTS, 91)
@dataclass(frozen=True, slots=True)
class ReqMarketRule(Request):
    """Ask for a table of price increments."""

    rule_id: Int


@message(REQUESTS, 54, version=3)
@dataclass(frozen=True, slots=True)
class CalculateImpliedVolatility(Request):
    """Ask for an option's implied volatility at given prices."""

    req_id: Int
    contract: Contract12
    option_price: OptDecimal = None
    under_price: OptDecimal = None
    options: TrailingOptions = ()


@message(REQUESTS, 55, version=3)
@dataclass(frozen=True, slots=True)
class CalculateOptionPrice(Request):
    """Ask for an option's price at a given volatility."""

    req_id: Int
    contract: Contract12
    volatility: OptDecimal = None
    under_price: OptDecimal = None
    options: TrailingOptions = ()


@message(REQUESTS, 56, version=1)
@dataclass(frozen=True, slots=True)
class CancelCalculateImpliedVolatility(Request):
    """Leave a calculation."""

    req_id: Int


@message(REQUESTS, 57, version=1)
@dataclass(frozen=True, slots=True)
class CancelCalculateOptionPrice(Request):
    """Leave a calculation."""

    req_id: Int


@message(REQUESTS, 67, version=1)
@dataclass(frozen=True, slots=True)
class QueryDisplayGroups(Request):
    """Ask for TWS' display groups."""

    req_id: Int


@message(REQUESTS, 68, version=1)
@dataclass(frozen=True, slots=True)
class SubscribeToGroupEvents(Request):
    """Follow a display group."""

    req_id: Int
    group_id: Int


@message(REQUESTS, 69, version=1)
@dataclass(frozen=True, slots=True)
class UpdateDisplayGroup(Request):
    """Change a display group's contract."""

    req_id: Int
    contract_info: Text


@message(REQUESTS, 70, version=1)
@dataclass(frozen=True, slots=True)
class UnsubscribeFromGroupEvents(Request):
    """Leave a display group."""

    req_id: Int


# ------------------------------------------------------------------------------------------------ history
@message(REQUESTS, 20)
@dataclass(frozen=True, slots=True)
class ReqHistoricalData(Request):
    """Ask for bars up to `end` (empty: now), and for their updates if `keep_up_to_date`."""

    req_id: int
    contract: TwsContract
    include_expired: bool = False
    end: str = ""
    bar_size: str = "1 min"
    duration: str = "1 D"
    use_rth: bool = False
    what_to_show: str = "TRADES"
    format_date: int = 1
    keep_up_to_date: bool = False
    options: tuple[TagValue, ...] = ()

    def write_fields(self, out: Writer) -> None:
        """Append the fields; legs only for combinations."""
        INT.write(out, self.req_id)
        C12.write(out, self.contract)
        BOOL.write(out, self.include_expired)
        TEXT.write(out, self.end)
        TEXT.write(out, self.bar_size)
        TEXT.write(out, self.duration)
        BOOL.write(out, self.use_rth)
        TEXT.write(out, self.what_to_show)
        INT.write(out, self.format_date)
        if self.contract.sec_type == "BAG":
            LEGS4.write(out, self.contract.combo_legs)
        BOOL.write(out, self.keep_up_to_date)
        TAG_STRING.write(out, self.options)

    @classmethod
    def read_fields(cls, src: Reader) -> ReqHistoricalData:
        """Take the fields."""
        req_id = INT.read(src)
        contract = C12.read(src)
        include_expired = BOOL.read(src)
        end, bar_size, duration = TEXT.read(src), TEXT.read(src), TEXT.read(src)
        use_rth, what_to_show, format_date = BOOL.read(src), TEXT.read(src), INT.read(src)
        if contract.sec_type == "BAG":
            contract = replace(contract, combo_legs=LEGS4.read(src))
        return cls(
            req_id, contract, include_expired, end, bar_size, duration, use_rth, what_to_show, format_date,
            BOOL.read(src), TAG_STRING.read(src),
        )  # fmt: skip


@message(REQUESTS, 25, version=1)
@dataclass(frozen=True, slots=True)
class CancelHistoricalData(Request):
    """Leave a request for bars."""

    req_id: Int


@message(REQUESTS, 87)
@dataclass(frozen=True, slots=True)
class ReqHeadTimestamp(Request):
    """Ask for the earliest time of a contract's data."""

    req_id: Int
    contract: Contract12
    include_expired: Bool = False
    use_rth: Bool = False
    what_to_show: Text = "TRADES"
    format_date: Int = 1


@message(REQUESTS, 90)
@dataclass(frozen=True, slots=True)
class CancelHeadTimestamp(Request):
    """Leave a request for the earliest time."""

    req_id: Int


@message(REQUESTS, 88)
@dataclass(frozen=True, slots=True)
class ReqHistogramData(Request):
    """Ask for volume by price."""

    req_id: Int
    contract: Contract12
    include_expired: Bool = False
    use_rth: Bool = False
    period: Text = ""


@message(REQUESTS, 89)
@dataclass(frozen=True, slots=True)
class CancelHistogramData(Request):
    """Leave a request for volume by price."""

    req_id: Int


@message(REQUESTS, 96)
@dataclass(frozen=True, slots=True)
class ReqHistoricalTicks(Request):
    """Ask for up to 1,000 past ticks: TRADES, BID_ASK or MIDPOINT."""

    req_id: Int
    contract: Contract12
    include_expired: Bool = False
    start: Text = ""
    end: Text = ""
    number_of_ticks: Int = 0
    what_to_show: Text = "TRADES"
    use_rth: Int = 0
    ignore_size: Bool = False
    options: TagString = ()


@message(REQUESTS, 52, version=2)
@dataclass(frozen=True, slots=True)
class ReqFundamentalData(Request):
    """Ask for a report (IB has removed the feature in 10.47)."""

    req_id: Int
    contract: Annotated[TwsContract, C_FUNDAMENTAL]
    report_type: Text = ""
    options: TrailingOptions = ()


@message(REQUESTS, 53, version=1)
@dataclass(frozen=True, slots=True)
class CancelFundamentalData(Request):
    """Leave a report."""

    req_id: Int


# ------------------------------------------------------------------------------------------------ scanner, news
@message(REQUESTS, 22)
@dataclass(frozen=True, slots=True)
class ReqScannerSubscription(Request):
    """Subscribe to a market scan."""

    req_id: Int
    number_of_rows: OptInt = None
    instrument: Text = ""
    location_code: Text = ""
    scan_code: Text = ""
    above_price: OptDecimal = None
    below_price: OptDecimal = None
    above_volume: OptInt = None
    market_cap_above: OptDecimal = None
    market_cap_below: OptDecimal = None
    moody_rating_above: Text = ""
    moody_rating_below: Text = ""
    sp_rating_above: Text = ""
    sp_rating_below: Text = ""
    maturity_date_above: Text = ""
    maturity_date_below: Text = ""
    coupon_rate_above: OptDecimal = None
    coupon_rate_below: OptDecimal = None
    exclude_convertible: OptBool = None
    average_option_volume_above: OptInt = None
    scanner_setting_pairs: Text = ""
    stock_type_filter: Text = ""
    filter_options: TagString = ()
    options: TagString = ()


@message(REQUESTS, 23, version=1)
@dataclass(frozen=True, slots=True)
class CancelScannerSubscription(Request):
    """Leave a market scan."""

    req_id: Int


@message(REQUESTS, 24, version=1)
@dataclass(frozen=True, slots=True)
class ReqScannerParameters(Request):
    """Ask for what scans there are, as XML."""


@message(REQUESTS, 12, version=1)
@dataclass(frozen=True, slots=True)
class ReqNewsBulletins(Request):
    """Subscribe to bulletins; `all_messages` includes today's earlier ones."""

    all_messages: Bool


@message(REQUESTS, 13, version=1)
@dataclass(frozen=True, slots=True)
class CancelNewsBulletins(Request):
    """Leave the bulletins."""


@message(REQUESTS, 84)
@dataclass(frozen=True, slots=True)
class ReqNewsArticle(Request):
    """Ask for an article."""

    req_id: Int
    provider: Text = ""
    article_id: Text = ""
    options: TagString = ()


@message(REQUESTS, 85)
@dataclass(frozen=True, slots=True)
class ReqNewsProviders(Request):
    """Ask for the news providers."""


@message(REQUESTS, 86)
@dataclass(frozen=True, slots=True)
class ReqHistoricalNews(Request):
    """Ask for past headlines."""

    req_id: Int
    con_id: Int = 0
    providers: Text = ""
    start: Text = ""
    end: Text = ""
    total_results: Int = 10
    options: TagString = ()


@message(REQUESTS, 100, since=versions.WSH_CALENDAR)
@dataclass(frozen=True, slots=True)
class ReqWshMetaData(Request):
    """Ask for the corporate calendar's description."""

    req_id: Int


@message(REQUESTS, 101, since=versions.WSH_CALENDAR)
@dataclass(frozen=True, slots=True)
class CancelWshMetaData(Request):
    """Leave the calendar's description."""

    req_id: Int


@message(REQUESTS, 102, since=versions.WSH_CALENDAR)
@dataclass(frozen=True, slots=True)
class ReqWshEventData(Request):
    """Ask for corporate events."""

    req_id: Int
    con_id: OptInt = None
    filter: Annotated[str, TEXT, Gate(versions.WSH_EVENT_DATA_FILTERS)] = ""
    fill_watchlist: Annotated[bool, BOOL, Gate(versions.WSH_EVENT_DATA_FILTERS)] = False
    fill_portfolio: Annotated[bool, BOOL, Gate(versions.WSH_EVENT_DATA_FILTERS)] = False
    fill_competitors: Annotated[bool, BOOL, Gate(versions.WSH_EVENT_DATA_FILTERS)] = False
    start_date: Annotated[str, TEXT, Gate(versions.WSH_EVENT_DATA_FILTERS_DATE)] = ""
    end_date: Annotated[str, TEXT, Gate(versions.WSH_EVENT_DATA_FILTERS_DATE)] = ""
    total_limit: Annotated[OptInt, Gate(versions.WSH_EVENT_DATA_FILTERS_DATE)] = None


@message(REQUESTS, 103, since=versions.WSH_CALENDAR)
@dataclass(frozen=True, slots=True)
class CancelWshEventData(Request):
    """Leave corporate events."""

    req_id: Int
