"""Decide an order's state from the broker's own messages, in whatever order they come.

Invariants:
1. Only a row of `TABLE` changes a state; a pair that is not in it is a bug (`InvariantBroken`).
2. A final state is left only on evidence that the order lives (a listing, a working status, an execution), or because
   fills complete it; the quantity filled never shrinks.
3. Filled is max(what statuses report, sum of executions by execId stem at their highest revision).
4. UNKNOWN ends by the broker's evidence only.

Rows that reality added: a cancelled order may still fill (PendingCancel -> Filled, ib-facts A.8); a rejection comes as
Inactive or as Cancelled plus an error, in either order (thetagang#709); an order taken for dead may work on (M4a); an
order declared not sent may appear late (TWS keeps and resubmits orders of an outage, ib-facts A.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from shared.errors import InvariantBroken
from shared.ids import exec_stem
from shared.messages.orders import Group, OrderEvent, OrderState, Side
from shared.money import ZERO


class OrderFact(StrEnum):
    """What one piece of evidence says."""

    PENDING = "pending"
    WORKING = "working"
    LISTED = "listed"
    """Working, and named in the broker's answer of open orders: stronger than a status that may be a repeat."""
    CANCELLING = "cancelling"
    INACTIVE = "inactive"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    EXECUTED = "executed"
    DOUBTED = "doubted"
    NEVER_SENT = "never_sent"


S, F = OrderState, OrderFact

STATUS_FACTS: Mapping[str, OrderFact] = {
    "ApiPending": F.PENDING,
    "PendingSubmit": F.PENDING,
    "WarnState": F.PENDING,
    "PreSubmitted": F.WORKING,
    "Submitted": F.WORKING,
    "PendingCancel": F.CANCELLING,
    "PreCancelled": F.CANCELLING,
    "Inactive": F.INACTIVE,
    "Filled": F.FILLED,
    "Cancelled": F.CANCELLED,
    "ApiCancelled": F.CANCELLED,
}


def status_fact(status: str, *, is_listed: bool = False) -> OrderFact:
    """Return what a status word of the broker says; an unknown word counts as pending, hence as working."""
    fact = STATUS_FACTS.get(status, F.PENDING)
    return F.LISTED if is_listed and fact in (F.PENDING, F.WORKING) else fact


def _open_rows(state: OrderState, **changed: OrderState) -> dict[tuple[OrderState, OrderFact], OrderState]:
    usual = {
        F.PENDING: S.PENDING, F.WORKING: S.WORKING, F.LISTED: S.WORKING, F.CANCELLING: S.CANCEL_PENDING,
        F.INACTIVE: S.INACTIVE, F.FILLED: S.FILLED, F.CANCELLED: S.CANCELLED, F.REFUSED: S.REJECTED,
        F.EXECUTED: S.WORKING, F.DOUBTED: S.UNKNOWN,
    }  # fmt: skip
    return {(state, fact): changed.get(fact.value, target) for fact, target in usual.items()}


def _never_there_rows(state: OrderState) -> dict[tuple[OrderState, OrderFact], OrderState]:
    """Rows of an outcome that said "nothing is at the broker": any sign of life reopens it (architecture §4)."""
    rows = _open_rows(state, doubted=state, refused=state, cancelled=state, inactive=state)
    return {**rows, (state, F.NEVER_SENT): state}


TABLE: Mapping[tuple[OrderState, OrderFact], OrderState] = {
    **_open_rows(S.CLAIMED),
    (S.CLAIMED, F.NEVER_SENT): S.NOT_SENT,
    **_open_rows(S.UNKNOWN),
    (S.UNKNOWN, F.NEVER_SENT): S.NOT_SENT,
    **_open_rows(S.PENDING),
    **_open_rows(S.WORKING, pending=S.WORKING),  # a modify repeats PendingSubmit
    **_open_rows(S.CANCEL_PENDING, pending=S.CANCEL_PENDING, working=S.CANCEL_PENDING, executed=S.CANCEL_PENDING),
    **_open_rows(S.INACTIVE),
    # Finals: statuses repeat and come late, so only the listing, or fills, move them.
    **{(S.FILLED, fact): S.FILLED for fact in OrderFact if fact is not F.NEVER_SENT},
    **_open_rows(
        S.CANCELLED, pending=S.CANCELLED, working=S.CANCELLED, cancelling=S.CANCELLED, inactive=S.CANCELLED,
        refused=S.CANCELLED, executed=S.CANCELLED, doubted=S.CANCELLED,
    ),
    **_open_rows(
        S.REJECTED, pending=S.REJECTED, inactive=S.REJECTED, cancelled=S.REJECTED, cancelling=S.REJECTED,
        doubted=S.REJECTED,
    ),
    **_never_there_rows(S.NOT_SENT),
    **_never_there_rows(S.REFUSED),
    **_never_there_rows(S.EXPIRED),
}  # fmt: skip


def next_state(state: OrderState, fact: OrderFact) -> OrderState:
    """Return the state after a fact.

    Raises:
        InvariantBroken: the pair is not in the table.
    """
    try:
        return TABLE[state, fact]
    except KeyError as e:
        raise InvariantBroken(f"an order that is {state} cannot be told {fact}") from e


@dataclass(slots=True)
class OrderTrack:
    """All that is known of one order leg; changed only through `apply` and `executed`.

    `order_ref` is empty and `is_external` set for orders not ours. `perm_id` 0 means the broker never showed it.
    `shown_in` is the number of the trading session that showed it open: only that session may change it (architecture
    §4). `sent_ns` is on the monotonic clock of the process that sent it, 0 if another process did or nobody. `is_odd`
    says that it should not be at the broker (a double, or declared absent before): it is cancelled until it has ended.
    `seen_apart_ns` is when another session than the trading one told of it last, where we trade under another client id
    than its own; monotonic.
    """

    order_ref: str
    intent_id: str
    leg: int
    strategy: str
    account: str
    con_id: int
    side: Side
    quantity: Decimal
    order_type: str
    contract: str = ""
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    tif: str = "DAY"
    outside_rth: bool = False
    parent_leg: int | None = None
    group: Group = Group.SINGLE
    is_external: bool = False
    is_reducing: bool = False
    intent_ts_ns: int = 0
    state: OrderState = OrderState.CLAIMED
    previous: OrderState | None = None
    reported: Decimal = ZERO
    average_price: Decimal | None = None
    executions: dict[str, tuple[int, Decimal, Decimal]] = field(default_factory=dict)
    order_id: int = 0
    client_id: int = 0
    perm_id: int = 0
    broker_status: str = ""
    by: str = ""
    code: str = ""
    text: str = ""
    shown_in: int = 0
    sent_ns: int = 0
    is_echoed: bool = False
    doubted_ns: int = 0
    seen_apart_ns: int = 0
    cancel_sent_ns: int = 0
    is_odd: bool = False

    @property
    def key(self) -> str:
        """Return the orderRef, or the permId of an order that is not ours."""
        return self.order_ref or str(self.perm_id)

    @property
    def is_double(self) -> bool:
        """Return whether it is a second order that IB made of one of ours."""
        return self.is_external and bool(self.intent_id)

    @property
    def filled(self) -> Decimal:
        """Return the quantity filled: the larger of what was reported and what executions sum up to."""
        return max(self.reported, sum((shares for _, shares, _ in self.executions.values()), ZERO))

    @property
    def remaining(self) -> Decimal:
        """Return what may still fill, never below zero."""
        return max(ZERO, self.quantity - self.filled)

    @property
    def is_open(self) -> bool:
        """Return whether it may still fill: every state that is not final, UNKNOWN included."""
        return not self.state.is_final

    @property
    def is_confirmed(self) -> bool:
        """Return whether the broker has ever shown this order."""
        return self.perm_id != 0 or bool(self.executions)

    def face(self) -> tuple[object, ...]:
        """Return what a reader of `orders` would notice; an event is published when it changes."""
        return (
            self.state, self.filled, self.quantity, self.limit_price, self.stop_price, self.order_id, self.client_id,
            self.perm_id, self.average_price, self.code, self.outside_rth,
        )  # fmt: skip

    def apply(self, fact: OrderFact, *, by: str = "broker", code: str = "", text: str = "") -> None:
        """Move to the next state; `by`, `code` and `text` are kept where they explain the new state."""
        target = next_state(self.state, fact)
        if fact is OrderFact.FILLED and self.executions and self.reported < self.quantity:
            self.reported = max(self.reported, self.filled)
        if self.quantity > ZERO and self.filled >= self.quantity and target is not OrderState.FILLED:
            target = OrderState.FILLED
        if target is not self.state:
            self.previous, self.state = self.state, target
            self.by, self.code, self.text = by, code, text
        elif code and not self.code:
            self.code, self.text, self.by = code, text, by

    def executed(self, exec_id: str, shares: Decimal, price: Decimal) -> bool:
        """Take an execution; False if this revision, or a newer one, was known."""
        stem, revision = exec_stem(exec_id)
        known = self.executions.get(stem)
        if known is not None and known[0] >= revision:
            return False
        self.executions[stem] = (revision, shares, price)
        total = sum((count for _, count, _ in self.executions.values()), ZERO)
        if total > ZERO and total >= self.reported:
            money = sum((count * each for _, count, each in self.executions.values()), ZERO)
            self.average_price = (money / total).quantize(Decimal("0.00000001")).normalize() + ZERO
        self.apply(OrderFact.EXECUTED)
        return True

    def event(self, now_ns: int) -> OrderEvent:
        """Return the order as it is, as a message; `now_ns` is wall time."""
        return OrderEvent(
            ts_init_ns=now_ns, ts_event_ns=now_ns, intent_id=self.intent_id, leg=self.leg, order_ref=self.order_ref,
            state=self.state, previous=self.previous, strategy=self.strategy, account=self.account, con_id=self.con_id,
            contract=self.contract, side=self.side, quantity=self.quantity, order_type=self.order_type,
            limit_price=self.limit_price, stop_price=self.stop_price, tif=self.tif, outside_rth=self.outside_rth,
            parent_leg=self.parent_leg, group=self.group, filled=self.filled, remaining=self.remaining,
            average_price=self.average_price,
            order_id=self.order_id, client_id=self.client_id, perm_id=self.perm_id, broker_status=self.broker_status,
            by=self.by, code=self.code, text=self.text, is_external=self.is_external, is_reducing=self.is_reducing,
            intent_ts_ns=self.intent_ts_ns,
        )  # fmt: skip


def track_of(event: OrderEvent) -> OrderTrack:
    """Return the track that a published event leaves behind; executions are not in it, their sum is."""
    return OrderTrack(
        order_ref=event.order_ref, intent_id=event.intent_id, leg=event.leg, strategy=event.strategy,
        account=event.account, con_id=event.con_id, side=event.side, quantity=event.quantity,
        order_type=event.order_type, contract=event.contract, limit_price=event.limit_price,
        stop_price=event.stop_price, tif=event.tif, outside_rth=event.outside_rth, parent_leg=event.parent_leg,
        group=event.group,
        is_external=event.is_external, is_reducing=event.is_reducing, intent_ts_ns=event.intent_ts_ns,
        state=event.state, previous=event.previous, reported=event.filled, average_price=event.average_price,
        order_id=event.order_id, client_id=event.client_id, perm_id=event.perm_id,
        broker_status=event.broker_status, by=event.by, code=event.code, text=event.text,
    )  # fmt: skip
