"""Describe contracts as TWS messages carry them: in twelve fields, in eleven, or with legs.

Source: ib-facts B.5 (C11), B.7 (C12, Legs).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from shared.tws.fields import BOOL, Int, Many, OptDecimal, Reader, Size, Text, Wire, Writer
from shared.tws.layout import Record


@dataclass(frozen=True, slots=True)
class ComboLeg:
    """One leg of a combination (secType BAG)."""

    con_id: Int = 0
    ratio: Int = 0
    action: Text = ""
    exchange: Text = ""
    open_close: Int = 0
    short_sale_slot: Int = 0
    designated_location: Text = ""
    exempt_code: Int = -1


@dataclass(frozen=True, slots=True)
class OrderComboLeg:
    """The price of one leg of a combination order."""

    price: OptDecimal = None


@dataclass(frozen=True, slots=True)
class DeltaNeutralContract:
    """The underlying of a delta-neutral combination."""

    con_id: Int = 0
    delta: Size = 0.0
    price: Size = 0.0


@dataclass(frozen=True, slots=True)
class TwsContract:
    """A contract as a message names it; which fields go over the wire depends on the message.

    `strike` is 0 for what has none. TWS sends `right` as "?" or "0" for what has none, clients as "".
    """

    con_id: Int = 0
    symbol: Text = ""
    sec_type: Text = ""
    last_trade_date: Text = ""
    """lastTradeDateOrContractMonth: yyyymmdd or yyyymm."""
    strike: Size = 0.0
    right: Text = ""
    multiplier: Text = ""
    exchange: Text = ""
    primary_exchange: Text = ""
    currency: Text = ""
    local_symbol: Text = ""
    trading_class: Text = ""
    sec_id_type: Text = ""
    sec_id: Text = ""
    issuer_id: Text = ""
    combo_legs_description: Text = ""
    combo_legs: tuple[ComboLeg, ...] = ()
    delta_neutral: DeltaNeutralContract | None = None


_HEAD = ("con_id", "symbol", "sec_type", "last_trade_date", "strike", "right", "multiplier")
_TAIL = ("currency", "local_symbol", "trading_class")

C11: Wire[TwsContract] = Record(TwsContract, (*_HEAD, "exchange", *_TAIL))
"""What responses carry, and exerciseOptions."""
C12: Wire[TwsContract] = Record(TwsContract, (*_HEAD, "exchange", "primary_exchange", *_TAIL))
"""What requests carry."""
C11_PRIMARY: Wire[TwsContract] = Record(TwsContract, (*_HEAD, "primary_exchange", *_TAIL))
"""What portfolioValue carries: the primary exchange in the exchange's place."""
C_SCANNER: Wire[TwsContract] = Record(TwsContract, (*_HEAD[:-1], "exchange", "currency", "local_symbol"))
C_FUNDAMENTAL: Wire[TwsContract] = Record(
    TwsContract, ("con_id", "symbol", "sec_type", "exchange", "primary_exchange", "currency", "local_symbol")
)

LEGS4: Wire[tuple[ComboLeg, ...]] = Many(Record(ComboLeg, ("con_id", "ratio", "action", "exchange")))
LEGS8: Wire[tuple[ComboLeg, ...]] = Many(Record(ComboLeg))
LEG_PRICES: Wire[tuple[OrderComboLeg, ...]] = Many(Record(OrderComboLeg))

_DELTA_NEUTRAL: Wire[DeltaNeutralContract] = Record(DeltaNeutralContract)


class OptionalDeltaNeutral:
    """The wire of a delta-neutral contract: a flag, and three fields if it is set."""

    def write(self, out: Writer, value: DeltaNeutralContract | None) -> None:
        """Append the flag, and the contract."""
        BOOL.write(out, value is not None)
        if value is not None:
            _DELTA_NEUTRAL.write(out, value)

    def read(self, src: Reader) -> DeltaNeutralContract | None:
        """Take the flag, and the contract."""
        return _DELTA_NEUTRAL.read(src) if BOOL.read(src) else None


OPTIONAL_DELTA_NEUTRAL: Wire[DeltaNeutralContract | None] = OptionalDeltaNeutral()

Contract11 = Annotated[TwsContract, C11]
Contract12 = Annotated[TwsContract, C12]
Contract11Primary = Annotated[TwsContract, C11_PRIMARY]
