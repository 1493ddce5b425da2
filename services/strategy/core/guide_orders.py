"""The guide's words for orders: `order_type`, `side` and the prices that go with each type."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TypeVar

from services.strategy.core.ordering import Number
from shared.errors import BadInput

W = TypeVar("W", bound=StrEnum)
PRICES: Mapping[str, tuple[str, ...]] = {
    "market": (),
    "limit": ("limit_price",),
    "stop": ("stop_price",),
    "stop_limit": ("limit_price", "stop_price"),
    "bracket": (),
}
"""Which prices each `order_type` needs; a bracket's entry is at its `limit_price`, or at the market."""


def checked_prices(order_type: str, prices: Mapping[str, Number | None]) -> dict[str, Decimal]:
    """Return the prices that were given, by name.

    Raises:
        BadInput: there is no such type, or it takes others; the sentence says which argument.
    """
    kind = str(order_type).strip().lower().replace(" ", "_").replace("-", "_")
    if kind not in PRICES:
        raise BadInput(f"order_type {order_type!r}: choose from {', '.join(PRICES)}")
    given = {name: positive(name, value) for name, value in prices.items() if value is not None}
    missing = [name for name in PRICES[kind] if name not in given]
    if missing:
        raise BadInput(f"a {kind} order needs {' and '.join(missing)}")
    exits = {"take_profit", "stop_loss"}
    allowed = {*PRICES[kind], *({"limit_price"} | exits if kind == "bracket" else ())}
    if given.keys() - allowed:
        raise BadInput(f"a {kind} order takes no {' or '.join(sorted(given.keys() - allowed))}")
    if kind == "bracket" and not given.keys() & exits:
        raise BadInput("a bracket order needs take_profit, stop_loss or both")
    return given


def one_of(words: type[W], name: str, value: str) -> W:
    """Return the word of an enumeration that somebody wrote in any case.

    Raises:
        BadInput: it is none.
    """
    try:
        return words(str(value).strip().upper())
    except ValueError as e:
        raise BadInput(f"{name} {value!r}: choose from {', '.join(word.value for word in words)}") from e


def positive(name: str, value: Number) -> Decimal:
    """Return a positive number.

    Raises:
        BadInput: it is none.
    """
    try:
        found = Decimal(str(value))
    except InvalidOperation as e:
        raise BadInput(f"{name} {value!r} is no number") from e
    if not found.is_finite() or found <= 0:
        raise BadInput(f"{name} {value!r} has to be a positive number")
    whole = found.to_integral_value()
    return whole if found == whole else found  # shown as 10 shares, not as 10.0
