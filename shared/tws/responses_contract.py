"""Describe the responses about contracts: details, option chains, symbol search, price increments.

Source: ib-facts B.4 (163, 164, 176), B.5; ib_insync 0.9.86 and ibapi 10.51 decoder.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from shared.tws import versions
from shared.tws.contract import TwsContract
from shared.tws.fields import (
    BOOL,
    DECIMAL,
    FLOAT,
    INT,
    OPT_DECIMAL,
    SIZE,
    TEXT,
    Bool,
    Float,
    Gate,
    Int,
    Many,
    Reader,
    Size,
    TagValue,
    Text,
    Wire,
    Writer,
)
from shared.tws.layout import RESPONSES, Record, Response, message
from shared.tws.order_sections import TAG_VALUES
from shared.tws.order_walk import ReadWalk, Walk, Wires, WriteWalk
from shared.tws.place_order import CONTRACT_WIRES


@dataclass(frozen=True, slots=True)
class FundDetails:
    """What contract details of a fund (secType FUND) have in addition, from 179."""

    name: Text = ""
    family: Text = ""
    fund_type: Text = ""
    front_load: Text = ""
    back_load: Text = ""
    back_load_time_interval: Text = ""
    management_fee: Text = ""
    is_closed: Bool = False
    is_closed_for_new_investors: Bool = False
    is_closed_for_new_money: Bool = False
    notify_amount: Text = ""
    minimum_initial_purchase: Text = ""
    subsequent_minimum_purchase: Text = ""
    blue_sky_states: Text = ""
    blue_sky_territories: Text = ""
    distribution_policy: Text = ""
    """N accumulation, Y income."""
    asset_type: Text = ""


@dataclass(frozen=True, slots=True)
class IneligibilityReason:
    """Why this login may not trade the contract, from 186."""

    reason_id: Text = ""
    description: Text = ""


@message(RESPONSES, 10)
@dataclass(frozen=True, slots=True)
class ContractDetails(Response):
    """Everything about one contract.

    `last_trade_date_and_time` is yyyymmdd, with the time and zone after a blank where there is one; it goes out in the
    contract's place. Hours are "yyyymmdd:hhmm-yyyymmdd:hhmm;..." or "yyyymmdd:CLOSED" in `time_zone_id`.
    `market_rule_ids` are in the order of `valid_exchanges`, both comma separated.
    """

    req_id: int
    contract: TwsContract
    last_trade_date_and_time: str = ""
    market_name: str = ""
    min_tick: float = 0.01
    order_types: str = ""
    valid_exchanges: str = ""
    price_magnifier: int = 1
    under_con_id: int = 0
    long_name: str = ""
    contract_month: str = ""
    industry: str = ""
    category: str = ""
    subcategory: str = ""
    time_zone_id: str = ""
    trading_hours: str = ""
    liquid_hours: str = ""
    ev_rule: str = ""
    ev_multiplier: Decimal | None = None
    sec_id_list: tuple[TagValue, ...] = ()
    agg_group: int = 1
    under_symbol: str = ""
    under_sec_type: str = ""
    market_rule_ids: str = ""
    real_expiration_date: str = ""
    stock_type: str = ""
    min_size: Decimal = Decimal(1)
    size_increment: Decimal = Decimal(1)
    suggested_size_increment: Decimal = Decimal(100)
    last_trade_date: str = ""
    """The date alone, from 182."""
    fund: FundDetails = FundDetails()
    ineligibility_reasons: tuple[IneligibilityReason, ...] = ()

    def write_fields(self, out: Writer) -> None:
        """Append the fields."""
        _details_layout(WriteWalk(out, self, _WIRES), WriteWalk(out, self.contract, CONTRACT_WIRES))

    @classmethod
    def read_fields(cls, src: Reader) -> ContractDetails:
        """Take the fields."""
        details, contract = ReadWalk(src, _WIRES), ReadWalk(src, CONTRACT_WIRES)
        _details_layout(details, contract)
        return cls(contract=_contract(details, contract), **details.values)


@message(RESPONSES, 18)
@dataclass(frozen=True, slots=True)
class BondContractDetails(Response):
    """Everything about one bond; `maturity` may be followed by time and zone after blanks."""

    req_id: int
    contract: TwsContract
    cusip: str = ""
    coupon: float = 0.0
    maturity: str = ""
    issue_date: str = ""
    ratings: str = ""
    bond_type: str = ""
    coupon_type: str = ""
    convertible: bool = False
    callable: bool = False
    putable: bool = False
    description_append: str = ""
    market_name: str = ""
    min_tick: float = 0.01
    order_types: str = ""
    valid_exchanges: str = ""
    next_option_date: str = ""
    next_option_type: str = ""
    next_option_partial: bool = False
    notes: str = ""
    long_name: str = ""
    ev_rule: str = ""
    ev_multiplier: Decimal | None = None
    sec_id_list: tuple[TagValue, ...] = ()
    agg_group: int = 1
    market_rule_ids: str = ""
    min_size: Decimal = Decimal(1)
    size_increment: Decimal = Decimal(1)
    suggested_size_increment: Decimal = Decimal(100)
    time_zone_id: str = ""
    trading_hours: str = ""
    liquid_hours: str = ""

    def write_fields(self, out: Writer) -> None:
        """Append the fields."""
        _bond_layout(WriteWalk(out, self, _WIRES), WriteWalk(out, self.contract, CONTRACT_WIRES))

    @classmethod
    def read_fields(cls, src: Reader) -> BondContractDetails:
        """Take the fields."""
        details, contract = ReadWalk(src, _WIRES), ReadWalk(src, CONTRACT_WIRES)
        _bond_layout(details, contract)
        return cls(contract=_contract(details, contract), **details.values)


_KINDS: dict[str, Wire[Any]] = {
    "str": TEXT,
    "int": INT,
    "bool": BOOL,
    "float": FLOAT,
    "Decimal": DECIMAL,
    "Decimal | None": OPT_DECIMAL,
    "tuple[TagValue, ...]": TAG_VALUES,
    "FundDetails": Record(FundDetails),
    "tuple[IneligibilityReason, ...]": Many(Record(IneligibilityReason)),
}
_WIRES = Wires(
    {
        name: _KINDS[kind]
        for cls in (ContractDetails, BondContractDetails)
        for name, kind in cls.__annotations__.items()
        if kind in _KINDS
    }
    | {"coupon": SIZE}
)


def _contract(details: ReadWalk, contract: ReadWalk) -> TwsContract:
    return TwsContract(last_trade_date=details.values.get("last_trade_date_and_time", "")[:8], **contract.values)


def _head(details: Walk) -> None:
    if details.version < versions.SIZE_RULES:
        details.filler("8")
    details.field("req_id")


def _sizes(details: Walk) -> None:
    if details.version >= versions.SIZE_RULES:
        details.fields("min_size", "size_increment", "suggested_size_increment")


def _details_layout(details: Walk, contract: Walk) -> None:
    _head(details)
    contract.field("symbol")
    is_fund = contract.field("sec_type") == "FUND"
    details.field("last_trade_date_and_time")
    if details.version >= versions.LAST_TRADE_DATE:
        details.field("last_trade_date")
    contract.fields("strike", "right", "exchange", "currency", "local_symbol")
    details.field("market_name")
    contract.fields("trading_class", "con_id")
    details.field("min_tick")
    if details.version < versions.SIZE_RULES:
        details.filler("100")  # mdSizeMultiplier, obsolete
    contract.field("multiplier")
    details.fields("order_types", "valid_exchanges", "price_magnifier", "under_con_id", "long_name")
    contract.field("primary_exchange")
    details.fields("contract_month", "industry", "category", "subcategory", "time_zone_id", "trading_hours")
    details.fields("liquid_hours", "ev_rule", "ev_multiplier", "sec_id_list", "agg_group", "under_symbol")
    details.fields("under_sec_type", "market_rule_ids", "real_expiration_date", "stock_type")
    if details.version == versions.FRACTIONAL_SIZE_SUPPORT:
        details.field("suggested_size_increment")
    _sizes(details)
    if is_fund and details.version >= versions.FUND_DATA_FIELDS:
        details.field("fund")
    if details.version >= versions.INELIGIBILITY_REASONS:
        details.field("ineligibility_reasons")


def _bond_layout(details: Walk, contract: Walk) -> None:
    _head(details)
    contract.fields("symbol", "sec_type")
    details.fields("cusip", "coupon", "maturity", "issue_date", "ratings", "bond_type", "coupon_type", "convertible")
    details.fields("callable", "putable", "description_append")
    contract.fields("exchange", "currency")
    details.field("market_name")
    contract.fields("trading_class", "con_id")
    details.field("min_tick")
    if details.version < versions.SIZE_RULES:
        details.filler("100")  # mdSizeMultiplier, obsolete
    details.fields("order_types", "valid_exchanges", "next_option_date", "next_option_type", "next_option_partial")
    details.fields("notes", "long_name")
    if details.version >= versions.BOND_TRADING_HOURS:
        details.fields("time_zone_id", "trading_hours", "liquid_hours")
    details.fields("ev_rule", "ev_multiplier", "sec_id_list", "agg_group", "market_rule_ids")
    _sizes(details)


@message(RESPONSES, 52, version=1)
@dataclass(frozen=True, slots=True)
class ContractDetailsEnd(Response):
    """All matching contracts were sent."""

    req_id: Int


@message(RESPONSES, 56, version=1)
@dataclass(frozen=True, slots=True)
class DeltaNeutralValidation(Response):
    """The underlying that a delta-neutral combination will use."""

    req_id: Int
    con_id: Int
    delta: Size
    price: Size


@message(RESPONSES, 75)
@dataclass(frozen=True, slots=True)
class SecDefOptParams(Response):
    """The expirations and strikes of one trading class on one exchange."""

    req_id: Int
    exchange: Text
    under_con_id: Int
    trading_class: Text
    multiplier: Text
    expirations: Annotated[tuple[str, ...], Many(TEXT)]
    strikes: Annotated[tuple[float, ...], Many(FLOAT)]


@message(RESPONSES, 76)
@dataclass(frozen=True, slots=True)
class SecDefOptParamsEnd(Response):
    """All option parameters were sent."""

    req_id: Int


@dataclass(frozen=True, slots=True)
class SymbolSample:
    """One contract found by its symbol or name."""

    con_id: Int
    symbol: Text
    sec_type: Text
    primary_exchange: Text
    currency: Text
    derivative_sec_types: Annotated[tuple[str, ...], Many(TEXT)] = ()
    description: Annotated[str, TEXT, Gate(versions.BOND_ISSUER_ID)] = ""
    issuer_id: Annotated[str, TEXT, Gate(versions.BOND_ISSUER_ID)] = ""


@message(RESPONSES, 79)
@dataclass(frozen=True, slots=True)
class SymbolSamples(Response):
    """The contracts found by a search."""

    req_id: Int
    samples: Annotated[tuple[SymbolSample, ...], Many(Record(SymbolSample))]


@dataclass(frozen=True, slots=True)
class PriceIncrement:
    """From `low_edge` up, prices move by `increment`."""

    low_edge: Float
    increment: Float


@message(RESPONSES, 93)
@dataclass(frozen=True, slots=True)
class MarketRule(Response):
    """A table of price increments."""

    rule_id: Int
    increments: Annotated[tuple[PriceIncrement, ...], Many(Record(PriceIncrement))]
