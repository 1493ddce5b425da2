"""Account, position and cash messages, as the broker reports them."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from shared.messages.base import Message, Part, register


class AccountTag(Part):
    """One value of the account: IB's tag, its text, and the currency ("" where it has none)."""

    tag: str
    value: str
    currency: str = ""


@register
class AccountSnapshot(Message):
    """Account values: the whole set when `is_full`, else only what changed. `currency` is the base currency."""

    TYPE: ClassVar[str] = "account_snapshot"

    account: str
    currency: str = ""
    values: tuple[AccountTag, ...] = ()
    is_full: bool = False

    def envelope_key(self) -> str:
        """Return the account."""
        return self.account


class PositionShare(Part):
    """What one strategy holds of a position, signed; `unassigned` is a name like any other here."""

    strategy: str
    quantity: Decimal


@register
class PositionReport(Message):
    """The broker's position in one contract: signed shares, and average cost in the contract's currency.

    `shares` say whose it is by our books; `unexplained` is the part of it that they cannot account for (P11).
    """

    TYPE: ClassVar[str] = "position"

    account: str
    con_id: int = Field(gt=0)
    contract: str = ""
    symbol: str = ""
    currency: str = ""
    position: Decimal
    average_cost: Decimal = Decimal(0)
    market_price: Decimal | None = None
    unrealized_pnl: Decimal | None = None
    realized_pnl: Decimal | None = None
    shares: tuple[PositionShare, ...] = ()
    unexplained: Decimal = Decimal(0)

    def envelope_key(self) -> str:
        """Return the conId."""
        return str(self.con_id)


@register
class PositionsComplete(Message):
    """Marks that every position of the account was just reported: what was not named is flat."""

    TYPE: ClassVar[str] = "positions_complete"

    account: str
    con_ids: tuple[int, ...] = ()


@register
class PnlReport(Message):
    """IB's own P&L of the account in base currency: of the day, unrealised and realised."""

    TYPE: ClassVar[str] = "pnl"

    account: str
    daily: Decimal | None = None
    unrealized: Decimal | None = None
    realized: Decimal | None = None


@register
class Unexplained(Message):
    """A difference between the broker's position and the sum of ours that no execution explains (P3, P11).

    It stands until one with `expected` equal to `reported` says that it is over, and is told again every minute.
    """

    TYPE: ClassVar[str] = "unexplained"

    account: str
    con_id: int
    expected: Decimal
    reported: Decimal
    text: str = ""

    def envelope_key(self) -> str:
        """Return the conId."""
        return str(self.con_id)


@register
class BookMove(Message):
    """A quantity that the books gave to an owner without a fill: a holding of the first start, or one accepted.

    `quantity` is signed; `who` is `gateway` for the first start, else the person, whose `reason` it carries.

    With `taken_from` a person moved it from one owner to another: the account's position is what it was. Such a move
    stands in `fills`, so that whoever counts fills by owner reads it in their order; it counts once by `move_id`, and
    both owners book it at `price` per share (0: unknown).
    """

    TYPE: ClassVar[str] = "book_move"

    account: str
    con_id: int
    strategy: str
    quantity: Decimal
    who: str
    reason: str = ""
    taken_from: str = ""
    move_id: str = ""
    price: Decimal = Decimal(0)

    def envelope_key(self) -> str:
        """Return the conId."""
        return str(self.con_id)

    def envelope_id(self) -> str:
        """Return the move's id."""
        return self.move_id


class JournalKind(StrEnum):
    """What happened to an account without an order."""

    SPLIT = "split"
    SYMBOL_CHANGE = "symbol_change"
    EXERCISE = "exercise"
    ASSIGNMENT = "assignment"
    EXPIRY = "expiry"
    DIVIDEND = "dividend"
    INTEREST = "interest"
    FX = "fx"
    TAX = "tax"
    FEE = "fee"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    """These four only IB's own statement tells (`cq import flex`)."""
    CREDIT = "credit"
    """Cash came, and the broker does not say why: a deposit, a dividend, a transfer."""
    DEBIT = "debit"
    """Cash went, and the broker does not say why: a fee, a withdrawal, a transfer."""


@register
class JournalEntry(Message):
    """What happened to positions or cash without an order, as far as the broker lets it be recognised.

    `quantity` is the signed change of the position in `con_id` (0: a matter of cash or of a name only), `amount` the
    signed cash in `currency`. `orders` names what still worked at prices of before a split: orders of ours are being
    cancelled, those of others are for a person.

    A row of IB's own statement has its id in `statement_id`. What it names, a credit or debit of before, is taken
    back by an entry whose `names` is the entry id of that: so the amounts still add up.
    """

    TYPE: ClassVar[str] = "journal"

    account: str
    kind: JournalKind
    con_id: int = 0
    contract: str = ""
    quantity: Decimal = Decimal(0)
    amount: Decimal = Decimal(0)
    currency: str = ""
    text: str = ""
    orders: tuple[str, ...] = ()
    statement_id: str = ""
    names: str = ""

    def envelope_key(self) -> str:
        """Return the conId, or the currency."""
        return str(self.con_id) if self.con_id else self.currency


@register
class ExchangeRate(Message):
    """Base currency per unit of `currency`, as the account's own values give it."""

    TYPE: ClassVar[str] = "exchange_rate"

    account: str
    currency: str
    rate: Decimal
