"""What one unit owns: its positions and its orders, from executions and order events alone.

Invariants:
1. A quantity leaves "pending" only into "position": an order counts with its quantity less the executions seen; once
   ended, with what the broker reported filled less the executions seen, whichever message comes first.
2. An execution counts once per stem, at its latest revision, however often it is read.
3. The children of a bracket, stop orders and groups that only close what is held count only with what they filled:
   they rest, they are not on the way. Of another OCA group the largest leg of each side counts.
4. While a change of an order is in doubt the order counts with the larger of its old and new quantity.

Known limit: a correction of an execution older than the last `STEMS_KEPT` is counted as a new execution's revision
only if its first revision is still known; else it is ignored here and found by the books (P11).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from shared.errors import BadInput
from shared.messages.account import BookMove
from shared.messages.orders import (
    Decision,
    Fill,
    Group,
    Intent,
    IntentAction,
    OrderEvent,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)
from shared.money import ZERO

STEMS_KEPT = 200
ENDED_KEPT = 50
MODIFY_CLAIMED = "GATEWAY_MODIFY"
"""Code of the gateway's claim of a MODIFY intent: such an event is no order."""
_RESTING = (OrderType.STOP, OrderType.STOP_LIMIT)
_TYPES = {kind.value: kind for kind in OrderType}
_TIFS = {tif.value: tif for tif in TimeInForce}


class OrderRow(BaseModel):
    """One order of the unit as known now; `executed` sums the executions seen, `reported` is the broker's own count."""

    intent_id: str
    leg: int
    con_id: int
    side: Side
    quantity: Decimal
    rests: bool = False
    state: OrderState | None = None
    executed: Decimal = ZERO
    reported: Decimal = ZERO
    order_type: OrderType | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    tif: TimeInForce = TimeInForce.DAY
    outside_rth: bool = False
    wanted: dict[str, Decimal] = {}
    """Intent id of a change under way → the quantity it asks for."""

    @property
    def is_open(self) -> bool:
        """Return whether it may still fill; an unknown order may."""
        return self.state is None or not self.state.is_final

    @property
    def pending(self) -> Decimal:
        """Return the signed quantity that is on its way into the position."""
        whole = max(self.quantity, *self.wanted.values()) if self.wanted else self.quantity
        whole = whole if self.is_open and not self.rests else self.reported
        return self.side.sign * max(ZERO, whole - self.executed)

    @property
    def is_over(self) -> bool:
        """Return whether it can add nothing to the position any more."""
        return not self.is_open and not self.pending


class Holding(BaseModel):
    """The position in one contract: signed shares, their average price and the result of what was closed.

    `realized` is in the contract's currency times shares, before multiplier and commissions.
    """

    quantity: Decimal = ZERO
    average_price: Decimal = ZERO
    realized: Decimal = ZERO

    def add(self, signed: Decimal, price: Decimal) -> None:
        """Book a signed quantity at a price."""
        before, after = self.quantity, self.quantity + signed
        if before * signed >= 0:
            cost = abs(before) * self.average_price + abs(signed) * price
            self.average_price = cost / abs(after) if after else ZERO
        else:
            closed = min(abs(before), abs(signed))
            self.realized += closed * (price - self.average_price) * (1 if before > 0 else -1)
            if before * after < 0:
                self.average_price = price
            elif not after:
                self.average_price = ZERO
        self.quantity = after


class Execution(BaseModel):
    """The latest revision of an execution."""

    revision: int
    signed: Decimal
    price: Decimal
    order: str


class BookState(BaseModel):
    """Everything of a book that is saved."""

    orders: dict[str, OrderRow] = {}
    holdings: dict[int, Holding] = {}
    executions: dict[str, Execution] = {}
    modifies: dict[str, str] = {}
    """Intent id of a change under way → the key of the order it changes."""


def with_past(now: BookState, past: bytes) -> BookState:
    """Return a saved state together with what was over then; empty for a state that was saved in one piece."""
    if not past:
        return now
    before = BookState.model_validate_json(past)
    now.orders = {**before.orders, **now.orders}
    now.executions = {**before.executions, **now.executions}
    _forget_oldest(now.executions)
    return now


def _forget_oldest(executions: dict[str, Execution]) -> None:
    while len(executions) > STEMS_KEPT:
        del executions[next(iter(executions))]


def order_key(intent_id: str, leg: int) -> str:
    """Return the key of one order."""
    return f"{intent_id}.{leg}"


class Book:
    """Positions and orders of one unit."""

    def __init__(self, state: BookState | None = None) -> None:
        self.state = state or BookState()
        self._moving: dict[str, OrderRow] = dict(self.state.orders)
        """Every order that may add to `expected`; a strategy asks for that at each tick, ended orders do not count."""
        self._written: dict[str, None] = {}
        """Keys of orders and executions that the past written last tells as they are now."""
        self._has_forgotten = False

    def position(self, con_id: int) -> Decimal:
        """Return the signed filled quantity."""
        holding = self.state.holdings.get(con_id)
        return holding.quantity if holding else ZERO

    def expected(self, con_id: int) -> Decimal:
        """Return filled plus working plus unknown: the position once everything on its way has filled."""
        expected = self.position(con_id)
        for key, row in list(self._moving.items()):
            if row.is_over:
                del self._moving[key]
            elif row.con_id == con_id:
                expected += row.pending
        return expected

    def _move(self, key: str, row: OrderRow) -> None:
        self._moving[key] = row
        self._written.pop(key, None)

    def settle(self) -> float:
        """Find what is over by now; return how much of it the past written last does not tell, or tells otherwise.

        What is over are the orders not in `_moving`, and the executions. It is most of a state, and is written apart
        from it, not with every commit: until then the state has it too. Infinite once that past tells of an order that
        was forgotten since: only a new one takes it back.
        """
        for key in [key for key, row in self._moving.items() if row.is_over]:
            del self._moving[key]
        written = self._written
        if self._has_forgotten:
            return math.inf
        orders = self.state.orders.keys() - self._moving.keys()
        return len(orders - written.keys()) + len(self.state.executions.keys() - written.keys())

    def exclude_past(self, *, all_of_it: bool) -> dict[str, Any]:
        """Return what a dump of the state leaves out: what the past tells that was written last, or goes along."""
        over = self._over()
        return over if all_of_it else {kind: keys & self._written.keys() for kind, keys in over.items()}

    def _over(self) -> dict[str, set[str]]:
        state = self.state
        return {"executions": set(state.executions), "orders": state.orders.keys() - self._moving.keys()}

    def past(self) -> bytes:
        """Return what is over as JSON; after it was written, `past_written` makes the state smaller."""
        return self.state.model_dump_json(include=self._over(), exclude_defaults=True).encode()

    def past_written(self) -> None:
        """Note that what is over now was written; call it before anything else happens."""
        self._written = dict.fromkeys(key for keys in self._over().values() for key in keys)
        self._has_forgotten = False

    def summary(self, names: Mapping[int, str]) -> dict[str, dict[str, str]]:
        """Return position, average price and realised result by contract name, for people."""
        return {
            names.get(con_id, f"#{con_id}"): {
                "position": str(holding.quantity),
                "average_price": str(round(holding.average_price, 4)),
                "realized": str(round(holding.realized, 2)),
            }
            for con_id, holding in self.state.holdings.items()
        }

    def open_orders(self, con_id: int | None = None) -> list[OrderRow]:
        """Return the orders that may still fill, oldest first."""
        return [row for row in self.state.orders.values() if row.is_open and con_id in (None, row.con_id)]

    def order(self, intent_id: str, leg: int) -> OrderRow:
        """Return one order.

        Raises:
            BadInput: this unit knows no such order.
        """
        row = self.state.orders.get(order_key(intent_id, leg))
        if row is None:
            raise BadInput(f"order {intent_id!r} leg {leg} is no order of this unit, or ended long ago")
        return row

    def placed(self, intent: Intent) -> None:
        """Count an intent's orders from the moment it was made."""
        if intent.action is IntentAction.MODIFY:
            key = order_key(intent.modifies, intent.legs[0].leg)
            row = self.state.orders.get(key)
            if row is not None:
                row.wanted[intent.intent_id] = intent.legs[0].quantity
                self.state.modifies[intent.intent_id] = key
            return
        resting = self._resting(intent)
        for leg in intent.legs:
            key = order_key(intent.intent_id, leg.leg)
            self.state.orders[key] = self._moving[key] = OrderRow(
                intent_id=intent.intent_id,
                leg=leg.leg,
                con_id=intent.con_id,
                side=leg.side,
                quantity=leg.quantity,
                rests=leg.leg in resting,
                order_type=leg.order_type,
                limit_price=leg.limit_price,
                stop_price=leg.stop_price,
                tif=leg.tif,
                outside_rth=leg.outside_rth,
            )

    def _resting(self, intent: Intent) -> set[int]:
        """Return the legs that protect or wait, as against those that are on their way into the position."""
        resting = {leg.leg for leg in intent.legs if leg.order_type in _RESTING}
        if intent.group is Group.BRACKET:
            return resting | {leg.leg for leg in intent.legs if leg.leg > 0}
        if intent.group is not Group.OCA:
            return resting
        held = self.position(intent.con_id)
        if all(leg.side.sign * held < 0 and leg.quantity <= abs(held) for leg in intent.legs):
            return {leg.leg for leg in intent.legs}
        for side in Side:
            alike = [leg for leg in intent.legs if leg.side is side and leg.leg not in resting]
            largest = max(alike, key=lambda leg: leg.quantity, default=None)
            resting |= {leg.leg for leg in alike if leg is not largest}
        return resting

    def dropped(self, intent: Intent) -> None:
        """Forget an intent that never left the unit."""
        if self._end_modify(intent.intent_id) is not None:
            return
        for leg in intent.legs:
            self.state.orders.pop(order_key(intent.intent_id, leg.leg), None)
            self._moving.pop(order_key(intent.intent_id, leg.leg), None)

    def decided(self, decision: Decision) -> list[OrderRow]:
        """Apply risk's answer; return the orders a rejection ended."""
        if decision.approved:
            return []
        changed = self._end_modify(decision.intent_id)
        if changed is not None:
            return [changed.model_copy(update={"intent_id": decision.intent_id, "state": OrderState.REJECTED})]
        ended = [row for row in self.state.orders.values() if row.intent_id == decision.intent_id and row.is_open]
        for row in ended:
            row.state = OrderState.REJECTED
        self._prune()
        return ended

    def _end_modify(self, intent_id: str) -> OrderRow | None:
        """End the doubt about a change; return the order it was to change."""
        key = self.state.modifies.pop(intent_id, "")
        row = self.state.orders.get(key)
        if row is not None:
            row.wanted.pop(intent_id, None)
            self._move(key, row)
        return row

    def order_event(self, event: OrderEvent) -> bool:
        """Apply an order event; return whether it said something new."""
        if event.code == MODIFY_CLAIMED:
            return False  # the change is on its way; what becomes of it is the news
        if event.intent_id in self.state.modifies and event.state.is_final:
            changed = self._end_modify(event.intent_id)
            if changed is not None and event.state is OrderState.MODIFIED:
                changed.quantity = event.quantity
                changed.limit_price, changed.stop_price = event.limit_price, event.stop_price
            return True
        key = order_key(event.intent_id, event.leg) if event.intent_id else f"perm:{event.perm_id}"
        row = self.state.orders.get(key)
        if row is None:  # a person's order for this strategy, or one we have forgotten
            row = OrderRow(
                intent_id=event.intent_id,
                leg=event.leg,
                con_id=event.con_id,
                side=event.side,
                quantity=event.quantity,
                rests=event.order_type in tuple(kind.value for kind in _RESTING) or event.parent_leg is not None,
                order_type=_TYPES.get(event.order_type),
                tif=_TIFS.get(event.tif, TimeInForce.DAY),
            )
            if event.state.is_final:
                return True
            seen = [abs(one.signed) for one in self.state.executions.values() if one.order == key]
            row.executed = sum(seen, ZERO)
            self.state.orders[key] = row
        self._move(key, row)
        was = (row.state, row.reported, row.quantity, row.limit_price, row.stop_price)
        row.quantity = event.quantity
        row.limit_price = row.limit_price if event.limit_price is None else event.limit_price
        row.stop_price = row.stop_price if event.stop_price is None else event.stop_price
        row.reported = max(row.reported, event.filled)
        if row.is_open or event.state.is_final:
            row.state = event.state
        elif event.state is OrderState.UNKNOWN or event.remaining > 0:
            row.state = event.state  # reopened by the broker's evidence
        self._prune()
        return was != (row.state, row.reported, row.quantity, row.limit_price, row.stop_price)

    def fill(self, fill: Fill) -> bool:
        """Apply an execution; return whether it was new (a further reading of the same revision is not)."""
        known = self.state.executions.get(fill.exec_stem)
        if known is not None and known.revision >= fill.revision:
            return False
        if known is None and fill.revision > 1:
            return False
        signed = fill.side.sign * fill.quantity
        holding = self.state.holdings.setdefault(fill.con_id, Holding())
        key = order_key(fill.own_intent_id, fill.leg) if fill.own_intent_id else f"perm:{fill.perm_id}"
        row = self.state.orders.get(key)
        if known is not None:
            holding.add(-known.signed, known.price)
            if row is not None:
                row.executed -= abs(known.signed)
        holding.add(signed, fill.price)
        if row is not None:
            row.executed += fill.quantity
            self._move(key, row)
        self.state.executions[fill.exec_stem] = Execution(
            revision=fill.revision, signed=signed, price=fill.price, order=key
        )
        self._written.pop(fill.exec_stem, None)
        _forget_oldest(self.state.executions)
        self._prune()
        return True

    def moved(self, move: BookMove, signed: Decimal) -> bool:
        """Book what a person gave to this unit's strategy, or took from it; return whether it was new."""
        stem = f"move:{move.move_id}"
        if stem in self.state.executions:
            return False
        holding = self.state.holdings.setdefault(move.con_id, Holding())
        price = move.price or holding.average_price
        holding.add(signed, price)
        self.state.executions[stem] = Execution(revision=1, signed=signed, price=price, order="")
        return True

    def _prune(self) -> None:
        if len(self.state.orders) <= ENDED_KEPT:
            return
        ended = [key for key, row in self.state.orders.items() if row.is_over]
        for key in ended[: max(0, len(ended) - ENDED_KEPT // 2)]:
            del self.state.orders[key]
            self._moving.pop(key, None)
            self._has_forgotten = self._has_forgotten or key in self._written
