"""Name what the cash journal could not: match the rows of IB's own statement with movements that have no reason yet.

TWS' API says that cash moved, not why: such an entry of the journal is a `credit` or a `debit`. A statement says why,
a day later. A row is taken only where it names such an entry, alone or together with the other rows of its day, or of
its contract on that day; so nothing counts twice, and the journal still sums up to what the cash changed by beyond
trades: the entry that is named is taken back by as much as its rows bring.

Known limits: rows of before the journal began, those of entries that are retained no more, and those that the journal
has under their kind already name nothing and are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.bus.ports import FIRST, Bus
from shared.errors import BadInput
from shared.messages.account import JournalEntry, JournalKind
from shared.messages.codec import decode_fields
from shared.messages.control import ImportedCash
from shared.money import ZERO

PAGE = 500

CENT = Decimal("0.015")
"""IB tells cash in cents: a movement and its rows may differ by one, and its rounding."""
APART_NS = 7 * 24 * 3600 * 1_000_000_000
"""How far a row's day may lie from when the cash was seen to move."""


@dataclass(frozen=True, slots=True)
class Movement:
    """A credit or debit of the journal that has no reason yet; `entry_id` names its entry in `account`."""

    entry_id: str
    currency: str
    amount: Decimal
    ts_ns: int


@dataclass(frozen=True, slots=True)
class Naming:
    """What a movement was: one row, or all rows of its day and currency."""

    movement: Movement
    rows: tuple[ImportedCash, ...]

    @property
    def amount(self) -> Decimal:
        """Return what the rows add up to."""
        return sum((row.amount for row in self.rows), ZERO)


class Retained:
    """The retained journal, as far as a statement is concerned; entries are told oldest first."""

    def __init__(self) -> None:
        self.known: dict[str, None] = {}
        """Ids of the statement's rows that have been taken."""
        self._movements: dict[str, Movement] = {}

    def told(self, entry_id: str, entry: JournalEntry) -> None:
        """Take an entry of the journal."""
        if entry.names:
            self._movements.pop(entry.names, None)
        elif entry.statement_id:
            self.known[entry.statement_id] = None
        elif entry.kind in (JournalKind.CREDIT, JournalKind.DEBIT):
            self._movements[entry_id] = Movement(entry_id, entry.currency, entry.amount, entry.ts_init_ns)

    def namings(self, rows: Iterable[ImportedCash]) -> list[Naming]:
        """Return what the rows name, oldest movement first; each row and each movement once."""
        left = {row.cash_id: row for row in rows if row.cash_id not in self.known}
        found = []
        for movement in self._movements.values():
            near = [row for row in left.values() if _is_near(row, movement)]
            taken = _alone(near, movement) or _of_one_day(near, movement)
            if taken:
                found.append(Naming(movement, taken))
                for row in taken:
                    del left[row.cash_id]
        return found


def _is_near(row: ImportedCash, movement: Movement) -> bool:
    return row.currency == movement.currency and abs(row.ts_ns - movement.ts_ns) <= APART_NS


def _alone(rows: Sequence[ImportedCash], movement: Movement) -> tuple[ImportedCash, ...]:
    fitting = [row for row in rows if abs(row.amount - movement.amount) < CENT]
    return (min(fitting, key=lambda row: abs(row.ts_ns - movement.ts_ns)),) if fitting else ()


def _of_one_day(rows: Sequence[ImportedCash], movement: Movement) -> tuple[ImportedCash, ...]:
    """Return what together is the movement: a contract's rows of a day (a dividend and its tax), else all of a day."""
    groups: dict[tuple[str, int], list[ImportedCash]] = {}
    days: dict[tuple[str, int], list[ImportedCash]] = {}
    for row in rows:
        groups.setdefault((row.day, row.con_id), []).append(row)
        days.setdefault((row.day, -1), []).append(row)
    for together in [*groups.values(), *days.values()]:
        if abs(sum((row.amount for row in together), ZERO) - movement.amount) < CENT:
            return tuple(together)
    return ()


async def retained(bus: Bus, account_id: str) -> Retained:
    """Return the journal as far as the stream has it."""
    found, cursor, stream = Retained(), FIRST, bus.keys.account
    while True:
        page = (await bus.read({stream: cursor}, count=PAGE)).get(stream, [])
        for entry in page:
            cursor = entry.entry_id
            if entry.fields.get(b"type") != JournalEntry.TYPE.encode():
                continue
            try:
                message = decode_fields(entry.fields, entry_id=cursor, stream=stream).message
            except BadInput:
                continue  # the account's readers dead-letter it
            if isinstance(message, JournalEntry) and message.account == account_id:
                found.told(cursor, message)
        if len(page) < PAGE:
            return found
