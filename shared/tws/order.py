"""Describe orders, their conditions and their state as TWS messages carry them.

One class for all three order messages (placeOrder, openOrder, completedOrder); which attributes go over the wire, and
how an unset one looks there, is decided by `place_order.py` and `open_order.py`. Prices and quantities are `Decimal`,
`None` is unset.

Source: ib-facts A.13, B.6, B.8.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Any, get_args, get_type_hints

from shared.errors import DecodeError
from shared.tws.contract import OrderComboLeg
from shared.tws.fields import (
    INT,
    OFFSET,
    Bool,
    Int,
    Many,
    MaxDecimal,
    OptBool,
    OptDecimal,
    OptInt,
    Quantity,
    Reader,
    TagString,
    TagValue,
    Text,
    Wire,
    Writer,
)
from shared.tws.layout import Record
from shared.tws.order_walk import Wires


@dataclass(frozen=True, slots=True)
class PriceCondition:
    """True while a contract's price is above or below a level."""

    conjunction: Text = "a"
    is_more: Bool = True
    price: OptDecimal = None
    con_id: Int = 0
    exchange: Text = ""
    trigger_method: Int = 0


@dataclass(frozen=True, slots=True)
class TimeCondition:
    """True before or after a time."""

    conjunction: Text = "a"
    is_more: Bool = True
    time: Text = ""


@dataclass(frozen=True, slots=True)
class MarginCondition:
    """True while the margin cushion is above or below a percentage."""

    conjunction: Text = "a"
    is_more: Bool = True
    percent: OptInt = None


@dataclass(frozen=True, slots=True)
class ExecutionCondition:
    """True once a symbol has traded in this account."""

    conjunction: Text = "a"
    sec_type: Text = ""
    exchange: Text = ""
    symbol: Text = ""


@dataclass(frozen=True, slots=True)
class VolumeCondition:
    """True while a contract's volume is above or below a number."""

    conjunction: Text = "a"
    is_more: Bool = True
    volume: OptInt = None
    con_id: Int = 0
    exchange: Text = ""


@dataclass(frozen=True, slots=True)
class PercentChangeCondition:
    """True while a contract's change in percent is above or below a number."""

    conjunction: Text = "a"
    is_more: Bool = True
    change_percent: OptDecimal = None
    con_id: Int = 0
    exchange: Text = ""


OrderCondition = (
    PriceCondition | TimeCondition | MarginCondition | ExecutionCondition | VolumeCondition | PercentChangeCondition
)
"""Conjunction is "a" (and) or "o" (or) with the next condition."""

_CONDITION_IDS: dict[type, int] = {
    PriceCondition: 1,
    TimeCondition: 3,
    MarginCondition: 4,
    ExecutionCondition: 5,
    VolumeCondition: 6,
    PercentChangeCondition: 7,
}
_CONDITION_WIRES: dict[int, Wire[Any]] = {number: Record(cls) for cls, number in _CONDITION_IDS.items()}


class ConditionWire:
    """The wire of one condition: its type, then its fields."""

    def write(self, out: Writer, value: OrderCondition) -> None:
        """Append type and fields."""
        number = _CONDITION_IDS[type(value)]
        out.raw(str(number))
        _CONDITION_WIRES[number].write(out, value)

    def read(self, src: Reader) -> OrderCondition:
        """Take type and fields."""
        number = INT.read(src)
        wire = _CONDITION_WIRES.get(number)
        if wire is None:
            raise DecodeError(f"field {src.position - 1} is {number}, not a type of order condition")
        condition: OrderCondition = wire.read(src)
        return condition


CONDITION: Wire[OrderCondition] = ConditionWire()


@dataclass(frozen=True, slots=True)
class TwsOrder:
    """An order's own fields, without its ids; see the IB documentation for each.

    `transmit=False` holds an order until a related one is transmitted; `parent_id` is an order id of the same client.
    `open_close` is "O" from ib_insync and "" from the official client.
    """

    action: Text = ""
    total_quantity: Quantity = Decimal(0)
    order_type: Text = ""
    lmt_price: OptDecimal = None
    aux_price: OptDecimal = None
    tif: Text = ""
    active_start_time: Text = ""
    active_stop_time: Text = ""
    oca_group: Text = ""
    oca_type: Int = 0
    order_ref: Text = ""
    transmit: Bool = True
    parent_id: Int = 0
    block_order: Bool = False
    sweep_to_fill: Bool = False
    display_size: OptInt = None
    trigger_method: Int = 0
    outside_rth: Bool = False
    hidden: Bool = False
    good_after_time: Text = ""
    good_till_date: Text = ""
    rule_80a: Text = ""
    all_or_none: Bool = False
    min_qty: OptInt = None
    percent_offset: OptDecimal = None
    override_percentage_constraints: Bool = False
    trail_stop_price: OptDecimal = None
    trailing_percent: OptDecimal = None
    fa_group: Text = ""
    fa_profile: Text = ""
    fa_method: Text = ""
    fa_percentage: Text = ""
    account: Text = ""
    settling_firm: Text = ""
    clearing_account: Text = ""
    clearing_intent: Text = ""
    designated_location: Text = ""
    open_close: Text = ""
    origin: Int = 0
    short_sale_slot: Int = 0
    exempt_code: Int = -1
    discretionary_amt: OptDecimal = None
    e_trade_only: Bool = False
    firm_quote_only: Bool = False
    nbbo_price_cap: OptDecimal = None
    opt_out_smart_routing: Bool = False
    auction_strategy: Int = 0
    starting_price: OptDecimal = None
    stock_ref_price: OptDecimal = None
    delta: OptDecimal = None
    stock_range_lower: OptDecimal = None
    stock_range_upper: OptDecimal = None
    randomize_size: Bool = False
    randomize_price: Bool = False
    volatility: OptDecimal = None
    volatility_type: OptInt = None
    delta_neutral_order_type: Text = ""
    delta_neutral_aux_price: OptDecimal = None
    delta_neutral_con_id: Int = 0
    delta_neutral_settling_firm: Text = ""
    delta_neutral_clearing_account: Text = ""
    delta_neutral_clearing_intent: Text = ""
    delta_neutral_open_close: Text = ""
    delta_neutral_short_sale: Bool = False
    delta_neutral_short_sale_slot: Int = 0
    delta_neutral_designated_location: Text = ""
    continuous_update: Bool = False
    reference_price_type: OptInt = None
    basis_points: OptDecimal = None
    basis_points_type: OptInt = None
    scale_init_level_size: OptInt = None
    scale_subs_level_size: OptInt = None
    scale_price_increment: OptDecimal = None
    scale_price_adjust_value: OptDecimal = None
    scale_price_adjust_interval: OptInt = None
    scale_profit_offset: OptDecimal = None
    scale_auto_reset: Bool = False
    scale_init_position: OptInt = None
    scale_init_fill_qty: OptInt = None
    scale_random_percent: Bool = False
    scale_table: Text = ""
    hedge_type: Text = ""
    hedge_param: Text = ""
    algo_strategy: Text = ""
    algo_params: tuple[TagValue, ...] = ()
    smart_combo_routing_params: tuple[TagValue, ...] = ()
    algo_id: Text = ""
    what_if: Bool = False
    not_held: Bool = False
    solicited: Bool = False
    model_code: Text = ""
    order_combo_legs: tuple[OrderComboLeg, ...] = ()
    order_misc_options: TagString = ()
    reference_contract_id: Int = 0
    is_pegged_change_amount_decrease: Bool = False
    pegged_change_amount: OptDecimal = None
    reference_change_amount: OptDecimal = None
    reference_exchange_id: Text = ""
    conditions: tuple[OrderCondition, ...] = ()
    conditions_ignore_rth: Bool = False
    conditions_cancel_order: Bool = False
    adjusted_order_type: Text = ""
    trigger_price: OptDecimal = None
    lmt_price_offset: OptDecimal = None
    adjusted_stop_price: OptDecimal = None
    adjusted_stop_limit_price: OptDecimal = None
    adjusted_trailing_amount: OptDecimal = None
    adjustable_trailing_unit: OptInt = None
    ext_operator: Text = ""
    soft_dollar_name: Text = ""
    soft_dollar_value: Text = ""
    soft_dollar_display_name: Text = ""
    cash_qty: OptDecimal = None
    mifid2_decision_maker: Text = ""
    mifid2_decision_algo: Text = ""
    mifid2_execution_trader: Text = ""
    mifid2_execution_algo: Text = ""
    dont_use_auto_price_for_hedge: Bool = False
    is_oms_container: Bool = False
    discretionary_up_to_limit_price: Bool = False
    use_price_mgmt_algo: OptBool = None
    duration: OptInt = None
    post_to_ats: OptInt = None
    auto_cancel_parent: Bool = False
    advanced_error_override: Text = ""
    manual_order_time: Text = ""
    min_trade_qty: OptInt = None
    min_compete_size: OptInt = None
    compete_against_best_offset: Annotated[Decimal | None, OFFSET] = None
    """`Decimal("Infinity")` asks for the offsets below instead."""
    mid_offset_at_whole: OptDecimal = None
    mid_offset_at_half: OptDecimal = None
    customer_account: Text = ""
    professional_customer: Bool = False
    bond_accrued_interest: Text = ""
    include_overnight: Bool = False
    manual_order_indicator: OptInt = None
    submitter: Text = ""
    imbalance_only: Bool = False


@dataclass(frozen=True, slots=True)
class OrderAllocation:
    """An account's share of an order, in the answer to a what-if from 195."""

    account: Text = ""
    position: OptDecimal = None
    position_desired: OptDecimal = None
    position_after: OptDecimal = None
    desired_alloc_qty: OptDecimal = None
    allowed_alloc_qty: OptDecimal = None
    is_monetary: Bool = False


@dataclass(frozen=True, slots=True)
class OrderState:
    """What openOrder says about the order beside its own fields; margins are set in what-if answers only.

    A completed order has only `status`, `completed_time` and `completed_status`.
    """

    status: Text = ""
    init_margin_before: MaxDecimal = None
    maint_margin_before: MaxDecimal = None
    equity_with_loan_before: MaxDecimal = None
    init_margin_change: MaxDecimal = None
    maint_margin_change: MaxDecimal = None
    equity_with_loan_change: MaxDecimal = None
    init_margin_after: MaxDecimal = None
    maint_margin_after: MaxDecimal = None
    equity_with_loan_after: MaxDecimal = None
    commission: MaxDecimal = None
    min_commission: MaxDecimal = None
    max_commission: MaxDecimal = None
    commission_currency: Text = ""
    warning_text: Text = ""
    completed_time: Text = ""
    completed_status: Text = ""
    margin_currency: Text = ""
    init_margin_before_outside_rth: MaxDecimal = None
    maint_margin_before_outside_rth: MaxDecimal = None
    equity_with_loan_before_outside_rth: MaxDecimal = None
    init_margin_change_outside_rth: MaxDecimal = None
    maint_margin_change_outside_rth: MaxDecimal = None
    equity_with_loan_change_outside_rth: MaxDecimal = None
    init_margin_after_outside_rth: MaxDecimal = None
    maint_margin_after_outside_rth: MaxDecimal = None
    equity_with_loan_after_outside_rth: MaxDecimal = None
    suggested_size: OptDecimal = None
    reject_reason: Text = ""
    allocations: Annotated[tuple[OrderAllocation, ...], Many(Record(OrderAllocation))] = ()


def wires_of(cls: type) -> Wires:
    """Return the wire that each attribute of a class is annotated with; attributes without one are left out."""
    hints = get_type_hints(cls, include_extras=True)
    wires = {name: get_args(hint)[-1] for name, hint in hints.items() if hasattr(hint, "__metadata__")}
    return Wires(wires, {field.name: field.default for field in fields(cls)})


_ORDER_NAMES = tuple(field.name for field in fields(TwsOrder))
_ORDER_PLACES = {name: place for place, name in enumerate(_ORDER_NAMES)}
_ORDER_VALUES = attrgetter(*_ORDER_NAMES)


def revised(order: TwsOrder, **changes: object) -> TwsOrder:
    """Return an order with some fields changed; `dataclasses.replace` takes four times as long for its 150 fields."""
    values = list(_ORDER_VALUES(order))
    for name, value in changes.items():
        values[_ORDER_PLACES[name]] = value
    return TwsOrder(*values)
