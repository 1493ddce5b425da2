"""Hypothesis strategies for every TWS message, derived from the wires that the classes are annotated with."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from shared.tws import fields as wires
from shared.tws.contract import ComboLeg, DeltaNeutralContract, OrderComboLeg, TwsContract
from shared.tws.fields import Gate, Many, TagValue
from shared.tws.layout import Record
from shared.tws.open_order import CompletedOrder, OpenOrder
from shared.tws.order import (
    ExecutionCondition,
    MarginCondition,
    OrderState,
    PercentChangeCondition,
    PriceCondition,
    TimeCondition,
    TwsOrder,
    VolumeCondition,
)
from shared.tws.place_order import PlaceOrder
from shared.tws.requests_account import ReqExecutions
from shared.tws.requests_data import ReqContractDetails, ReqHistoricalData, ReqMktData
from shared.tws.responses_contract import BondContractDetails, ContractDetails, FundDetails, IneligibilityReason
from shared.tws.responses_market import TickByTick, TickByTickBidAsk, TickByTickLast, TickByTickMidPoint

VERSIONS = (
    157, 159, 160, 162, 163, 164, 166, 169, 170, 176, 177, 178, 179, 180, 182, 183, 184, 185, 186, 190, 191, 192, 193,
    194, 195, 196, 197, 198, 199, 200,
)  # fmt: skip

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
ints = st.integers(-(2**31) + 1, 2**31 - 2)
UNSET = frozenset({2**31 - 1, -(2**31)})
"""Whole numbers that TWS writes for "not set", wherever one stands: no size is ever one of them."""


def is_set(value: Any) -> bool:
    return value not in UNSET


floats = st.floats(-1e12, 1e12, allow_nan=False).filter(is_set)
decimals = st.decimals(-(10**9), 10**9, allow_nan=False, places=4).filter(is_set)
flags = st.booleans()
tags = st.text("abcXYZ019", min_size=1, max_size=5)
tag_values = st.lists(st.builds(TagValue, tags, tags), max_size=3).map(tuple)

_BY_WIRE: dict[int, st.SearchStrategy[Any]] = {
    id(wires.INT): ints,
    id(wires.OPT_INT): st.none() | ints,
    id(wires.MAX_INT): st.none() | ints,
    id(wires.MAX_LONG): st.none() | ints,
    id(wires.BOOL): flags,
    id(wires.OPT_BOOL): st.none() | flags,
    id(wires.FLOAT): floats,
    id(wires.SIZE): floats,
    id(wires.SHARES): st.integers(0, 10**12).filter(is_set).map(float),
    id(wires.OPT_FLOAT): st.none() | floats,
    id(wires.MAX_FLOAT): st.none() | floats,
    id(wires.DECIMAL): decimals,
    id(wires.OPT_DECIMAL): st.none() | decimals,
    id(wires.MAX_DECIMAL): st.none() | decimals,
    id(wires.OFFSET): st.none() | decimals | st.just(wires.INFINITE),
    id(wires.TEXT): texts,
    id(wires.TAG_STRING): tag_values,
    id(wires.TRAILING_OPTIONS): tag_values,
}


def of_wire(wire: Any, version: int) -> st.SearchStrategy[Any]:
    if isinstance(wire, Record):
        return of_record(wire._cls, version, tuple(item[0] for item in wire._items))
    if isinstance(wire, Many):
        return st.lists(of_wire(wire.item, version), max_size=3).map(tuple)
    return _BY_WIRE[id(wire)]


def of_record(cls: type, version: int, only: tuple[str, ...] | None = None) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls, include_extras=True)
    parts: dict[str, st.SearchStrategy[Any]] = {}
    for field in fields(cls):
        hint = hints[field.name]
        if (only and field.name not in only) or get_origin(hint) is not Annotated:
            continue
        marks = get_args(hint)[1:]
        gate = next((mark for mark in marks if isinstance(mark, Gate)), Gate())
        if gate.since <= version < gate.until:
            wire = next(mark for mark in reversed(marks) if not isinstance(mark, Gate))
            parts[field.name] = of_wire(wire, version)
        else:
            assert field.default is not MISSING
    return st.builds(cls, **parts)


def contracts(version: int) -> st.SearchStrategy[TwsContract]:
    simple = of_record(TwsContract, version)
    combination = st.builds(
        lambda base, legs, neutral: _with(base, sec_type="BAG", combo_legs=legs, delta_neutral=neutral),
        simple,
        st.lists(of_record(ComboLeg, version), max_size=3).map(tuple),
        st.none() | of_record(DeltaNeutralContract, version),
    )
    return simple.map(lambda c: _with(c, exchange="IBKRATS")) | simple | combination


def orders(version: int) -> st.SearchStrategy[TwsOrder]:
    conditions: st.SearchStrategy[Any] = st.one_of(
        [of_record(cls, version)
        for cls in (
            PriceCondition, TimeCondition, MarginCondition, ExecutionCondition, VolumeCondition, PercentChangeCondition
        )]
    )  # fmt: skip
    types = ("LMT", "MKT", "PEG BENCH", "PEG BEST", "PEGBEST", "PEG MID", "STP")
    return st.builds(
        lambda base, order_type, conds, params, routing, prices: _with(
            base, order_type=order_type, conditions=conds, algo_params=params, smart_combo_routing_params=routing,
            order_combo_legs=prices,
        ),
        of_record(TwsOrder, version),
        st.sampled_from(types),
        st.lists(conditions, max_size=3).map(tuple),
        tag_values,
        tag_values,
        st.lists(of_record(OrderComboLeg, version), max_size=2).map(tuple),
    )  # fmt: skip


def _with(obj: Any, **changes: Any) -> Any:
    return type(obj)(**{field.name: getattr(obj, field.name) for field in fields(obj)} | changes)


def _loose(cls: type, version: int, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    by_kind: dict[str, st.SearchStrategy[Any]] = {
        "int": ints, "str": texts, "bool": flags, "float": floats, "Decimal": decimals,
        "Decimal | None": st.none() | decimals, "tuple[TagValue, ...]": tag_values, "int | None": st.none() | ints,
        "tuple[int, ...]": st.lists(ints, max_size=3).map(tuple), "FundDetails": of_record(FundDetails, version),
        "tuple[IneligibilityReason, ...]": st.lists(of_record(IneligibilityReason, version), max_size=2).map(tuple),
    }  # fmt: skip
    hints = cls.__annotations__
    parts = {name: by_kind[kind] for name, kind in hints.items() if kind in by_kind}
    return st.builds(cls, **parts | given)


def of_message(cls: type, version: int) -> st.SearchStrategy[Any]:
    """Return a strategy for a message; what its layout leaves out may be set, so compare encodings, not objects."""
    contract, order, state = contracts(version), orders(version), of_record(OrderState, version)
    if cls is PlaceOrder:
        return st.builds(PlaceOrder, ints, contract, order)
    if cls is OpenOrder:
        return st.builds(OpenOrder, ints, ints, ints, contract, order, state, texts)
    if cls is CompletedOrder:
        return st.builds(CompletedOrder, ints, contract, order, state, filled_quantity=decimals, shareholder=texts)
    if cls in (ReqMktData, ReqHistoricalData, ReqContractDetails, ContractDetails, BondContractDetails):
        return _loose(cls, version, contract=contract)
    if cls is ReqExecutions:
        return _loose(cls, version)
    if cls is TickByTick:
        ticks = (
            (st.sampled_from([1, 2]), TickByTickLast), (st.just(3), TickByTickBidAsk), (st.just(4), TickByTickMidPoint)
        )  # fmt: skip
        return st.one_of([st.builds(TickByTick, ints, kind, ints, of_record(tick, version)) for kind, tick in ticks])
    return of_record(cls, version)


SELF_LAID_OUT = {
    PlaceOrder, OpenOrder, CompletedOrder, ReqMktData, ReqHistoricalData, ReqContractDetails, ContractDetails,
    BondContractDetails, ReqExecutions,
}  # fmt: skip
