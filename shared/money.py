"""Exact prices and quantities, and the one formula for money.

Orders, fills and positions use `Decimal`; ticks are float64 and become Decimal where they meet an order.
Money is quantity x price x multiplier / price magnifier x exchange rate into the account's base currency; what is
unknown in that product refuses entries, it is never 1 (architecture §2).
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation

ZERO = Decimal(0)


def decimal_of(value: float | int | str | Decimal) -> Decimal:
    """Return `value` as a finite Decimal; a float through its shortest text, so 0.1 becomes 0.1.

    Raises:
        ValueError: not a number, or not finite.
    """
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation as e:
        raise ValueError(f"{value!r} is not a number") from e
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    return number


def round_to_tick(price: Decimal, tick: Decimal, *, side: str | None = None) -> Decimal:
    """Round `price` to a multiple of `tick`, on the passive side if `side` is given (BUY down, SELL up).

    Raises:
        ValueError: `tick` is not positive.
    """
    if tick <= 0:
        raise ValueError(f"a tick size must be positive, got {tick}")
    mode = {"BUY": ROUND_FLOOR, "SELL": ROUND_CEILING}.get(side or "", ROUND_HALF_EVEN)
    return (price / tick).quantize(Decimal(1), rounding=mode) * tick


def is_on_tick(price: Decimal, tick: Decimal) -> bool:
    """Return whether `price` is a multiple of `tick`."""
    return tick > 0 and price % tick == 0


def notional(
    quantity: Decimal,
    price: Decimal | None,
    multiplier: Decimal | None,
    magnifier: Decimal | None,
    rate: Decimal | None,
) -> Decimal | None:
    """Return signed money in base currency, or None when a factor is unknown.

    Args:
        quantity: signed shares or contracts.
        price: in the contract's currency, as quoted.
        multiplier: money per point.
        magnifier: IB's priceMagnifier (100 where a price is quoted in pence).
        rate: base currency per unit of the contract's currency.
    """
    if price is None or multiplier is None or magnifier is None or rate is None or magnifier == 0:
        return None
    return quantity * price * multiplier / magnifier * rate
