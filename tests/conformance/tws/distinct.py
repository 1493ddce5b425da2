"""Make messages in which every field has a value of its own, so that a value in the wrong field is seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from decimal import Decimal
from itertools import count
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from shared.tws import fields as wires
from shared.tws import responses as r
from shared.tws.contract import ComboLeg, DeltaNeutralContract, OrderComboLeg, TwsContract
from shared.tws.fields import Gate, Many, TagValue
from shared.tws.layout import Record
from shared.tws.order import (
    ExecutionCondition,
    MarginCondition,
    OrderAllocation,
    OrderState,
    PercentChangeCondition,
    PriceCondition,
    TimeCondition,
    TwsOrder,
    VolumeCondition,
)
from shared.tws.responses_market import TickByTickBidAsk, TickByTickLast, TickByTickMidPoint

GIVEN: dict[str, Any] = {
    # what a decoder parses rather than keeps
    "last_trade_date": "20261218", "time_zone_id": "US/Eastern", "yield_redemption_date": 20301115,
    "market_data_type": 3, "exec_id": "0000e1a7.5c46793a.01.01", "conjunction": "a", "tag": "tag", "is_more": True,
    "order_type": "LMT", "tick_attrib": 1, "sec_type": "STK", "hedge_type": "D",
}  # fmt: skip
_TEXTS = (wires.TEXT,)
_WHOLE = (wires.INT, wires.OPT_INT, wires.MAX_INT, wires.MAX_LONG)
_FLAGS = (wires.BOOL, wires.OPT_BOOL)
_FLOATS = (wires.FLOAT, wires.SIZE, wires.OPT_FLOAT, wires.MAX_FLOAT)


class Values:
    """A source of values, none of which comes twice."""

    def __init__(self) -> None:
        self._numbers: Iterator[int] = count(1001)

    def of_wire(self, wire: Any) -> Any:
        """Return a value for a wire."""
        number = next(self._numbers)
        if wire in _TEXTS:
            return f"t{number}"
        if wire in _WHOLE:
            return number
        if wire in _FLAGS:
            return True
        if wire is wires.SHARES:
            return float(number)
        if wire in _FLOATS:
            return number + 0.5
        if isinstance(wire, Record):
            return self.of_class(wire._cls, tuple(item[0] for item in wire._items))
        if isinstance(wire, Many):
            return (self.of_wire(wire.item), self.of_wire(wire.item))
        if wire in (wires.TAG_STRING, wires.TRAILING_OPTIONS):
            return (TagValue(f"t{number}", f"v{number}"),)
        return Decimal(number) + Decimal("0.25")

    def of_class(self, cls: type, only: tuple[str, ...] | None = None, **given: Any) -> Any:
        """Return an object of a class whose attributes are annotated with wires."""
        hints = get_type_hints(cls, include_extras=True)
        values: dict[str, Any] = {}
        for field in fields(cls):
            hint = hints[field.name]
            if (only and field.name not in only) or get_origin(hint) is not Annotated:
                continue
            wire = next(mark for mark in reversed(get_args(hint)[1:]) if not isinstance(mark, Gate))
            values[field.name] = GIVEN[field.name] if field.name in GIVEN else self.of_wire(wire)
        return cls(**values | given)

    def contract(self) -> TwsContract:
        """Return a contract with every field but legs."""
        made: TwsContract = self.of_class(TwsContract, strike=501.5, right="C")
        return replace(made, sec_id_type="", sec_id="", issuer_id="", combo_legs_description="")

    def combination(self) -> TwsContract:
        """Return a combination with two legs."""
        legs = (self.of_class(ComboLeg), self.of_class(ComboLeg))
        neutral = self.of_class(DeltaNeutralContract)
        return replace(
            self.contract(), sec_type="BAG", combo_legs=legs, delta_neutral=neutral, combo_legs_description="1|1,2|-1"
        )

    def order(self, order_type: str) -> TwsOrder:
        """Return an order with every field, conditions of every kind included."""
        kinds = (
            PriceCondition, TimeCondition, MarginCondition, ExecutionCondition, VolumeCondition, PercentChangeCondition
        )  # fmt: skip
        return self.of_class(
            TwsOrder,
            order_type=order_type,
            conditions=tuple(self.of_class(kind) for kind in kinds),
            algo_params=(TagValue("at", "av"),),
            smart_combo_routing_params=(TagValue("st", "sv"), TagValue("su", "sw")),
            order_combo_legs=(OrderComboLeg(Decimal("1.25")), OrderComboLeg(Decimal("2.75"))),
            delta_neutral_order_type="MKT",
            adjusted_order_type="STP",
        )

    def state(self) -> OrderState:
        """Return an order's state with every field."""
        shares = (self.of_class(OrderAllocation), self.of_class(OrderAllocation))
        return self.of_class(OrderState, allocations=shares)


def distinct() -> list[r.Response]:
    """Return one message of every class, and more where a class has several forms."""
    made: list[r.Response] = []
    for cls in r.RESPONSES.classes:
        values = Values()
        if cls is r.OpenOrder:
            for kind in ("LMT", "PEG BENCH"):
                made.append(r.OpenOrder(7, 3, 77, values.combination(), values.order(kind), values.state(), "alloc"))
        elif cls is r.CompletedOrder:
            extra = {"filled_quantity": Decimal("2.5"), "ref_futures_con_id": 12, "parent_perm_id": 88,
                     "auto_cancel_date": "acd", "shareholder": "holder", "imbalance_only": True,
                     "route_marketable_to_bbo": True}  # fmt: skip
            made += [
                r.CompletedOrder(77, values.combination(), values.order(kind), values.state(), **extra)  # type: ignore[arg-type]
                for kind in ("LMT", "PEG BENCH")
            ]
        elif cls is r.ContractDetails:
            made.append(_details(values, "STK"))
            made.append(_details(values, "FUND"))
        elif cls is r.BondContractDetails:
            made.append(_bond(values))
        elif cls is r.TickByTick:
            for kind_number, tick in (
                (1, TickByTickLast),
                (2, TickByTickLast),
                (3, TickByTickBidAsk),
                (4, TickByTickMidPoint),
            ):
                made += [r.TickByTick(9, kind_number, 1763892000, _tick(values, tick, mask)) for mask in _masks(tick)]
        elif cls in _HISTORICAL:
            row = _HISTORICAL[cls]
            made += [cls(9, (_tick(values, row, mask),), done=True) for mask in _masks(row)]
        else:
            made.append(values.of_class(cls, **_special(cls)))
    return made


_HISTORICAL: dict[Any, type] = {
    r.HistoricalTicks: r.HistoricalTick,
    r.HistoricalTicksBidAsk: r.HistoricalTickBidAsk,
    r.HistoricalTicksLast: r.HistoricalTickLast,
}


def _tick(values: Values, cls: type, given: dict[str, Any]) -> Any:
    return values.of_class(cls, None, **given)


def _masks(tick: type) -> list[dict[str, int]]:
    """Return each bit alone, so that two bits the wrong way round are seen."""
    return [{"mask": 1}, {"mask": 2}] if any(field.name == "mask" for field in fields(tick)) else [{}]


def _special(cls: type) -> dict[str, Any]:
    """Return what a class's decoders take in one form only."""
    if cls is r.TickPrice:
        return {"attr_mask": 5, "tick_type": 4}
    if cls is r.ExecDetails:
        return {"time": "20261123 10:00:00 America/New_York"}
    if cls in (r.TickByTick, r.RealTimeBar, r.CurrentTime):
        return {"time": 1763892000}
    if cls is r.FamilyCodes:
        return {"codes": (r.FamilyCode("DU1", "F1"), r.FamilyCode("DU2", "F2"))}
    if cls is r.HistoricalNews:
        return {"time": "2026-11-23 10:00:00.0"}
    return {}


def _details(values: Values, sec_type: str) -> r.ContractDetails:
    contract = replace(values.contract(), sec_type=sec_type, last_trade_date="20261218")
    fund = values.of_class(r.FundDetails, distribution_policy="N", asset_type="003")
    reasons = (values.of_class(r.IneligibilityReason), values.of_class(r.IneligibilityReason))
    return r.ContractDetails(
        5, contract, "20261218", "mn", 0.015, "ot", "ve", 7, 8, "long \u00e9", "cm", "in", "ca", "sc", "US/Eastern",
        "th", "lh", "er", Decimal(3), (TagValue("ISIN", "X1"), TagValue("CUSIP", "X2")), 6, "us", "ut", "mr",
        "20261219", "st", Decimal("0.0001"), Decimal("0.001"), Decimal("0.01"), "20261220",
        fund if sec_type == "FUND" else r.FundDetails(), reasons,
    )  # fmt: skip


def _bond(values: Values) -> r.BondContractDetails:
    contract = replace(
        values.contract(), sec_type="BOND", last_trade_date="20301115", strike=0.0, right="", multiplier="",
        primary_exchange="", local_symbol="",
    )  # fmt: skip
    return r.BondContractDetails(
        6, contract, "cus", 4.0, "20301115", "iss", "rat", "bt", "ct", True, True, True, "da", "mn", 0.015, "ot", "ve",
        "nod", "not", True, "notes", "long", "er", Decimal(3), (TagValue("ISIN", "X1"),), 6, "mr", Decimal("0.0001"),
        Decimal("0.001"), Decimal("0.01"), "US/Eastern", "th", "lh",
    )  # fmt: skip
