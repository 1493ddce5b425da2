"""What the model of the broker keeps, and what it may do to us."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from services.gateway.core.evidence import BrokerExecution
from shared.messages.orders import Side
from shared.tws.order import TwsOrder
from shared.tws.requests import decode_request

VERSION = 178
ZERO = Decimal(0)
seen_request = lru_cache(maxsize=1024)(decode_request)
"""Reads a frame once for the guard, the broker and who watches: what is decoded is frozen."""


@dataclass
class BrokerFaults:
    """What the broker may do to us, as probabilities per order or event."""

    reject: float = 0.05
    fill: float = 0.7
    status_first: float = 0.3
    """A fill's orderStatus may come before its execDetails."""
    lost_status: float = 0.1
    duplicate_on_modify: float = 0.3
    """A modify during an outage may leave a second live order (ib-facts A.7)."""
    slow_fill_s: float = 6.0


@dataclass
class SimOrder:
    """One order at the broker."""

    perm_id: int
    client_id: int
    order_id: int
    con_id: int
    terms: TwsOrder
    quantity: Decimal
    limit: Decimal | None
    stop: Decimal | None
    status: str = "PendingSubmit"
    is_transmitted: bool = True
    is_held: bool = False
    """Kept by TWS during an outage: shown to nobody, submitted later."""
    is_double: bool = False
    """Made by IB itself, not by a message of ours."""
    filled: Decimal = ZERO
    paid: Decimal = ZERO
    created_ns: int = 0
    ended_ns: int = 0
    ended_day: int = 0

    @property
    def ref(self) -> str:
        """Return its orderRef."""
        return self.terms.order_ref

    @property
    def side(self) -> Side:
        """Return its side."""
        return Side(self.terms.action)

    @property
    def is_active(self) -> bool:
        """Return whether it may still fill."""
        return self.status in ("PendingSubmit", "PreSubmitted", "Submitted", "PendingCancel")

    @property
    def remaining(self) -> Decimal:
        """Return what may still fill."""
        return max(ZERO, self.quantity - self.filled)


@dataclass
class SimExecution:
    """One execution; `day` counts midnights."""

    row: BrokerExecution
    day: int


@dataclass
class Sent:
    """One placeOrder that reached the broker: what the checkers judge."""

    at_ns: int
    order_id: int
    client_id: int
    ref: str
    kind: str
    """new, modify, or refused."""
    con_id: int
    side: Side
    quantity: Decimal
    limit: Decimal | None
    what_if: bool = False
    account: str = ""
