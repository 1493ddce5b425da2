"""Hold the contracts that this exchange lists, and find them the way TWS does.

Invariants:
1. A conId names one instrument for good; it never depends on the seed.
2. `find` never guesses: several matches are returned as several, and the caller says that the name is ambiguous.

Known limits: the listed universe is small (`universe.py`); options exist for ten underlyings around their price.

Source: ib-facts B.5 (contractDetails), A.13 (market rules); conIds as IB publishes them for the well-known names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from shared.money import decimal_of
from shared.tws.contract import TwsContract

_ROUTES = {"CASH": "IDEALPRO", "CRYPTO": "PAXOS"}


@dataclass(frozen=True, slots=True)
class MarketRule:
    """Price increments of a market: from `low_edge` on, prices are multiples of `increment`."""

    rule_id: int
    increments: tuple[tuple[Decimal, Decimal], ...]
    as_floats: tuple[tuple[float, float], ...] = field(init=False, repr=False, compare=False)
    """The same as float64, for the tick path."""

    def __post_init__(self) -> None:
        floats = tuple((float(low_edge), float(increment)) for low_edge, increment in self.increments)
        object.__setattr__(self, "as_floats", floats)

    def tick_at(self, price: Decimal) -> Decimal:
        """Return the increment that applies at a price."""
        tick = self.increments[0][1]
        for low_edge, increment in self.increments:
            if abs(price) >= low_edge:
                tick = increment
        return tick


@dataclass(frozen=True, slots=True)
class BondTerms:
    """What a bond pays and until when; its maturity is the instrument's expiry."""

    cusip: str
    coupon: float
    issued: str
    ratings: str
    kind: str
    is_callable: bool = False


@dataclass(frozen=True, slots=True)
class Instrument:
    """One listed contract.

    `price` is where its synthetic price walks around, in `currency`; `volatility` is per year; `spread_ticks` is the
    usual bid-ask spread. `multiplier` is money per point and unit, "" on the wire where it is 1.
    """

    con_id: int
    symbol: str
    sec_type: str
    currency: str
    primary_exchange: str
    exchanges: tuple[str, ...]
    long_name: str
    rule: MarketRule
    price: float
    volatility: float = 0.25
    spread_ticks: float = 1.5
    size: int = 300
    local_symbol: str = ""
    trading_class: str = ""
    multiplier: Decimal = Decimal(1)
    expiry: str = ""
    strike: float = 0.0
    right: str = ""
    under_con_id: int = 0
    industry: str = ""
    category: str = ""
    subcategory: str = ""
    stock_type: str = ""
    isin: str = ""
    order_types: str = ""
    time_zone: str = "US/Eastern"
    calendar: str = "XNYS"
    initial_margin: Decimal = Decimal(0)
    """Per contract, for futures."""
    maintenance_margin: Decimal = Decimal(0)
    shares: Decimal = Decimal(0)
    """What one contract of an option delivers that a split has adjusted, 0 for its multiplier (`splits.py`)."""
    bond: BondTerms | None = None
    legs: tuple[tuple[Instrument, int], ...] = ()
    """Of a combination: each leg, and how many of it one combination buys (below 0: sells)."""

    @property
    def min_tick(self) -> Decimal:
        """Return the smallest increment anywhere."""
        return min(increment for _, increment in self.rule.increments)

    @property
    def deliverable(self) -> Decimal:
        """Return how many shares one contract of an option delivers."""
        return self.shares or self.multiplier

    @property
    def route(self) -> str:
        """Return the exchange that a contract without one is sent to."""
        return "SMART" if "SMART" in self.exchanges else _ROUTES.get(self.sec_type, self.exchanges[0])

    @property
    def can_trade(self) -> bool:
        """Return whether orders are accepted (indices have prices only)."""
        return self.sec_type != "IND"

    @property
    def is_margined(self) -> bool:
        """Return whether holding it costs margin instead of money (futures)."""
        return self.sec_type == "FUT"

    def contract(self, exchange: str = "") -> TwsContract:
        """Return the contract as messages carry it, on `exchange` or its usual route."""
        return TwsContract(
            con_id=self.con_id,
            symbol=self.symbol,
            sec_type=self.sec_type,
            last_trade_date=self.expiry,
            strike=self.strike,
            right=self.right,
            multiplier=""
            if self.sec_type in ("STK", "CASH", "IND", "CRYPTO", "BAG", "BOND")
            else format(self.multiplier, "f"),
            exchange=exchange or self.route,
            primary_exchange=self.primary_exchange,
            currency=self.currency,
            local_symbol=self.local_symbol or self.symbol,
            trading_class=self.trading_class or self.symbol,
        )


@dataclass(frozen=True, slots=True)
class Listing:
    """An instrument on the exchange that was asked for."""

    instrument: Instrument
    exchange: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """Why a contract cannot be used; `text` is what TWS says with error 200."""

    text: str


NO_DEFINITION = "No security definition has been found for the request"


class Universe:
    """All listed instruments."""

    def __init__(self, instruments: Iterable[Instrument], rules: Iterable[MarketRule]) -> None:
        self._by_id: dict[int, Instrument] = {}
        self._combos: dict[int, Instrument] = {}
        self.combine: Callable[[Universe, TwsContract], Listing | NotFound] = lambda *_: NotFound(NO_DEFINITION)
        """Makes combinations; set by who offers them (`combos.py`)."""
        self._by_symbol: dict[str, list[Instrument]] = {}
        self._by_kind: dict[tuple[str, str], list[Instrument]] = {}
        for instrument in instruments:
            if instrument.con_id in self._by_id:
                raise ValueError(f"conId {instrument.con_id} is listed twice")
            self._by_id[instrument.con_id] = instrument
            self._index(instrument)
        self.rules = {rule.rule_id: rule for rule in rules}

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_id.values())

    def by_id(self, con_id: int) -> Instrument | None:
        """Return the instrument with this conId."""
        return self._by_id.get(con_id) or self._combos.get(con_id)

    def add_combo(self, combo: Instrument, most: int) -> bool:
        """List a combination under its conId; False if there are `most` of them."""
        if len(self._combos) >= most:
            return False
        self._combos[combo.con_id] = combo
        return True

    def by_symbol(self, symbol: str, sec_type: str = "STK", currency: str = "USD") -> Instrument | None:
        """Return the first instrument of this symbol, type and currency."""
        for instrument in self._by_symbol.get(symbol, []):
            if instrument.sec_type == sec_type and instrument.currency == currency:
                return instrument
        return None

    def find(self, wanted: TwsContract) -> list[Listing]:
        """Return every listing that the description fits, in listing order.

        A description without conId and without exchange means every exchange, as at TWS.
        """
        exchange = wanted.exchange.upper()
        if wanted.con_id > 0:
            instrument = self._by_id.get(wanted.con_id)
            if instrument is None or (exchange and exchange not in instrument.exchanges):
                return []
            return [Listing(instrument, exchange or instrument.route)]
        if wanted.sec_id:
            found = [i for i in self._by_id.values() if _has_number(i, wanted.sec_id_type, wanted.sec_id)]
        else:
            found = self._candidates(wanted)
        listings: list[Listing] = []
        for instrument in found:
            if not _fits(instrument, wanted):
                continue
            if exchange:
                if exchange in instrument.exchanges:
                    listings.append(Listing(instrument, exchange))
            else:
                listings.extend(Listing(instrument, each) for each in instrument.exchanges)
        return listings

    def resolve(self, wanted: TwsContract) -> Listing | NotFound:
        """Return the one listing for an order or a data request, or why there is none."""
        if wanted.sec_type == "BAG":
            return self.combine(self, wanted)
        found = self.find(wanted)
        ids = {listing.instrument.con_id: listing for listing in found}
        if not ids:
            return NotFound(NO_DEFINITION)
        if len(ids) > 1:
            name = wanted.local_symbol or wanted.symbol
            return NotFound(f"The contract description specified for {name} is ambiguous.")
        listing = next(iter(ids.values()))
        return Listing(listing.instrument, wanted.exchange.upper() or listing.instrument.route)

    def named(self, text: str) -> Instrument:
        """Return the instrument that a person means: a conId, a stock's symbol, or a local symbol like EUR.USD.

        Raises:
            ValueError: there is none.
        """
        wanted = text.strip()
        found = self.by_id(int(wanted)) if wanted.isdigit() else self.by_symbol(wanted.upper())
        if found is None:
            found = next((each for each in self._by_id.values() if each.local_symbol == wanted.upper()), None)
        if found is None:
            raise ValueError(f"{text!r} is not listed here")
        return found

    def replace(self, instrument: Instrument) -> None:
        """List an instrument under a new description; its conId stays. Combinations of it must be asked for anew."""
        old = self._by_id[instrument.con_id]
        self._by_symbol[old.symbol].remove(old)
        self._by_kind[(old.symbol, old.sec_type)].remove(old)
        self._by_id[instrument.con_id] = instrument
        self._index(instrument)
        for combo in list(self._combos.values()):
            if any(leg.con_id == instrument.con_id for leg, _ in combo.legs):
                del self._combos[combo.con_id]

    def _index(self, instrument: Instrument) -> None:
        self._by_symbol.setdefault(instrument.symbol, []).append(instrument)
        self._by_kind.setdefault((instrument.symbol, instrument.sec_type), []).append(instrument)

    def matching(self, pattern: str, limit: int = 16) -> list[Instrument]:
        """Return stocks and indices whose symbol starts with `pattern` or whose name contains it."""
        upper = pattern.strip().upper()
        if not upper:
            return []
        kinds = ("STK", "IND")
        first = [i for i in self._by_id.values() if i.sec_type in kinds and i.symbol.startswith(upper)]
        named = [
            i for i in self._by_id.values() if i.sec_type in kinds and i not in first and upper in i.long_name.upper()
        ]
        first.sort(key=lambda i: (len(i.symbol), i.symbol))
        return (first + named)[:limit]

    def derivatives(self, con_id: int) -> list[Instrument]:
        """Return the listed options of an underlying."""
        return [i for i in self._by_id.values() if i.under_con_id == con_id and i.sec_type == "OPT"]

    def _candidates(self, wanted: TwsContract) -> list[Instrument]:
        if wanted.sec_type == "BOND" and wanted.symbol:  # a bond is asked for by its CUSIP or its issuer
            name = wanted.symbol.upper()
            return [i for i in self._by_id.values() if i.bond is not None and name in (i.bond.cusip, i.symbol)]
        if wanted.symbol and wanted.sec_type:
            return self._by_kind.get((wanted.symbol.upper(), wanted.sec_type), [])
        if wanted.symbol:
            return self._by_symbol.get(wanted.symbol.upper(), [])
        if wanted.local_symbol:
            return [i for i in self._by_id.values() if (i.local_symbol or i.symbol) == wanted.local_symbol]
        return []


def _has_number(instrument: Instrument, kind: str, number: str) -> bool:
    if kind == "CUSIP":
        return instrument.bond is not None and instrument.bond.cusip == number
    return kind == "ISIN" and instrument.isin == number


def _fits(instrument: Instrument, wanted: TwsContract) -> bool:
    right = {"CALL": "C", "PUT": "P", "?": "", "0": ""}.get(wanted.right.upper(), wanted.right.upper())
    return (
        (not wanted.sec_type or wanted.sec_type == instrument.sec_type)
        and (not wanted.currency or wanted.currency == instrument.currency)
        and (not wanted.primary_exchange or wanted.primary_exchange == instrument.primary_exchange)
        and (not wanted.local_symbol or wanted.local_symbol == (instrument.local_symbol or instrument.symbol))
        and (not wanted.trading_class or wanted.trading_class == (instrument.trading_class or instrument.symbol))
        and instrument.expiry.startswith(wanted.last_trade_date.split(" ")[0])
        and (not wanted.strike or wanted.strike == instrument.strike)
        and (not right or right == instrument.right)
        and (not wanted.multiplier or instrument.sec_type == "STK" or _is_multiplier(wanted.multiplier, instrument))
    )


def _is_multiplier(text: str, instrument: Instrument) -> bool:
    try:
        return decimal_of(text) == instrument.multiplier
    except ValueError:
        return False
