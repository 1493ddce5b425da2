"""Read and write contract names: one grammar in the CLI, TOML, API and logs.

```
AAPL                      a stock in US dollars, routed SMART
AAPL@NASDAQ               the same, listed on NASDAQ (the primary exchange; the route stays SMART)
SAP@IBIS:EUR              a stock listed on IBIS, in euro
FX:EUR.USD                a currency pair (IDEALPRO)
FUT:ES@CME:202612         a future of one month, or of one day as YYYYMMDD
OPT:SPY:20261218:500C     an option: underlying, expiry, strike and C or P (SMART); @EXCHANGE and :CURRENCY may follow
IND:SPX@CBOE              an index
CRYPTO:BTC.USD@PAXOS      a crypto currency
#265598                   a contract by IB's conId
```

Limits: combinations, bonds, funds and warrants are named by conId only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from shared.errors import UnknownContract
from shared.ids import ConId

_SYMBOL = r"[A-Z0-9][A-Z0-9./\- ]*?"
_EXCHANGE = r"[A-Z][A-Z0-9.]*"
_CURRENCY = r"[A-Z]{3}"
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("ID", re.compile(r"#(?P<con_id>[1-9]\d*)")),
    ("CASH", re.compile(rf"FX:(?P<symbol>{_CURRENCY})\.(?P<currency>{_CURRENCY})(?:@(?P<exchange>{_EXCHANGE}))?")),
    (
        "FUT",
        re.compile(
            rf"FUT:(?P<symbol>{_SYMBOL})@(?P<exchange>{_EXCHANGE}):(?P<expiry>\d{{6}}(?:\d\d)?)(?::(?P<currency>{_CURRENCY}))?"
        ),
    ),
    (
        "OPT",
        re.compile(
            rf"OPT:(?P<symbol>{_SYMBOL})(?:@(?P<exchange>{_EXCHANGE}))?:(?P<expiry>\d{{8}}):"
            rf"(?P<strike>\d+(?:\.\d+)?)(?P<right>[CP])(?::(?P<currency>{_CURRENCY}))?"
        ),
    ),
    ("IND", re.compile(rf"IND:(?P<symbol>{_SYMBOL})@(?P<exchange>{_EXCHANGE})(?::(?P<currency>{_CURRENCY}))?")),
    (
        "CRYPTO",
        re.compile(rf"CRYPTO:(?P<symbol>[A-Z0-9]+)\.(?P<currency>{_CURRENCY})(?:@(?P<exchange>{_EXCHANGE}))?"),
    ),
    (
        "STK",
        re.compile(rf"(?:STK:)?(?P<symbol>{_SYMBOL})(?:@(?P<exchange>{_EXCHANGE}))?(?::(?P<currency>{_CURRENCY}))?"),
    ),
)
_DEFAULT_ROUTE = {"STK": "SMART", "OPT": "SMART", "CASH": "IDEALPRO", "CRYPTO": "PAXOS"}


@dataclass(frozen=True, slots=True)
class ContractName:
    """A parsed name: what to ask the broker for, not yet a contract.

    `exchange` is where the order goes; `primary_exchange` is the listing that a stock's name may carry.
    `expiry` is YYYYMM or YYYYMMDD. With `con_id` set, the other fields are empty.
    """

    sec_type: str
    symbol: str = ""
    exchange: str = ""
    primary_exchange: str = ""
    currency: str = "USD"
    expiry: str = ""
    strike: Decimal | None = None
    right: str = ""
    con_id: ConId | None = None

    def __str__(self) -> str:
        """Return the name in the grammar; `parse_contract` reads it back to an equal value."""
        if self.con_id is not None:
            return f"#{self.con_id}"
        foreign = f":{self.currency}" if self.currency != "USD" else ""
        if self.sec_type == "STK":
            listing = f"@{self.primary_exchange}" if self.primary_exchange else ""
            return f"{self.symbol}{listing}{foreign}"
        if self.sec_type in ("CASH", "CRYPTO"):
            prefix = "FX" if self.sec_type == "CASH" else "CRYPTO"
            route = f"@{self.exchange}" if self.exchange != _DEFAULT_ROUTE[self.sec_type] else ""
            return f"{prefix}:{self.symbol}.{self.currency}{route}"
        if self.sec_type == "FUT":
            return f"FUT:{self.symbol}@{self.exchange}:{self.expiry}{foreign}"
        if self.sec_type == "OPT":
            route = f"@{self.exchange}" if self.exchange != "SMART" else ""
            return f"OPT:{self.symbol}{route}:{self.expiry}:{self.strike}{self.right}{foreign}"
        return f"IND:{self.symbol}@{self.exchange}{foreign}"


def parse_contract(text: str) -> ContractName:
    """Parse a contract name.

    Raises:
        UnknownContract: `text` is not in the grammar; the sentence shows how names are written.
    """
    cleaned = text.strip().upper()
    for sec_type, pattern in _PATTERNS:
        match = pattern.fullmatch(cleaned)
        if match is not None:
            return _name_of(sec_type, match.groupdict())
    raise UnknownContract(
        f"{text!r} is not a contract name: write AAPL, AAPL@NASDAQ, SAP@IBIS:EUR, FX:EUR.USD, FUT:ES@CME:202612, "
        "OPT:SPY:20261218:500C, IND:SPX@CBOE or #265598"
    )


def _name_of(sec_type: str, found: dict[str, str | None]) -> ContractName:
    if sec_type == "ID":
        return ContractName(sec_type="", currency="", con_id=ConId(int(found["con_id"] or 0)))
    named = found.get("exchange") or ""
    is_stock = sec_type == "STK"
    strike = found.get("strike")
    try:
        strike_price = Decimal(strike) if strike else None
    except InvalidOperation as e:  # pragma: no cover - the pattern admits digits only
        raise UnknownContract(f"{strike!r} is not a strike price") from e
    return ContractName(
        sec_type=sec_type,
        symbol=(found.get("symbol") or "").strip(),
        exchange="SMART" if is_stock else named or _DEFAULT_ROUTE.get(sec_type, ""),
        primary_exchange=named if is_stock and named != "SMART" else "",
        currency=found.get("currency") or "USD",
        expiry=found.get("expiry") or "",
        strike=strike_price,
        right=found.get("right") or "",
    )
