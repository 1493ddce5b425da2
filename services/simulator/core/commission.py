"""Charge commissions per order, as IB's fixed and tiered schedules do.

A minimum is per order, so each part of an order pays the difference to what the order has paid so far.

Source: IB's published pricing. Fixed: US stocks 0.005 a share, minimum 1, maximum 1 % of trade value. Tiered, lowest
volume: 0.0035 a share, minimum 0.35, and clearing; exchange fees and rebates and regulatory fees are left out of both.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from services.simulator.core.contracts import Instrument

_CENT_OF_CENT = Decimal("0.000001")
_CLEARING = Decimal("0.0002")


def order_commission(
    instrument: Instrument, quantity: Decimal, value: Decimal, *, schedule: str = "fixed", rate: Decimal | None = None
) -> Decimal:
    """Return the commission of an order that traded `quantity` for `value` (both positive) so far.

    With a `rate` it is that fraction of the value, whatever the schedule.
    """
    if quantity <= 0:
        return Decimal(0)
    if rate is not None:
        fee = value * rate
    else:
        fee = _tiered(instrument, quantity, value) if schedule == "tiered" else _fixed(instrument, quantity, value)
    return fee.quantize(_CENT_OF_CENT, rounding=ROUND_HALF_UP)


def commission_currency(instrument: Instrument) -> str:
    """Return the currency in which the commission is charged."""
    return "USD" if instrument.sec_type == "CASH" else instrument.currency


def _fixed(instrument: Instrument, quantity: Decimal, value: Decimal) -> Decimal:
    kind = instrument.sec_type
    if kind == "STK" and instrument.currency == "USD":
        return min(max(quantity * Decimal("0.005"), Decimal(1)), value * Decimal("0.01"))
    if kind == "STK":
        return max(value * Decimal("0.0005"), Decimal(3))
    if kind == "OPT":
        return max(quantity * Decimal("0.65"), Decimal(1))
    if kind == "FUT":
        return quantity * Decimal("2.25")
    if kind == "BOND":
        return max(value * Decimal("0.001") if quantity <= 10 else value * Decimal("0.00025"), Decimal(1))
    if kind == "CASH":
        return Decimal(2) if value * Decimal("0.00002") < 2 else value * Decimal("0.00002")
    return max(value * Decimal("0.0018"), Decimal("1.75"))


def _tiered(instrument: Instrument, quantity: Decimal, value: Decimal) -> Decimal:
    kind = instrument.sec_type
    if kind == "STK" and instrument.currency == "USD":
        own = min(max(quantity * Decimal("0.0035"), Decimal("0.35")), value * Decimal("0.01"))
        return own + quantity * _CLEARING
    if kind == "STK":
        return max(value * Decimal("0.0005"), Decimal("1.25"))
    if kind == "OPT":
        premium = value / quantity / instrument.multiplier
        each = Decimal("0.25") if premium < Decimal("0.05") else Decimal("0.50")
        return max(quantity * (Decimal("0.65") if premium >= Decimal("0.10") else each), Decimal(1))
    return _fixed(instrument, quantity, value)
