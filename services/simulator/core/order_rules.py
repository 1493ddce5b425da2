"""Decide whether TWS would take an order, and whether a change of it is one TWS allows.

Each check returns None, or the error code and text that TWS sends.

Source: ib-facts A.4, A.13.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from decimal import Decimal

from services.simulator.core.contracts import Instrument
from services.simulator.core.matching import LIMIT_TYPES, PEGGED_TYPES
from services.simulator.core.times import parse_tws_time
from shared.money import is_on_tick
from shared.tws.order import TwsOrder

Complaint = tuple[int, str]
ORDER_TYPES = frozenset(
    {"MKT", "LMT", "STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "MIT", "LIT", "MOC", "LOC", "REL", "MIDPRICE"}
)
_STOCK_TYPES = frozenset({"MOC", "LOC", "REL", "MIDPRICE"})
BAD_TIME = "The date, time, or time-zone entered is invalid. The correct format is yyyymmdd hh:mm:ss xx/xxxx"
STOP_TYPES = frozenset({"STP", "STP LMT", "MIT", "LIT"})
TIFS = frozenset({"DAY", "GTC", "IOC", "FOK", "GTD", "OPG"})
MAX_AMOUNT = Decimal(10_000_000_000)
_MAY_CHANGE = frozenset(
    {
        "total_quantity", "lmt_price", "aux_price", "tif", "transmit", "trail_stop_price", "trailing_percent",
        "lmt_price_offset", "outside_rth", "good_till_date", "account", "open_close", "display_size", "parent_id",
        "clearing_intent", "what_if", "volatility", "volatility_type", "adjusted_order_type", "oca_type", "oca_group",
        "delta_neutral_order_type", "dont_use_auto_price_for_hedge", "use_price_mgmt_algo", "manual_order_time",
        "advanced_error_override", "e_trade_only", "firm_quote_only", "nbbo_price_cap", "discretionary_amt",
        "order_misc_options", "ext_operator", "rule_80a", "min_qty", "percent_offset", "exempt_code",
        "auto_cancel_parent", "duration", "post_to_ats", "soft_dollar_name", "soft_dollar_value",
        "soft_dollar_display_name", "trigger_price", "adjusted_stop_price", "adjusted_stop_limit_price",
        "adjusted_trailing_amount", "adjustable_trailing_unit", "delta_neutral_con_id", "reference_price_type",
        "basis_points", "basis_points_type", "scale_init_level_size", "scale_subs_level_size", "scale_price_increment",
        "min_trade_qty", "min_compete_size", "compete_against_best_offset", "mid_offset_at_whole", "mid_offset_at_half",
        "starting_price", "stock_ref_price", "delta", "stock_range_lower", "stock_range_upper", "cash_qty",
        "delta_neutral_aux_price", "random_percent", "active_start_time", "active_stop_time",
    }
)  # fmt: skip
_IDENTITY = tuple(each.name for each in fields(TwsOrder) if each.name not in _MAY_CHANGE)


def normalised_type(order_type: str) -> str:
    """Return the spelling used here; clients also write STPLMT and TRAILLIMIT."""
    upper = order_type.upper()
    return {"STPLMT": "STP LMT", "TRAILLIMIT": "TRAIL LIMIT", "TRAILLMT": "TRAIL LIMIT"}.get(upper, upper)


@dataclass(frozen=True, slots=True)
class Context:
    """What a check may need beside the order."""

    instrument: Instrument
    accounts: tuple[str, ...]
    mid: float
    version: int = 176
    zone: str = "America/New_York"
    now_ns: int = 0
    precaution_percent: float = 0.0
    precaution_size: int = 0
    limits: tuple[float, float] = (0.0, 0.0)
    """The day's price limits, 0 where there are none."""


def check_new(order: TwsOrder, context: Context) -> Complaint | None:
    """Return why TWS refuses a new order, or None."""
    for check in _CHECKS:
        complaint = check(order, context)
        if complaint is not None:
            return complaint
    return None


def check_prices(order: TwsOrder, context: Context) -> Complaint | None:
    """Return error 110 if a price does not fit the market's increments."""
    kind = normalised_type(order.order_type)
    prices = []
    if kind in LIMIT_TYPES | PEGGED_TYPES and order.lmt_price is not None:
        prices.append(order.lmt_price)
    if kind in STOP_TYPES and order.aux_price is not None:
        prices.append(order.aux_price)
    for price in prices:
        if not is_on_tick(price, context.instrument.rule.tick_at(price)):
            return 110, "The price does not conform to the minimum price variation for this contract."
    return None


def check_changed(order: TwsOrder, context: Context) -> Complaint | None:
    """Return why TWS refuses the new prices or times of an order, or None."""
    return check_prices(order, context) or _times(order, context) or _precautions(order, context)


def discretion_of(order: TwsOrder) -> Decimal:
    """Return how far beyond its limit an order may trade: limit orders alone have such a discretion here."""
    amount = order.discretionary_amt or Decimal(0)
    return amount if amount > 0 and normalised_type(order.order_type) == "LMT" else Decimal(0)


def check_change(old: TwsOrder, new: TwsOrder, filled: Decimal) -> Complaint | None:
    """Return why a modify is refused, or None.

    Price, quantity and DAY to IOC may change; the order type may not (329), nor anything else (105).
    """
    if normalised_type(old.order_type) != normalised_type(new.order_type):
        return 329, "Order modify failed. Cannot change to the new order type."
    if (old.tif or "DAY") != (new.tif or "DAY") and (old.tif or "DAY", new.tif) != ("DAY", "IOC"):
        return 105, "Order being modified does not match original order."
    complaint = _check_family(old, new)
    if complaint is not None:
        return complaint
    for name in _IDENTITY:
        before, after = getattr(old, name), getattr(new, name)
        if name in ("order_type", "algo_id", "scale_table", "solicited") or before == after:
            continue
        return 105, "Order being modified does not match original order."
    if new.total_quantity <= filled:
        return 201, "Order rejected - reason:The new quantity is not above the quantity already filled."
    return None


def _check_family(old: TwsOrder, new: TwsOrder) -> Complaint | None:
    # Clients that send an order back as they were shown it carry the type 3 that TWS filled in, or no parent (A.4).
    if old.oca_group != new.oca_group:
        return 10326, "OCA group revision is not allowed."
    if new.oca_type and (old.oca_type or 3) != new.oca_type:
        return 10327, "OCA group type revision is not allowed."
    if new.parent_id and old.parent_id != new.parent_id:
        return 10341, "Parent id revision is not allowed."
    return None


def _basics(order: TwsOrder, context: Context) -> Complaint | None:
    if order.action not in ("BUY", "SELL"):
        return 321, f"Error validating request.-'bW' : cause - Invalid order action '{order.action}'."
    if order.total_quantity <= 0:
        return 434, "The order size cannot be zero."
    if order.total_quantity > MAX_AMOUNT or any(
        abs(price) > MAX_AMOUNT
        for price in (order.lmt_price, order.aux_price, order.trail_stop_price, order.trailing_percent)
        if price is not None
    ):
        return 109, "The price or size is out of the range defined by the Precautionary Settings."
    if order.total_quantity % 1 and context.version < 163:
        return 10285, "Your API version does not support fractional size rules. Please upgrade to a newer version."
    if order.total_quantity % 1 and context.instrument.sec_type not in ("CRYPTO", "CASH"):
        return 10243, "Fractional-sized order cannot be placed via API. Please use desktop version to place this order."
    if not context.instrument.can_trade:
        return 460, "No trading permissions."
    return None


def _account(order: TwsOrder, context: Context) -> Complaint | None:
    if not order.account and len(context.accounts) > 1:
        return 435, "You must specify an account."
    if order.account and order.account not in context.accounts:
        return 321, f"Error validating request.-'bW' : cause - Invalid account code '{order.account}'."
    return None


def _attributes(order: TwsOrder, context: Context) -> Complaint | None:  # noqa: ARG001 - one shape for all checks
    if order.e_trade_only:
        return 10268, "The 'EtradeOnly' order attribute is not supported."
    if order.firm_quote_only:
        return 10269, "The 'FirmQuoteOnly' order attribute is not supported."
    if order.nbbo_price_cap is not None and order.nbbo_price_cap > 0:
        return 10270, "The 'NbboPriceCap' order attribute is not supported."
    if order.fa_group or order.fa_profile:
        return 321, f"Error validating request.-'bW' : cause - Invalid FA group '{order.fa_group or order.fa_profile}'."
    if order.what_if and not order.transmit:
        return 413, "The What-If order should have transmit flag set to true."
    return None


def _type_and_tif(order: TwsOrder, context: Context) -> Complaint | None:
    kind = normalised_type(order.order_type)
    is_for_stocks = kind in _STOCK_TYPES or order.tif == "OPG"
    if kind not in ORDER_TYPES or (is_for_stocks and context.instrument.sec_type != "STK"):
        return 387, "Unsupported order type for this exchange and security type."
    tif = order.tif or "DAY"
    if tif not in TIFS:
        return 321, f"Error validating request.-'bW' : cause - Invalid time in force '{tif}'."
    if kind in ("MOC", "LOC") and tif != "DAY":
        return 113, "The TIF should be DAY for MOC and LOC orders."
    if kind not in ("MKT", "LMT") and tif in ("FOK", "OPG"):
        return 111, "The TIF type and order type are incompatible."
    return None


def _times(order: TwsOrder, context: Context) -> Complaint | None:
    try:
        until_ns = parse_tws_time(order.good_till_date, context.zone)
        parse_tws_time(order.good_after_time, context.zone)
    except ValueError:
        return 343, BAD_TIME
    if order.tif == "GTD" and until_ns is None:
        return 343, BAD_TIME
    if order.tif == "GTD" and until_ns is not None and until_ns <= context.now_ns:
        return 201, "Order rejected - reason:The good till date is in the past."
    return None


def _precautions(order: TwsOrder, context: Context) -> Complaint | None:
    kind = normalised_type(order.order_type)
    low, high = context.limits
    if kind in LIMIT_TYPES and order.lmt_price is not None:
        price = float(order.lmt_price)
        if 0 < price < low or (high and price > high):
            return 201, f"Order rejected - reason:The price is outside the day's price limits {low:g} to {high:g}."
    if order.override_percentage_constraints:
        return None
    if context.precaution_size and order.total_quantity > context.precaution_size:
        return (
            383,
            f"The order size exceeds the Size Limit of {context.precaution_size}. Restriction is in TWS' presets.",
        )
    if context.precaution_percent and context.mid > 0 and kind in LIMIT_TYPES and order.lmt_price is not None:
        away = abs(float(order.lmt_price) - context.mid) / context.mid * 100
        if away > context.precaution_percent:
            return 163, "The price specified would violate the percentage constraint specified in the default settings."
    return None


def _needed_prices(order: TwsOrder, context: Context) -> Complaint | None:
    kind = normalised_type(order.order_type)
    is_combo = bool(context.instrument.legs)
    has_limit = order.lmt_price is not None and (order.lmt_price > 0 or is_combo)
    if kind in LIMIT_TYPES and kind != "TRAIL LIMIT" and not has_limit:
        return 107, "Cannot transmit incomplete order: the limit price is missing."
    if kind in STOP_TYPES and not (order.aux_price or 0) > 0:
        return 107, "Cannot transmit incomplete order: the stop price is missing."
    if kind.startswith("TRAIL") and not ((order.aux_price or 0) > 0 or (order.trailing_percent or 0) > 0):
        return 107, "Cannot transmit incomplete order: the trailing amount is missing."
    return None


_CHECKS: tuple[Callable[[TwsOrder, Context], Complaint | None], ...] = (
    _basics, _account, _attributes, _type_and_tif, _needed_prices, check_prices, _times, _precautions,
)  # fmt: skip
