"""Lay out the parts that placeOrder, openOrder and completedOrder have in common.

Source: ib-facts B.6, B.8; ibapi 10.51 orderdecoder.py and client.placeOrder.
"""

from __future__ import annotations

from typing import Any

from shared.tws.contract import LEG_PRICES, LEGS8
from shared.tws.fields import Many, TagValue, Wire
from shared.tws.layout import Record
from shared.tws.order import CONDITION
from shared.tws.order_walk import Walk

TAG_VALUES: Wire[tuple[TagValue, ...]] = Many(Record(TagValue))
_CONDITIONS: Wire[tuple[Any, ...]] = Many(CONDITION)

PEG_BENCH = ("PEG BENCH", "PEGBENCH")
PEG_BEST = ("PEG BEST", "PEGBEST")
PEG_MID = ("PEG MID", "PEGMID")
PEG_OFFSETS = (
    "min_trade_qty",
    "min_compete_size",
    "compete_against_best_offset",
    "mid_offset_at_whole",
    "mid_offset_at_half",
)


def legs(order: Walk, contract: Walk) -> None:
    """Legs of the combination, their prices, and the routing parameters, each counted."""
    contract.field("combo_legs", LEGS8)
    order.field("order_combo_legs", LEG_PRICES)
    order.field("smart_combo_routing_params", TAG_VALUES)


def scale(order: Walk) -> None:
    """Scale orders: seven more fields if the price increment is set and positive."""
    order.fields("scale_init_level_size", "scale_subs_level_size")
    increment = order.field("scale_price_increment")
    if increment is not None and increment > 0:
        order.fields(
            "scale_price_adjust_value",
            "scale_price_adjust_interval",
            "scale_profit_offset",
            "scale_auto_reset",
            "scale_init_position",
            "scale_init_fill_qty",
            "scale_random_percent",
        )


def hedge(order: Walk) -> None:
    """Hedge type, with a parameter if there is one."""
    if order.field("hedge_type"):
        order.field("hedge_param")


def algo(order: Walk) -> None:
    """Algo strategy, with its parameters if there is one."""
    if order.field("algo_strategy"):
        order.field("algo_params", TAG_VALUES)


def peg_bench(order: Walk, order_type: str) -> None:
    """What an order pegged to a benchmark has in addition."""
    if order_type in PEG_BENCH:
        order.fields(
            "reference_contract_id",
            "is_pegged_change_amount_decrease",
            "pegged_change_amount",
            "reference_change_amount",
            "reference_exchange_id",
        )


def conditions(order: Walk) -> None:
    """Conditions, and what they do if there are any."""
    if order.field("conditions", _CONDITIONS):
        order.fields("conditions_ignore_rth", "conditions_cancel_order")
