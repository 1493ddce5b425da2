"""Keep the cash journal: what changed in an account's cash beyond its trades, with the kind the broker lets us see.

For each currency, cash less what trades should have moved is constant. Where it moves and stands still again, something
else happened: it is journaled, never locked and never guessed into a trade.

Invariants:
1. The sum of the entries of a currency is what its cash changed by beyond trades, since the journal began.
2. A change is judged only once it has stood still for `SETTLE_NS`, without a trade, and after the broker told the cash
   again since the last trade: fills and account values come one before the other.
3. A kind other than credit or debit is given only by a second sign: an accrual that went down by the amount, what an
   option's end was to bring, two currencies that were exchanged at the account's rate.

Known limits: TWS' API does not say why cash moved. A deposit, a dividend that was not accrued and a rebate are all a
`credit`, a fee and a withdrawal a `debit`. While futures and the like are held, whose result is cash every day, changes
are taken without an entry.

Times are nanoseconds on the monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from shared.messages.account import JournalKind
from shared.money import ZERO

SETTLE_NS = 15_000_000_000
"""Longer than the books need to recognise an option's end, which says what cash it brings."""
CENT = Decimal("0.015")
"""IB tells cash in cents: a change within one, and its rounding, is none."""
_RATE_TOLERANCE = Decimal("0.02")


@dataclass(frozen=True, slots=True)
class CashMoved:
    """An entry of the journal; `amount` is signed, in `currency`."""

    kind: JournalKind
    currency: str
    amount: Decimal
    text: str


@dataclass(slots=True)
class _Purse:
    """One currency: the cash the broker tells, and what trades moved since the journal began."""

    cash: Decimal | None = None
    told_ns: int = 0
    flows: Decimal = ZERO
    flowed_ns: int = 0
    base: Decimal | None = None
    rest: Decimal = ZERO
    since_ns: int = 0
    dividend: Decimal = ZERO
    interest: Decimal = ZERO
    """Accruals as of the last settled state."""


@dataclass(slots=True)
class CashJournal:
    """The journal of one account. `is_blind` says that something is held whose result is cash every day."""

    base_currency: str = ""
    is_blind: bool = False
    _purses: dict[str, _Purse] = field(default_factory=dict)
    _accrued: dict[tuple[str, str], tuple[Decimal, int]] = field(default_factory=dict)
    """Each accrual, and since when it is what it is."""
    _rates: dict[str, Decimal] = field(default_factory=dict)
    _promised: list[CashMoved] = field(default_factory=list)

    # -- taking

    def told(self, tag: str, currency: str, value: Decimal, now_ns: int) -> None:
        """Take an account value."""
        if tag == "TotalCashBalance" and currency not in ("", "BASE"):
            purse = self._purse(currency)
            purse.cash, purse.told_ns = value, now_ns
        elif tag in ("AccruedDividend", "AccruedCash") and currency not in ("BASE",):
            known = self._accrued.get((tag, currency))
            if known is None or known[0] != value:
                self._accrued[tag, currency] = (value, now_ns)
        elif tag == "ExchangeRate" and currency not in ("", "BASE") and value > ZERO:
            self._rates[currency] = value

    def flowed(self, currency: str, amount: Decimal, at_ns: int) -> None:
        """Take what a trade or a commission moved, and when we first saw it."""
        if amount:
            purse = self._purse(currency)
            purse.flows += amount
            purse.flowed_ns = max(purse.flowed_ns, at_ns)

    def promised(self, kind: JournalKind, currency: str, amount: Decimal, text: str) -> None:
        """Take what an event that was recognised will have moved."""
        if amount:
            self._promised.append(CashMoved(kind, currency, amount, text))
            del self._promised[:-100]

    def _purse(self, currency: str) -> _Purse:
        return self._purses.setdefault(currency, _Purse())

    # -- judging

    def judge(self, now_ns: int) -> list[CashMoved]:
        """Return what moved and stands still."""
        moved: dict[str, Decimal] = {}
        for currency, purse in self._purses.items():
            change = self._settled(purse, now_ns)
            if change is None:
                continue
            if purse.base is None or self.is_blind:
                self._rebase(currency, purse)
            elif abs(change) >= CENT:
                moved[currency] = change
            else:
                self._note_accruals(currency, purse, now_ns)
        entries = [self._named(currency, amount, moved) for currency, amount in moved.items()]
        for currency in moved:
            self._rebase(currency, self._purses[currency])
        return entries

    def _settled(self, purse: _Purse, now_ns: int) -> Decimal | None:
        """Return the change beyond trades, None while it may still be on its way."""
        if purse.cash is None or purse.told_ns <= purse.flowed_ns:
            return None
        rest = purse.cash - purse.flows
        if rest != purse.rest or purse.since_ns < purse.flowed_ns:
            purse.rest, purse.since_ns = rest, now_ns
        if purse.base is None:
            return rest
        return rest - purse.base if now_ns - purse.since_ns >= SETTLE_NS else None

    def _rebase(self, currency: str, purse: _Purse) -> None:
        purse.base = purse.rest
        purse.dividend, purse.interest = (
            self._accrual("AccruedDividend", currency),
            self._accrual("AccruedCash", currency),
        )

    def _note_accruals(self, currency: str, purse: _Purse, now_ns: int) -> None:
        """Note accruals that stand still: what goes down together with cash is compared with how it stood before."""
        for tag in ("AccruedDividend", "AccruedCash"):
            value, since_ns = self._accrual_since(tag, currency)
            if now_ns - since_ns < SETTLE_NS:
                continue
            if tag == "AccruedDividend":
                purse.dividend = value
            else:
                purse.interest = value

    def _accrual(self, tag: str, currency: str) -> Decimal:
        return self._accrual_since(tag, currency)[0]

    def _accrual_since(self, tag: str, currency: str) -> tuple[Decimal, int]:
        found = self._accrued.get((tag, currency))
        if found is None and currency == self.base_currency:
            found = self._accrued.get((tag, ""))
        return found or (ZERO, 0)

    def _named(self, currency: str, amount: Decimal, moved: dict[str, Decimal]) -> CashMoved:
        purse = self._purses[currency]
        for promise in self._promised:
            if promise.currency == currency and abs(promise.amount - amount) < CENT:
                self._promised.remove(promise)
                return CashMoved(promise.kind, currency, amount, promise.text)
        for kind, before, tag in (
            (JournalKind.DIVIDEND, purse.dividend, "AccruedDividend"),
            (JournalKind.INTEREST, purse.interest, "AccruedCash"),
        ):
            paid = before - self._accrual(tag, currency)
            if paid and abs(paid - amount) < CENT:
                return CashMoved(kind, currency, amount, f"{tag} went down by as much")
        other = self._exchanged_for(currency, amount, moved)
        if other:
            return CashMoved(JournalKind.FX, currency, amount, f"exchanged with {other} at about the account's rate")
        kind = JournalKind.CREDIT if amount > ZERO else JournalKind.DEBIT
        return CashMoved(kind, currency, amount, "the broker's API does not say why; its statement does")

    def _exchanged_for(self, currency: str, amount: Decimal, moved: dict[str, Decimal]) -> str:
        rate = self._rate(currency)
        for other, other_amount in moved.items():
            other_rate = self._rate(other)
            if other == currency or rate is None or other_rate is None or amount * other_amount >= ZERO:
                continue
            worth, other_worth = abs(amount * rate), abs(other_amount * other_rate)
            if abs(worth - other_worth) <= _RATE_TOLERANCE * max(worth, other_worth):
                return other
        return ""

    def _rate(self, currency: str) -> Decimal | None:
        return Decimal(1) if currency == self.base_currency else self._rates.get(currency)

    # -- over a restart

    def to_dict(self) -> dict[str, Any]:
        """Return what a successor needs: the settled states, and what trades moved up to where the books count."""
        return {
            currency: [str(purse.flows), str(purse.base), str(purse.dividend), str(purse.interest)]
            for currency, purse in self._purses.items()
            if purse.base is not None
        }

    def restore(self, stored: dict[str, Any]) -> None:
        """Take what a predecessor kept.

        Raises:
            ValueError, TypeError, ArithmeticError: it is no `to_dict`.
        """
        for currency, (flows, base, dividend, interest) in stored.items():
            self._purses[currency] = _Purse(
                flows=Decimal(flows), base=Decimal(base), dividend=Decimal(dividend), interest=Decimal(interest)
            )


def cash_of(sec_type: str, side_sign: int, quantity: Decimal, price: Decimal, multiplier: Decimal) -> Decimal | None:
    """Return what a trade moves in the contract's currency, None for kinds whose result is settled otherwise."""
    if sec_type in ("STK", "OPT", "CASH", "CRYPTO"):
        return -side_sign * quantity * price * (multiplier if sec_type == "OPT" else 1)
    return None
