"""Keep the money, positions, profits and margins of one account.

Invariants, in each currency and without futures and currency pairs:
1. cash + cost of positions = deposits + realised profit. Costs include commissions, as IB's average cost does.
2. A position of zero has no cost.
3. Closing a position in parts realises the same profit as closing it at once, up to rounding of 1e-20.

The initial margin includes what working orders claim (`reserve.py`), so they lower the available funds.
Margins are simple: stocks 25 % long and 30 % short (IB's intraday Reg-T account), so that buying power is four times
the available funds; futures per contract; bought options are paid in full and lend nothing.

Source: ib-facts 0; tags as TWS sends them with account updates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

from services.simulator.core.commission import commission_currency
from services.simulator.core.contracts import Instrument

ZERO = Decimal(0)
LONG_MARGIN, SHORT_MARGIN = Decimal("0.25"), Decimal("0.30")
OVERNIGHT_MARGIN = Decimal("0.5")
_CENT = Decimal("0.01")
Rates = Callable[[str], Decimal]
"""Base currency per unit of a currency."""
Marks = Callable[[Instrument], Decimal]
"""The price a position is valued at."""


@dataclass(slots=True)
class Holding:
    """A position: signed quantity, its signed cost in the contract's currency, and profit realised on it."""

    instrument: Instrument
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realized: Decimal = ZERO
    realized_today: Decimal = ZERO

    @property
    def average_cost(self) -> Decimal:
        """Return the cost per unit as IB states it: with commission and, for derivatives, times the multiplier."""
        return self.cost / self.quantity if self.quantity else ZERO

    def value(self, mark: Decimal) -> Decimal:
        """Return the signed market value."""
        return self.quantity * mark * self.instrument.multiplier

    def unrealized(self, mark: Decimal) -> Decimal:
        """Return the profit that closing at `mark` would realise before commission."""
        return self.value(mark) - self.cost


@dataclass(frozen=True, slots=True)
class Summary:
    """An account's state in its base currency."""

    net_liquidation: Decimal
    total_cash: Decimal
    gross_position_value: Decimal
    stock_value: Decimal
    option_value: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    equity_with_loan: Decimal
    regt_margin: Decimal
    unrealized: Decimal
    realized: Decimal

    @property
    def available_funds(self) -> Decimal:
        """Return what new positions may use as initial margin."""
        return self.equity_with_loan - self.initial_margin

    @property
    def excess_liquidity(self) -> Decimal:
        """Return the distance to a liquidation."""
        return self.equity_with_loan - self.maintenance_margin

    @property
    def buying_power(self) -> Decimal:
        """Return how much stock could be bought now."""
        return max(ZERO, self.available_funds * 4)


@dataclass(slots=True)
class CurrencyPart:
    """What an account has in one currency, beside cash."""

    stock: Decimal = ZERO
    option: Decimal = ZERO
    future: Decimal = ZERO
    unrealized: Decimal = ZERO
    realized: Decimal = ZERO


@dataclass
class Account:
    """One account."""

    name: str
    base: str = "USD"
    cash: dict[str, Decimal] = field(default_factory=dict)
    holdings: dict[int, Holding] = field(default_factory=dict)
    commissions: Decimal = ZERO
    previous_equity: Decimal = ZERO
    accrued_dividend: Decimal = ZERO
    """Dividends that are due but not paid yet, in the base currency."""

    def deposit(self, amount: Decimal, currency: str) -> None:
        """Add money."""
        self.cash[currency] = self.cash.get(currency, ZERO) + amount

    def quantity(self, con_id: int) -> Decimal:
        """Return the signed position in a contract."""
        holding = self.holdings.get(con_id)
        return holding.quantity if holding else ZERO

    def apply_fill(
        self, instrument: Instrument, side: int, quantity: Decimal, price: Decimal, commission: Decimal
    ) -> Decimal | None:
        """Book a trade; return the profit it realised after commissions, or None if it only opened."""
        holding = self.holdings.setdefault(instrument.con_id, Holding(instrument))
        signed = quantity * side
        unit = price * instrument.multiplier
        self.commissions += commission
        self.deposit(-commission, commission_currency(instrument))
        closed = min(abs(holding.quantity), quantity) if holding.quantity * side < 0 else ZERO
        # For stocks and options the commission is part of the cost; for futures and pairs it is an expense at once.
        is_costed = instrument.sec_type not in ("FUT", "CASH")
        fee_closed = commission * closed / quantity if quantity else ZERO
        fee_opened = commission - fee_closed if is_costed else ZERO
        realized: Decimal | None = None
        if closed:
            cost_out = (
                holding.cost if closed == abs(holding.quantity) else holding.cost * closed / abs(holding.quantity)
            )
            gross = -side * closed * unit - cost_out
            realized = gross - fee_closed
            holding.cost -= cost_out
            holding.realized += realized
            holding.realized_today += realized
            if instrument.is_margined:
                self.deposit(gross, instrument.currency)
        opened = quantity - closed
        holding.quantity += signed
        if opened:
            holding.cost += side * opened * unit + fee_opened
        if instrument.sec_type == "CASH":
            self.deposit(signed, instrument.symbol)
        if not instrument.is_margined:
            self.deposit(-signed * unit, instrument.currency)
        return realized

    def summary(self, marks: Marks, rates: Rates, reserved: Decimal = ZERO) -> Summary:
        """Return the account's state at these prices; `reserved` is the initial margin that working orders claim."""
        cash = sum((amount * rates(currency) for currency, amount in self.cash.items()), ZERO)
        stock = option = gross = future = unrealized = realized = initial = maintenance = regt = long_option = ZERO
        for holding in self.holdings.values():
            instrument = holding.instrument
            rate = rates(instrument.currency)
            realized += holding.realized_today * rate
            if not holding.quantity:
                continue
            mark = marks(instrument)
            value = holding.value(mark) * rate
            profit = holding.unrealized(mark) * rate
            unrealized += profit
            need = position_margin(instrument, holding.quantity, mark)
            initial += need[0] * rate
            maintenance += need[1] * rate
            if instrument.is_margined:
                future += profit
                regt += need[0] * rate
            elif instrument.sec_type == "OPT":
                option += value
                long_option += max(ZERO, value)
                gross += abs(value)
            elif instrument.sec_type != "CASH":
                stock += value
                gross += abs(value)
                regt += abs(value) * OVERNIGHT_MARGIN
        net = cash + stock + option + future
        return Summary(
            net,
            cash,
            gross,
            stock,
            option,
            initial + reserved,
            maintenance,
            net - long_option,
            regt,
            unrealized,
            realized,
        )

    def by_currency(self, marks: Marks) -> dict[str, CurrencyPart]:
        """Return values and profits per currency of the contracts, in that currency."""
        parts: dict[str, CurrencyPart] = {currency: CurrencyPart() for currency in self.cash}
        for holding in self.holdings.values():
            instrument = holding.instrument
            part = parts.setdefault(instrument.currency, CurrencyPart())
            part.realized += holding.realized_today
            if not holding.quantity:
                continue
            mark = marks(instrument)
            part.unrealized += holding.unrealized(mark)
            if instrument.sec_type == "OPT":
                part.option += holding.value(mark)
            elif instrument.is_margined:
                part.future += holding.unrealized(mark)
            elif instrument.sec_type != "CASH":
                part.stock += holding.value(mark)
        return parts

    def new_day(self) -> None:
        """Forget the day's realised profits (midnight of the TWS zone)."""
        for holding in self.holdings.values():
            holding.realized_today = ZERO


def position_margin(instrument: Instrument, quantity: Decimal, mark: Decimal) -> tuple[Decimal, Decimal]:
    """Return initial and maintenance margin of a position in the contract's currency."""
    size = abs(quantity)
    if instrument.sec_type == "FUT":
        return size * instrument.initial_margin, size * instrument.maintenance_margin
    if instrument.sec_type == "CASH":
        return ZERO, ZERO
    value = size * mark * instrument.multiplier
    if instrument.sec_type == "OPT":
        need = ZERO if quantity > 0 else value + value / 5
        return need, need
    share = LONG_MARGIN if quantity > 0 else SHORT_MARGIN
    return value * share, value * share


def order_margin(account: Account, instrument: Instrument, side: int, quantity: Decimal, price: Decimal) -> Decimal:
    """Return the change of initial margin if an order fills, in the contract's currency (negative if it reduces)."""
    held = account.quantity(instrument.con_id)
    before = position_margin(instrument, held, price)[0]
    after = position_margin(instrument, held + side * quantity, price)[0]
    if instrument.sec_type == "OPT" and side > 0:
        return after - before + quantity * price * instrument.multiplier
    return after - before


def money(amount: Decimal) -> str:
    """Write money as TWS does, with two places."""
    return f"{amount.quantize(_CENT, rounding=ROUND_HALF_UP):f}"
