"""What the books ask for and tell: compared by value, carried out by `shell/books.py` and `shell/journal.py`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from services.gateway.core.recognition import Recognised


@dataclass(frozen=True, slots=True)
class AskBroker:
    """Ask for executions and completed orders: one of them may explain a difference."""

    con_id: int


@dataclass(frozen=True, slots=True)
class Adopted:
    """A difference became `unassigned`: a holding of the first start, or one that a person accepted."""

    con_id: int
    quantity: Decimal
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class Told:
    """The word on a contract: unexplained while `expected` and `reported` differ, over once they are equal."""

    con_id: int
    expected: Decimal
    reported: Decimal
    text: str


@dataclass(frozen=True, slots=True)
class Reassigned:
    """An owner's share follows what happened to the position; `unassigned` has taken the whole change before."""

    con_id: int
    owner: str
    quantity: Decimal
    move_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Renamed:
    """A contract that is held has another symbol."""

    con_id: int
    before: str
    after: str


BooksEffect = AskBroker | Adopted | Told | Recognised | Reassigned | Renamed
