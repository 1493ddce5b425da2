"""Know what the broker said an order would need in margin, and what the orders approved on such answers may take yet.

IB reckons a what-if from what the account holds; whether it counts what works is not documented. So an approved order
counts with what the broker said it would take, until it has ended: two strategies that are asked about one after the
other cannot both take the last of it (P7). Where the broker counts it too, it counts twice: the careful side.

Invariants:
1. No answer is no permission: an order that adds exposure is refused if it was not asked about or its question failed.
2. What an approval may take is in its command, so whoever rebuilds the book knows it.
3. An order that ended counts for every answer that may be older than its end: the broker did not know of it then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.messages.orders import Group, Intent, OrderLeg
from shared.money import ZERO

if TYPE_CHECKING:
    from services.risk.core.legs import OrderGroup

LATE_NS = 5_000_000_000
"""How far the clock that dates an order's end may be behind ours."""
FORGET_NS = 60_000_000_000
"""After this an order that ended is in no answer's doubt: no question waits as long."""


Taken = tuple[str, Decimal, int]
"""The order of ours (its intent), what it adds to the initial margin, and when it ended (0: not seen to)."""


@dataclass(frozen=True, slots=True)
class Margin:
    """An answer of the broker: the initial margin after the order, what it adds, and the equity that must cover it.

    `error` is a sentence where there is none; `asked_ns` is the wall time of the question.
    """

    asked_ns: int
    error: str = ""
    after: Decimal = ZERO
    change: Decimal = ZERO
    equity: Decimal = ZERO


class Margins:
    """Answers to intents that wait for their decision, and what approved orders take."""

    __slots__ = ("_taken", "answers")

    def __init__(self) -> None:
        self.answers: dict[str, Margin] = {}
        self._taken: dict[str, Taken] = {}

    def took(self, intent: Intent, change: Decimal, now_ns: int) -> None:
        """Count an approved intent with what the broker said it adds; a second time changes nothing."""
        for key in [key for key, row in self._taken.items() if row[2] and now_ns - row[2] > FORGET_NS]:
            del self._taken[key]
        if intent.intent_id not in self._taken:
            self._taken[intent.intent_id] = (intent.modifies or intent.intent_id, max(change, ZERO), 0)

    def ended(self, order: str, now_ns: int) -> None:
        """Note that an order works no more."""
        for key, row in self._taken.items():
            if row[0] == order:
                self._taken[key] = (order, row[1], now_ns)

    def in_use(self, groups: Mapping[str, OrderGroup], asked_ns: int) -> Decimal:
        """Return what other orders may take that an answer of `asked_ns` may not have counted."""
        total = ZERO
        for order, change, ended_ns in self._taken.values():
            group = groups.get(order)
            is_open = group is not None and bool(group.open_buys or group.open_sells)
            if is_open or (ended_ns and ended_ns + LATE_NS >= asked_ns):
                total += change
        return total

    def stored(self) -> dict[str, list[Any]]:
        """Return what approved orders take, for a snapshot."""
        return {key: [order, str(change), ended_ns] for key, (order, change, ended_ns) in self._taken.items()}

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Take `stored` of a snapshot."""
        self._taken = {key: (order, Decimal(change), ended_ns) for key, (order, change, ended_ns) in stored.items()}


def order_to_ask(intent: Intent, added: Decimal) -> OrderLeg:
    """Return the one order that stands for an intent at the broker: the entry of a bracket, else the largest leg.

    A modify is asked with what it adds, as an order of its own.
    """
    largest = max(intent.legs, key=lambda leg: leg.quantity)
    leg = intent.legs[0] if intent.group is Group.BRACKET else largest
    quantity = added if intent.modifies else leg.quantity
    return leg.model_copy(update={"leg": 0, "parent_leg": None, "quantity": quantity})
