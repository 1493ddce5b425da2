"""Turn what happens on the bus into lines for people: one for each intent, answer, order's end and fill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.clock import iso_utc
from shared.messages.base import Message
from shared.messages.orders import CancelRequest, Decision, Fill, Intent, IntentAction, OrderEvent, OrderLeg


class Lines:
    """The lines of one run; it remembers what an answer answers, and counts.

    Args:
        names: conId → name.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = names
        self._asked: dict[str, str] = {}
        self._told: dict[str, tuple[str, str]] = {}
        self.intents = self.approved = self.rejected = self.fills = self.errors = 0

    def of(self, message: Message, at_ns: int) -> str | None:
        """Return the line of a message, None where there is nothing new in it."""
        text = self._text(message)
        return None if text is None else f"{iso_utc(at_ns)[11:23]}  {text}"

    def _text(self, message: Message) -> str | None:
        if isinstance(message, Intent):
            return self._intent(message)
        if isinstance(message, Decision):
            return self._decision(message)
        if isinstance(message, Fill):
            return self._fill(message)
        if isinstance(message, OrderEvent):
            return self._ended(message)
        if isinstance(message, CancelRequest):
            return f"{message.strategy:<14} cancel    {self._asked.get(message.intent_id, message.intent_id)}"
        return None

    def _intent(self, intent: Intent) -> str | None:
        if intent.intent_id in self._asked:
            return None  # the same again, until it is answered
        verb = "change to " if intent.action is IntentAction.MODIFY else ""
        legs = " + ".join(leg_text(leg) for leg in intent.legs)
        self._asked[intent.intent_id] = f"{verb}{legs} {self._name(intent.con_id, intent.contract)}"
        self.intents += 1
        why = f"  ({intent.reason})" if intent.reason else ""
        return f"{intent.strategy:<14} intent    {self._asked[intent.intent_id]}{why}"

    def _decision(self, decision: Decision) -> str:
        self.approved += decision.approved
        self.rejected += not decision.approved
        answer = "approved" if decision.approved else f"rejected  {decision.code}: {decision.text}"
        return f"{decision.strategy:<14} {answer:<9} {self._asked.get(decision.intent_id, '')}".rstrip()

    def _fill(self, fill: Fill) -> str | None:
        if fill.revision > 1 or fill.exec_id in self._asked:
            return None
        self._asked[fill.exec_id] = ""
        self.fills += 1
        name = self._name(fill.con_id, fill.contract)
        return f"{fill.strategy:<14} filled    {fill.side} {fill.quantity:f} {name} at {fill.price:f}"

    def _ended(self, event: OrderEvent) -> str | None:
        if not event.state.is_final or event.state.value == "filled":
            return None  # what fills has lines of its own
        why = " ".join(part for part in (event.code, event.text) if part)
        by = f" by {event.by}" if event.by else ""
        name = self._name(event.con_id, event.contract)
        return f"{event.strategy:<14} {event.state.value:<9} {event.side} {event.quantity:f} {name}{by}  {why}".rstrip()

    def _name(self, con_id: int, given: str) -> str:
        return self._names.get(con_id) or given or f"#{con_id}"

    def unit(self, row: Mapping[str, Any]) -> str | None:
        """Return the line of a unit's row if its state or what is wrong with it has changed."""
        wrong = str(row.get("error") or row.get("paused") or "")
        now = (str(row.get("state", "")), wrong)
        unit = str(row["unit"])
        before = self._told.get(unit)
        if now == before or (before is not None and before[0] == now[0] == "waiting"):
            return None
        self._told[unit] = now
        is_error = bool(wrong) and now[0] != "waiting"
        self.errors += is_error and (before is None or wrong != before[1])
        again = f" (again: cq replay-event {unit} {row['event']})" if row.get("event") else ""
        return f"{unit}: {now[0]}" + (
            f": {wrong}{again}" if wrong else f" on {row.get('owner')}" if row.get("owner") else ""
        )

    @property
    def summary(self) -> str:
        """Return the counts in one line."""
        return (
            f"intents {self.intents}, approved {self.approved}, rejected {self.rejected}, fills {self.fills}, "
            f"errors {self.errors}"
        )


def leg_text(leg: OrderLeg) -> str:
    """Return an order's leg for people."""
    prices = [str(price) for price in (leg.stop_price, leg.limit_price) if price is not None]
    return " ".join([str(leg.side), f"{leg.quantity:f}", str(leg.order_type), *prices])
