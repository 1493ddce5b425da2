"""Say of every field of an order what becomes of it here: carried out, kept for the record, or without effect and told.

Together the three tables name each field of `TwsOrder` exactly once, so a field that is new has to be thought about
before anything else can be done with it: nothing of an order is ignored in silence.

Source: ib-facts A.13, B.6; the meaning of each field is IB's documentation of `Order`.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from operator import attrgetter
from typing import Any

from services.simulator.core.order_rules import discretion_of
from shared.tws.contract import OrderComboLeg
from shared.tws.order import TwsOrder

CARRIED_OUT = frozenset({
    "account", "action", "all_or_none", "aux_price", "conditions", "conditions_cancel_order", "conditions_ignore_rth",
    "discretionary_amt", "e_trade_only", "fa_group", "fa_profile", "firm_quote_only", "good_after_time",
    "good_till_date", "lmt_price", "lmt_price_offset", "min_qty", "nbbo_price_cap", "oca_group", "oca_type",
    "order_ref", "order_type", "outside_rth", "override_percentage_constraints", "parent_id", "tif", "total_quantity",
    "trail_stop_price", "trailing_percent", "transmit", "trigger_method", "what_if",
})  # fmt: skip
"""Decide whether, when, at what price and for whom an order trades, or why it is refused."""

FOR_THE_RECORD = frozenset({
    "advanced_error_override", "bond_accrued_interest", "clearing_account", "clearing_intent", "customer_account",
    "designated_location", "display_size", "exempt_code", "ext_operator", "fa_method", "fa_percentage", "hidden",
    "manual_order_indicator", "manual_order_time", "mifid2_decision_algo", "mifid2_decision_maker",
    "mifid2_execution_algo", "mifid2_execution_trader", "model_code", "open_close", "order_misc_options", "origin",
    "professional_customer", "rule_80a", "settling_firm", "short_sale_slot", "soft_dollar_display_name",
    "soft_dollar_name", "soft_dollar_value", "solicited", "submitter",
})  # fmt: skip
"""Clearing, reporting and operators: kept and shown again as they came; no price or fill depends on them at IB either.

`fa_method` and `fa_percentage` mean something only beside a group, which is refused. Nobody else sees any order here,
so a hidden one and one that displays a part differ from a plain one in nothing.
"""

WITHOUT_EFFECT: Mapping[str, tuple[str, ...]] = {
    "algorithm": ("algo_strategy", "algo_params", "algo_id"),
    "scale": (
        "scale_init_level_size", "scale_subs_level_size", "scale_price_increment", "scale_price_adjust_value",
        "scale_price_adjust_interval", "scale_profit_offset", "scale_auto_reset", "scale_init_position",
        "scale_init_fill_qty", "scale_random_percent", "scale_table",
    ),
    "hedge": ("hedge_type", "hedge_param", "dont_use_auto_price_for_hedge"),
    "adjusted stop": (
        "adjusted_order_type", "trigger_price", "adjusted_stop_price", "adjusted_stop_limit_price",
        "adjusted_trailing_amount", "adjustable_trailing_unit",
    ),
    "cash quantity": ("cash_qty",),
    "volatility": ("volatility", "volatility_type", "continuous_update", "reference_price_type"),
    "delta-neutral order": (
        "delta_neutral_order_type", "delta_neutral_aux_price", "delta_neutral_con_id", "delta_neutral_settling_firm",
        "delta_neutral_clearing_account", "delta_neutral_clearing_intent", "delta_neutral_open_close",
        "delta_neutral_short_sale", "delta_neutral_short_sale_slot", "delta_neutral_designated_location",
    ),
    "duration": ("duration",),
    "randomised size or price": ("randomize_size", "randomize_price"),
    "active times": ("active_start_time", "active_stop_time"),
    "block order": ("block_order",),
    "sweep to fill": ("sweep_to_fill",),
    "not held": ("not_held",),
    "percent offset": ("percent_offset",),
    "smart routing": ("opt_out_smart_routing", "smart_combo_routing_params", "post_to_ats"),
    "auction": (
        "auction_strategy", "starting_price", "stock_ref_price", "delta", "stock_range_lower", "stock_range_upper",
        "imbalance_only",
    ),
    "basis points": ("basis_points", "basis_points_type"),
    "prices of combination legs": ("order_combo_legs",),
    "benchmark": (
        "reference_contract_id", "is_pegged_change_amount_decrease", "pegged_change_amount", "reference_change_amount",
        "reference_exchange_id",
    ),
    "price management": ("use_price_mgmt_algo",),
    "discretion up to the limit": ("discretionary_up_to_limit_price",),
    "competing in the middle": (
        "min_trade_qty", "min_compete_size", "compete_against_best_offset", "mid_offset_at_whole", "mid_offset_at_half",
    ),
    "cancel of the parent with its child": ("auto_cancel_parent",),
    "overnight session": ("include_overnight",),
    "container": ("is_oms_container",),
}  # fmt: skip
"""What is asked for → its fields. The order works as if it had not been asked for, and its client is told (399)."""

_NEUTRAL = {"delta_neutral_order_type": ("", "None"), "trigger_price": (None, Decimal(0))}
"""What TWS itself puts there, and clients send back."""


def is_asked(name: str, value: Any) -> bool:
    """Return whether the value of a field asks for something; 0, nothing, and what TWS fills in by itself do not."""
    if name in _NEUTRAL:
        return value not in _NEUTRAL[name]
    if name == "order_combo_legs":
        return any(isinstance(leg, OrderComboLeg) and leg.price is not None for leg in value)
    return bool(value)


_asked_of = attrgetter(*sorted({name for names in WITHOUT_EFFECT.values() for name in names}), "discretionary_amt")
_ASKED_OF_NONE = _asked_of(TwsOrder())
"""What most orders have there."""


def without_effect(order: TwsOrder) -> tuple[str, ...]:
    """Return what an order asks for that is not simulated, with the name of an algorithm or the kind of a hedge."""
    if _asked_of(order) == _ASKED_OF_NONE:
        return ()
    found = []
    for what, names in WITHOUT_EFFECT.items():
        if any(is_asked(name, getattr(order, name)) for name in names):
            named = {"algorithm": order.algo_strategy, "hedge": order.hedge_type}.get(what, "")
            found.append(f"{what} {named}".rstrip())
    if is_asked("discretionary_amt", order.discretionary_amt) and not discretion_of(order):
        found.append("discretionary amount")
    return tuple(found)
