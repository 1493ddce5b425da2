"""Attributes written together look as they do one by one, whether they have their default or not."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from typing import Any

import pytest

from shared.tws import open_order, place_order
from shared.tws.fields import TEXT, Scalar, Writer
from shared.tws.order import OrderState, TwsOrder, wires_of
from shared.tws.order_walk import Wires, WriteWalk

SETS: dict[str, tuple[Wires, object]] = {
    "what clients send": (place_order.ORDER_WIRES, TwsOrder()),
    "what TWS shows": (open_order.ORDER_WIRES, TwsOrder()),
    "a state": (wires_of(OrderState), OrderState()),
}
OTHER_VALUES: tuple[Any, ...] = (
    None,
    "",
    "0",
    "x",
    False,
    True,
    0,
    1,
    Decimal(0),
    Decimal("0.00"),
    Decimal("1.50"),
    0.0,
)


def plain_names(wires: Wires) -> tuple[str, ...]:
    return tuple(name for name, wire in wires.items() if isinstance(wire, Scalar) or wire is TEXT)


def one_by_one(wires: Wires, obj: object, names: tuple[str, ...]) -> list[str]:
    out = Writer(176)
    walk = WriteWalk(out, obj, wires)
    for name in names:
        walk.field(name)
    return out.parts


def together(wires: Wires, obj: object, names: tuple[str, ...]) -> list[str]:
    out = Writer(176)
    WriteWalk(out, obj, wires).fields(*names)
    return out.parts


@pytest.mark.parametrize("name", SETS)
def test_defaults_are_written_as_one_by_one(name: str) -> None:
    wires, obj = SETS[name]
    names = plain_names(wires)
    assert len(names) > 15
    assert together(wires, obj, names) == one_by_one(wires, obj, names)
    for single in names:
        assert together(wires, obj, (single,)) == one_by_one(wires, obj, (single,))


@pytest.mark.parametrize("name", SETS)
def test_any_other_value_is_written_as_one_by_one(name: str) -> None:
    """A value that is equal to the default and looks different, such as 0.00 and 0, keeps its look."""
    wires, obj = SETS[name]
    names = plain_names(wires)
    usual = {field.name: getattr(obj, field.name) for field in fields(obj)}  # type: ignore[arg-type]
    for changed in names:
        kind = type(usual[changed])
        for value in OTHER_VALUES:
            if value is not None and usual[changed] is not None and type(value) is not kind:
                continue
            holder = type("Holder", (), {**usual, changed: value})
            try:
                expected = one_by_one(wires, holder, names)
            except (ValueError, TypeError, AttributeError):
                continue  # no value of this attribute
            assert together(wires, holder, names) == expected, (changed, value)
