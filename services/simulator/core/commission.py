"""Charge commissions per order, as IB's fixed schedules do.

A minimum is per order, so each part of an order pays the difference to what the order has paid so far.

Source: IB's published fixed pricing (US stocks 0.005 a share, minimum 1, maximum 1 % of trade value); regulatory fees
are left out.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from services.simulator.core.contracts import Instrument

_CENT_OF_CENT = Decimal("0.000001")


def order_commission(instrument: Instrument, quantity: Decimal, value: Decimal) -> Decimal:
    """Return the commission of an order that traded `quantity` for `value` (both positive) so far."""
    if quantity <= 0:
        return Decimal(0)
    fee = _fee(instrument, quantity, value)
    return fee.quantize(_CENT_OF_CENT, rounding=ROUND_HALF_UP)


def commission_currency(instrument: Instrument) -> str:
    """Return the currency in which the commission is charged."""
    return "USD" if instrument.sec_type == "CASH" else instrument.currency


def _fee(instrument: Instrument, quantity: Decimal, value: Decimal) -> Decimal:
    kind = instrument.sec_type
    if kind == "STK" and instrument.currency == "USD":
        return min(max(quantity * Decimal("0.005"), Decimal(1)), value * Decimal("0.01"))
    if kind == "STK":
        return max(value * Decimal("0.0005"), Decimal(3))
    if kind == "OPT":
        return max(quantity * Decimal("0.65"), Decimal(1))
    if kind == "FUT":
        return quantity * Decimal("2.25")
    if kind == "CASH":
        return Decimal(2) if value * Decimal("0.00002") < 2 else value * Decimal("0.00002")
    return max(value * Decimal("0.0018"), Decimal("1.75"))
