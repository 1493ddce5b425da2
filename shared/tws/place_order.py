"""Lay out placeOrder (3), the longest request.

A plain stock limit order has 115 fields at server version 176. What follows a field can depend on it (combinations,
scale, hedge, algo, pegged and conditional orders), so the layout is a walk (see `order_walk`).

Source: ib-facts B.8; ib_insync 0.9.86 and ibapi 10.51 client.placeOrder.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.tws import order_sections as sections
from shared.tws import versions
from shared.tws.contract import OPTIONAL_DELTA_NEUTRAL, TwsContract
from shared.tws.fields import INFINITE, INT, Reader, Writer
from shared.tws.layout import REQUESTS, Request, message
from shared.tws.order import TwsOrder, wires_of
from shared.tws.order_walk import ReadWalk, Walk, WriteWalk

ORDER_WIRES = wires_of(TwsOrder)
CONTRACT_WIRES = wires_of(TwsContract)


@message(REQUESTS, 3)
@dataclass(frozen=True, slots=True)
class PlaceOrder(Request):
    """Place a new order, modify one of this client id, or ask what it would do (`order.what_if`)."""

    order_id: int
    contract: TwsContract
    order: TwsOrder

    def write_fields(self, out: Writer) -> None:
        """Append the fields."""
        INT.write(out, self.order_id)
        _layout(WriteWalk(out, self.contract, CONTRACT_WIRES), WriteWalk(out, self.order, ORDER_WIRES))

    @classmethod
    def read_fields(cls, src: Reader) -> PlaceOrder:
        """Take the fields."""
        src.label = "order_id"
        order_id = INT.read(src)
        contract, order = ReadWalk(src, CONTRACT_WIRES), ReadWalk(src, ORDER_WIRES)
        _layout(contract, order)
        return cls(order_id, TwsContract(**contract.values), TwsOrder(**order.values))


def _layout(contract: Walk, order: Walk) -> None:
    contract.fields("con_id", "symbol")
    is_combination = contract.field("sec_type") == "BAG"
    contract.fields("last_trade_date", "strike", "right", "multiplier")
    exchange = contract.field("exchange")
    contract.fields("primary_exchange", "currency", "local_symbol", "trading_class", "sec_id_type", "sec_id")
    order_type = _main(order)
    if is_combination:
        sections.legs(order, contract)
    _extended(order)
    sections.scale(order)
    order.fields("scale_table", "active_start_time", "active_stop_time")
    sections.hedge(order)
    order.fields("opt_out_smart_routing", "clearing_account", "clearing_intent", "not_held")
    contract.field("delta_neutral", OPTIONAL_DELTA_NEUTRAL)
    sections.algo(order)
    order.fields("algo_id", "what_if", "order_misc_options", "solicited", "randomize_size", "randomize_price")
    sections.peg_bench(order, order_type)
    sections.conditions(order)
    _tail(order)
    _since(order, exchange, order_type)


def _main(order: Walk) -> str:
    order.fields("action", "total_quantity")
    order_type: str = order.field("order_type")
    order.fields("lmt_price", "aux_price", "tif", "oca_group", "account", "open_close", "origin", "order_ref")
    order.fields("transmit", "parent_id", "block_order", "sweep_to_fill", "display_size", "trigger_method")
    order.fields("outside_rth", "hidden")
    return order_type


def _extended(order: Walk) -> None:
    order.filler("")  # sharesAllocation, deprecated
    order.fields("discretionary_amt", "good_after_time", "good_till_date", "fa_group", "fa_method", "fa_percentage")
    if order.version < versions.FA_PROFILE_DESUPPORT:
        order.field("fa_profile")
    order.fields("model_code", "short_sale_slot", "designated_location", "exempt_code", "oca_type", "rule_80a")
    order.fields("settling_firm", "all_or_none", "min_qty", "percent_offset", "e_trade_only", "firm_quote_only")
    order.fields("nbbo_price_cap", "auction_strategy", "starting_price", "stock_ref_price", "delta")
    order.fields("stock_range_lower", "stock_range_upper", "override_percentage_constraints")
    order.fields("volatility", "volatility_type")
    has_delta_neutral = order.field("delta_neutral_order_type")
    order.field("delta_neutral_aux_price")
    if has_delta_neutral:
        order.fields("delta_neutral_con_id", "delta_neutral_settling_firm", "delta_neutral_clearing_account")
        order.fields("delta_neutral_clearing_intent", "delta_neutral_open_close", "delta_neutral_short_sale")
        order.fields("delta_neutral_short_sale_slot", "delta_neutral_designated_location")
    order.fields("continuous_update", "reference_price_type", "trail_stop_price", "trailing_percent")


def _tail(order: Walk) -> None:
    order.fields("adjusted_order_type", "trigger_price", "lmt_price_offset", "adjusted_stop_price")
    order.fields("adjusted_stop_limit_price", "adjusted_trailing_amount", "adjustable_trailing_unit", "ext_operator")
    order.fields("soft_dollar_name", "soft_dollar_value", "cash_qty")
    order.fields("mifid2_decision_maker", "mifid2_decision_algo", "mifid2_execution_trader", "mifid2_execution_algo")
    order.fields("dont_use_auto_price_for_hedge", "is_oms_container", "discretionary_up_to_limit_price")
    order.field("use_price_mgmt_algo")


def _since(order: Walk, exchange: str, order_type: str) -> None:
    for gate, name in (
        (versions.DURATION, "duration"),
        (versions.POST_TO_ATS, "post_to_ats"),
        (versions.AUTO_CANCEL_PARENT, "auto_cancel_parent"),
        (versions.ADVANCED_ORDER_REJECT, "advanced_error_override"),
        (versions.MANUAL_ORDER_TIME, "manual_order_time"),
    ):
        if order.version >= gate:
            order.field(name)
    if order.version >= versions.PEG_BEST_PEG_MID_OFFSETS:
        _pegged(order, exchange, order_type)
    for gate, name in (
        (versions.CUSTOMER_ACCOUNT, "customer_account"),
        (versions.PROFESSIONAL_CUSTOMER, "professional_customer"),
        (versions.INCLUDE_OVERNIGHT, "include_overnight"),
        (versions.CME_TAGGING, "manual_order_indicator"),
        (versions.IMBALANCE_ONLY, "imbalance_only"),
    ):
        if order.version >= gate:
            order.field(name)


def _pegged(order: Walk, exchange: str, order_type: str) -> None:
    if exchange == "IBKRATS":
        order.field("min_trade_qty")
    wants_mid_offsets = order_type in sections.PEG_MID
    if order_type in sections.PEG_BEST:
        order.field("min_compete_size")
        wants_mid_offsets = order.field("compete_against_best_offset") == INFINITE
    if wants_mid_offsets:
        order.fields("mid_offset_at_whole", "mid_offset_at_half")
