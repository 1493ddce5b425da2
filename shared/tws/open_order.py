"""Lay out openOrder (5) and completedOrder (101), the longest responses.

Plain orders have 120 (157) to 128 (170..176) and 92 to 97 fields; eight and four more when TWS writes the text "None"
as delta-neutral order type, as it really does. The simulator sets that text if it wants to look like TWS.

What is unset looks as in recorded traffic: prices of orders that have none 0.0, other numbers as Java's largest.

Source: ib-facts A.8, B.6; ibapi 10.51 orderdecoder.py, ib_insync 0.9.86 decoder.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from shared.tws import order_sections as sections
from shared.tws import versions
from shared.tws.contract import C11, OPTIONAL_DELTA_NEUTRAL, TwsContract
from shared.tws.fields import (
    INT,
    MAX_DECIMAL,
    MAX_INT,
    OPT_DECIMAL,
    OPT_INT,
    TEXT,
    ZERO_DECIMAL,
    Bool,
    Int,
    MaxLong,
    Quantity,
    Reader,
    Text,
    Wire,
    Writer,
)
from shared.tws.layout import RESPONSES, Response, message
from shared.tws.order import OrderState, TwsOrder, wires_of
from shared.tws.order_walk import ReadWalk, Walk, Wires, WriteWalk
from shared.tws.place_order import CONTRACT_WIRES

_AS_TWS_PRINTS: dict[Wire[Any], Wire[Any]] = {OPT_INT: MAX_INT, OPT_DECIMAL: MAX_DECIMAL}
ORDER_WIRES = Wires(
    {
        **{name: _AS_TWS_PRINTS.get(wire, wire) for name, wire in wires_of(TwsOrder).items()},
        "lmt_price": ZERO_DECIMAL,
        "aux_price": ZERO_DECIMAL,
        "discretionary_amt": ZERO_DECIMAL,
        # the clients read these as plain whole numbers or flags, the official one without its "unset"
        "volatility_type": OPT_INT,
        "reference_price_type": OPT_INT,
        "adjustable_trailing_unit": OPT_INT,
    },
    wires_of(TwsOrder).defaults,
)
_STATE_WIRES = wires_of(OrderState)


class _Mark(WriteWalk):
    """Write nothing, and note where in the output it would have begun."""

    __slots__ = ("at",)

    def __init__(self, out: Writer, obj: object, wires: Wires) -> None:
        super().__init__(out, obj, wires)
        self.at = 0

    def field(self, name: str, wire: Wire[Any] | None = None) -> Any:  # noqa: ARG002 -- as those that write
        """Leave a field out."""
        self.fields(name)

    def fields(self, *names: str) -> None:  # noqa: ARG002 -- as those that write
        """Leave fields out."""
        self.at = self.at or len(self._out.parts)


@message(RESPONSES, 5)
@dataclass(frozen=True, slots=True)
class OpenOrder(Response):
    """An order as it stands at TWS.

    `perm_id` is 0 until known; `shares_allocation` is a deprecated field that TWS fills with
    `<permId>.0/<account>/<qty>`.
    """

    order_id: int
    client_id: int
    perm_id: int
    contract: TwsContract
    order: TwsOrder
    state: OrderState
    shares_allocation: str = ""

    def write_fields(self, out: Writer) -> None:
        """Append the fields."""
        self._write(out, WriteWalk(out, self.state, _STATE_WIRES))

    def around_state(self, version: int) -> tuple[str, str]:
        """Return what of the payload stands before the state and what after it: the same for all states of an order."""
        out = Writer(version, ascii7=True)
        out.raw("5")
        mark = _Mark(out, self.state, _STATE_WIRES)
        self._write(out, mark)
        before, after = out.parts[: mark.at], out.parts[mark.at :]
        return "\0".join(before) + "\0", "\0".join(after) + "\0"

    def state_text(self, version: int) -> str:
        """Return what of the payload tells the state."""
        out = Writer(version, ascii7=True)
        _state_fields(WriteWalk(out, self.state, _STATE_WIRES))
        return "\0".join(out.parts) + "\0"

    def _write(self, out: Writer, state: Walk) -> None:
        _open_layout(
            WriteWalk(out, self, _OPEN_WIRES),
            WriteWalk(out, self.contract, CONTRACT_WIRES),
            WriteWalk(out, self.order, ORDER_WIRES),
            state,
        )

    @classmethod
    def read_fields(cls, src: Reader) -> OpenOrder:
        """Take the fields."""
        head, contract = ReadWalk(src, _OPEN_WIRES), ReadWalk(src, CONTRACT_WIRES)
        order, state = ReadWalk(src, ORDER_WIRES), ReadWalk(src, _STATE_WIRES)
        _open_layout(head, contract, order, state)
        return cls(
            contract=_contract(head, contract),
            order=TwsOrder(**order.values),
            state=OrderState(**state.values),
            **head.values,
        )


@message(RESPONSES, 101)
@dataclass(frozen=True, slots=True)
class CompletedOrder(Response):
    """An order that is filled, cancelled or rejected; it has neither order id nor client id (ib-facts A.5).

    TWS often sends a total quantity of 0 and the amount in `filled_quantity`.
    """

    perm_id: Int
    contract: TwsContract
    order: TwsOrder
    state: OrderState
    auto_cancel_date: Text = ""
    filled_quantity: Quantity = Decimal(0)
    ref_futures_con_id: Int = 0
    shareholder: Text = "Not an insider or substantial shareholder"
    imbalance_only: Bool = False
    route_marketable_to_bbo: Bool = False
    parent_perm_id: MaxLong = None

    def write_fields(self, out: Writer) -> None:
        """Append the fields."""
        _completed_layout(
            WriteWalk(out, self, _COMPLETED_WIRES),
            WriteWalk(out, self.contract, CONTRACT_WIRES),
            WriteWalk(out, self.order, ORDER_WIRES),
            WriteWalk(out, self.state, _STATE_WIRES),
        )

    @classmethod
    def read_fields(cls, src: Reader) -> CompletedOrder:
        """Take the fields."""
        head, contract = ReadWalk(src, _COMPLETED_WIRES), ReadWalk(src, CONTRACT_WIRES)
        order, state = ReadWalk(src, ORDER_WIRES), ReadWalk(src, _STATE_WIRES)
        _completed_layout(head, contract, order, state)
        return cls(
            contract=_contract(head, contract),
            order=TwsOrder(**order.values),
            state=OrderState(**state.values),
            **head.values,
        )


_OPEN_WIRES = Wires({"order_id": INT, "client_id": INT, "perm_id": INT, "shares_allocation": TEXT})
_COMPLETED_WIRES = wires_of(CompletedOrder)


_PREVIEW = (
    "margin_currency", "init_margin_before_outside_rth", "maint_margin_before_outside_rth",
    "equity_with_loan_before_outside_rth", "init_margin_change_outside_rth", "maint_margin_change_outside_rth",
    "equity_with_loan_change_outside_rth", "init_margin_after_outside_rth", "maint_margin_after_outside_rth",
    "equity_with_loan_after_outside_rth", "suggested_size", "reject_reason", "allocations",
)  # fmt: skip
_TAIL = (
    (versions.CUSTOMER_ACCOUNT, "customer_account"),
    (versions.PROFESSIONAL_CUSTOMER, "professional_customer"),
    (versions.BOND_ACCRUED_INTEREST, "bond_accrued_interest"),
    (versions.INCLUDE_OVERNIGHT, "include_overnight"),
    (versions.CME_TAGGING_IN_OPEN_ORDER, "ext_operator"),
    (versions.CME_TAGGING_IN_OPEN_ORDER, "manual_order_indicator"),
    (versions.SUBMITTER, "submitter"),
    (versions.IMBALANCE_ONLY, "imbalance_only"),
)
_COMPLETED_TAIL = (
    (versions.CUSTOMER_ACCOUNT, "customer_account"),
    (versions.PROFESSIONAL_CUSTOMER, "professional_customer"),
    (versions.SUBMITTER, "submitter"),
)


def _contract(head: ReadWalk, contract: ReadWalk) -> TwsContract:
    eleven: TwsContract = head.values.pop("contract")
    return replace(eleven, **contract.values)


def _open_layout(head: Walk, contract: Walk, order: Walk, state: Walk) -> None:
    head.field("order_id")
    head.field("contract", C11)
    order_type = _main(order)
    head.fields("client_id", "perm_id")
    order.fields("outside_rth", "hidden", "discretionary_amt", "good_after_time")
    head.field("shares_allocation")
    _advisor_to_exempt(order)
    order.fields("auction_strategy", "starting_price", "stock_ref_price", "delta", "stock_range_lower")
    order.fields("stock_range_upper", "display_size", "block_order", "sweep_to_fill", "all_or_none", "min_qty")
    order.fields("oca_type", "e_trade_only", "firm_quote_only", "nbbo_price_cap", "parent_id", "trigger_method")
    _volatility(order, is_open=True)
    order.fields("trail_stop_price", "trailing_percent", "basis_points", "basis_points_type")
    contract.field("combo_legs_description")
    sections.legs(order, contract)
    sections.scale(order)
    sections.hedge(order)
    order.field("opt_out_smart_routing")
    _clearing_to_algo(order, contract)
    order.fields("solicited", "what_if")
    _state_fields(state)
    order.fields("randomize_size", "randomize_price")
    sections.peg_bench(order, order_type)
    sections.conditions(order)
    order.fields("adjusted_order_type", "trigger_price", "trail_stop_price", "lmt_price_offset")
    order.fields("adjusted_stop_price", "adjusted_stop_limit_price", "adjusted_trailing_amount")
    order.fields("adjustable_trailing_unit", "soft_dollar_name", "soft_dollar_value", "soft_dollar_display_name")
    order.fields("cash_qty", "dont_use_auto_price_for_hedge", "is_oms_container", "discretionary_up_to_limit_price")
    order.field("use_price_mgmt_algo")
    for gate, name in (
        (versions.DURATION, "duration"),
        (versions.POST_TO_ATS, "post_to_ats"),
        (versions.AUTO_CANCEL_PARENT, "auto_cancel_parent"),
    ):
        if order.version >= gate:
            order.field(name)
    if order.version >= versions.PEG_BEST_PEG_MID_OFFSETS:
        order.fields(*sections.PEG_OFFSETS)
    for gate, name in _TAIL:
        if order.version >= gate:
            order.field(name)


def _state_fields(state: Walk) -> None:
    state.fields("status", "init_margin_before", "maint_margin_before", "equity_with_loan_before")
    state.fields("init_margin_change", "maint_margin_change", "equity_with_loan_change")
    state.fields("init_margin_after", "maint_margin_after", "equity_with_loan_after")
    state.fields("commission", "min_commission", "max_commission", "commission_currency")
    if state.version >= versions.ORDER_PREVIEW:
        state.fields(*_PREVIEW)
    state.field("warning_text")


def _completed_layout(head: Walk, contract: Walk, order: Walk, state: Walk) -> None:
    head.field("contract", C11)
    order_type = _main(order)
    head.field("perm_id")
    order.fields("outside_rth", "hidden", "discretionary_amt", "good_after_time")
    _advisor_to_exempt(order)
    order.fields("starting_price", "stock_ref_price", "delta", "stock_range_lower", "stock_range_upper")
    order.fields("display_size", "sweep_to_fill", "all_or_none", "min_qty", "oca_type", "trigger_method")
    _volatility(order, is_open=False)
    order.fields("trail_stop_price", "trailing_percent")
    contract.field("combo_legs_description")
    sections.legs(order, contract)
    sections.scale(order)
    sections.hedge(order)
    _clearing_to_algo(order, contract)
    order.field("solicited")
    state.field("status")
    order.fields("randomize_size", "randomize_price")
    sections.peg_bench(order, order_type)
    sections.conditions(order)
    order.fields("trail_stop_price", "lmt_price_offset", "cash_qty", "dont_use_auto_price_for_hedge")
    order.field("is_oms_container")
    head.fields("auto_cancel_date", "filled_quantity", "ref_futures_con_id")
    order.field("auto_cancel_parent")
    head.fields("shareholder", "imbalance_only", "route_marketable_to_bbo", "parent_perm_id")
    state.fields("completed_time", "completed_status")
    if order.version >= versions.PEG_BEST_PEG_MID_OFFSETS:
        order.fields(*sections.PEG_OFFSETS)
    for gate, name in _COMPLETED_TAIL:
        if order.version >= gate:
            order.field(name)


def _main(order: Walk) -> str:
    order.fields("action", "total_quantity")
    order_type: str = order.field("order_type")
    order.fields("lmt_price", "aux_price", "tif", "oca_group", "account", "open_close", "origin", "order_ref")
    return order_type


def _advisor_to_exempt(order: Walk) -> None:
    order.fields("fa_group", "fa_method", "fa_percentage")
    if order.version < versions.FA_PROFILE_DESUPPORT:
        order.field("fa_profile")
    order.fields("model_code", "good_till_date", "rule_80a", "percent_offset", "settling_firm", "short_sale_slot")
    order.fields("designated_location", "exempt_code")


def _volatility(order: Walk, *, is_open: bool) -> None:
    order.fields("volatility", "volatility_type")
    has_delta_neutral = order.field("delta_neutral_order_type")
    order.field("delta_neutral_aux_price")
    if has_delta_neutral:
        order.field("delta_neutral_con_id")
        if is_open:
            order.fields("delta_neutral_settling_firm", "delta_neutral_clearing_account")
            order.fields("delta_neutral_clearing_intent", "delta_neutral_open_close")
        order.fields("delta_neutral_short_sale", "delta_neutral_short_sale_slot", "delta_neutral_designated_location")
    order.fields("continuous_update", "reference_price_type")


def _clearing_to_algo(order: Walk, contract: Walk) -> None:
    order.fields("clearing_account", "clearing_intent", "not_held")
    contract.field("delta_neutral", OPTIONAL_DELTA_NEUTRAL)
    sections.algo(order)
