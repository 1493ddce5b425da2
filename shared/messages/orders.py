"""Messages of the order path: intent, decision, command, order event, fill.

Signs and units: `quantity` is positive shares or contracts and `side` gives the direction; prices are in the
contract's currency as quoted. Every message carries the strategy it belongs to and the account.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from shared.messages.base import INT64_MAX, Message, Part, register


class Side(StrEnum):
    """Direction of an order or execution."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """Return +1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        """Return the other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """Order types that can be placed; values are IB's own names."""

    MARKET = "MKT"
    LIMIT = "LMT"
    STOP = "STP"
    STOP_LIMIT = "STP LMT"


class TimeInForce(StrEnum):
    """How long an order works; values are IB's own names."""

    DAY = "DAY"
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"


class Group(StrEnum):
    """How the legs of an intent hang together."""

    SINGLE = "single"
    BRACKET = "bracket"
    OCA = "oca"


class OrderState(StrEnum):
    """State of one order leg.

    The broker's words are mapped as in `services/gateway/core/order_machine.py`. UNKNOWN is sent or possibly sent
    and not confirmed: it counts as working and only the broker's evidence ends it (architecture §4, order states).
    """

    CLAIMED = "claimed"
    PENDING = "pending"
    WORKING = "working"
    CANCEL_PENDING = "cancel_pending"
    INACTIVE = "inactive"
    UNKNOWN = "unknown"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    REFUSED = "refused"
    EXPIRED = "expired"
    NOT_SENT = "not_sent"
    MODIFIED = "modified"
    """Outcome of a MODIFY intent that the broker confirmed; the order's own event carries the new terms."""

    @property
    def is_final(self) -> bool:
        """Return whether this is an outcome; a late execution may still amend the quantities (P4)."""
        return self in _FINAL


_FINAL = frozenset(
    {
        OrderState.FILLED,
        OrderState.CANCELLED,
        OrderState.REJECTED,
        OrderState.REFUSED,
        OrderState.EXPIRED,
        OrderState.NOT_SENT,
        OrderState.MODIFIED,
    }
)


Amount = Annotated[Decimal, Field(max_digits=60, decimal_places=40)]
"""A number of an order. Written out, as rules write it, 1E+999999999 would fill the memory: such is no number here."""
Label = Annotated[str, Field(max_length=200)]
"""A text that decisions repeat."""


class OrderLeg(Part):
    """One order of an intent.

    `leg` counts from 0; a bracket's parent is leg 0 and its children name it in `parent_leg`. `stop_price` is IB's
    auxPrice of STP and STP LMT orders.
    """

    leg: int = Field(default=0, ge=0, le=99)
    side: Side
    quantity: Amount = Field(gt=0)
    order_type: OrderType
    limit_price: Amount | None = None
    stop_price: Amount | None = None
    tif: TimeInForce = TimeInForce.DAY
    outside_rth: bool = False
    parent_leg: int | None = None

    @model_validator(mode="after")
    def _prices_match_type(self) -> OrderLeg:
        needs_limit = self.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
        needs_stop = self.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
        if needs_limit != (self.limit_price is not None):
            raise ValueError(f"a {self.order_type} order {'needs' if needs_limit else 'takes no'} limit price")
        if needs_stop != (self.stop_price is not None):
            raise ValueError(f"a {self.order_type} order {'needs' if needs_stop else 'takes no'} stop price")
        return self


class IntentAction(StrEnum):
    """What an intent asks for."""

    PLACE = "place"
    MODIFY = "modify"


@register
class Intent(Message):
    """A wish to place one order, a bracket or an OCA group, or to modify one working order.

    `valid_until_ns` is wall time; after it the intent ends EXPIRED at risk or at the claim and is never sent.
    `incarnation` is that of the order-flow Redis the intent was made in; it is decided and claimed only there.
    `cause_ts_ns` is the event time of the tick or bar that caused it, `cause_id` its entry, so that one order can be
    followed back; 0 and "" where a person gave it.
    For MODIFY, `modifies` is the intent id of the order and `legs` holds exactly the one changed leg.
    """

    TYPE: ClassVar[str] = "intent"

    intent_id: str = Field(min_length=20, max_length=20)
    action: IntentAction = IntentAction.PLACE
    group: Group = Group.SINGLE
    legs: tuple[OrderLeg, ...] = Field(min_length=1, max_length=10)
    con_id: int = Field(gt=0, le=INT64_MAX)
    contract: Label = Field(default="", description="the name people wrote, for display")
    strategy: Label = Field(min_length=1)
    unit: Label = ""
    account: Label = Field(min_length=1)
    incarnation: Label = ""
    valid_until_ns: int = Field(gt=0, le=INT64_MAX)
    modifies: str = ""
    reason: str = Field(default="", max_length=2000)
    cause_id: Label = ""
    cause_ts_ns: int = Field(default=0, le=INT64_MAX)

    @model_validator(mode="after")
    def _legs_hang_together(self) -> Intent:
        numbers = [leg.leg for leg in self.legs]
        if self.action is IntentAction.MODIFY:
            if len(self.legs) != 1 or len(self.modifies) != 20:
                raise ValueError("a modify names one intent and carries exactly one leg")
            return self
        if numbers != list(range(len(self.legs))):
            raise ValueError(f"legs must count 0, 1, 2 …, got {numbers}")
        if self.group is Group.SINGLE and len(self.legs) != 1:
            raise ValueError("a single order has exactly one leg")
        for leg in self.legs:
            is_child = self.group is Group.BRACKET and leg.leg > 0
            if is_child != (leg.parent_leg is not None) or (leg.parent_leg or 0) != 0:
                raise ValueError("in a bracket each leg after the first names leg 0 as its parent, elsewhere none does")
        return self

    def envelope_key(self) -> str:
        """Return the conId."""
        return str(self.con_id)

    def envelope_id(self) -> str:
        """Return the intent id."""
        return self.intent_id


@register
class CancelRequest(Message):
    """A wish to cancel the working legs of an intent (`leg` None: all); in a stream of its own."""

    TYPE: ClassVar[str] = "cancel"

    cancel_id: str = Field(min_length=1)
    intent_id: str = Field(min_length=20, max_length=20)
    leg: int | None = None
    strategy: str = ""
    account: str = ""
    reason: str = ""

    def envelope_key(self) -> str:
        """Return the intent to cancel."""
        return self.intent_id

    def envelope_id(self) -> str:
        """Return the cancel's own id."""
        return self.cancel_id


class RuleResult(Part):
    """What one rule measured: `limit` and `measured` are text with their unit, made for people and for JSON."""

    code: str
    ok: bool
    is_hard: bool = True
    limit: str = ""
    measured: str = ""
    text: str = ""


@register
class Decision(Message):
    """Risk's one answer to an intent: approved, or rejected with every failed rule, the decisive one first."""

    TYPE: ClassVar[str] = "decision"

    intent_id: str
    approved: bool
    code: str = Field(default="", description="the decisive rule's code, empty when approved")
    text: str = ""
    failed: tuple[RuleResult, ...] = ()
    warned: tuple[RuleResult, ...] = ()
    con_id: int = 0
    strategy: str = ""
    account: str = ""
    is_reducing: bool = False
    intent_ts_ns: int = Field(default=0, description="the intent's ts_init_ns, by its author's clock")

    def envelope_key(self) -> str:
        """Return the strategy."""
        return self.strategy

    def envelope_id(self) -> str:
        """Return the intent id: one decision per intent."""
        return self.intent_id


@register
class Command(Message):
    """An approved intent; only risk writes these. The gateway does not send it after `not_after_ns` (wall time).

    `margin_change` is what the broker said it adds to the initial margin, None where it was not asked.
    """

    TYPE: ClassVar[str] = "command"

    intent: Intent
    not_after_ns: int = Field(gt=0)
    incarnation: str
    is_reducing: bool = False
    risk_epoch: int = 0
    margin_change: Decimal | None = None

    def envelope_key(self) -> str:
        """Return the conId."""
        return str(self.intent.con_id)

    def envelope_id(self) -> str:
        """Return the intent id."""
        return self.intent.intent_id


@register
class CancelCommand(Message):
    """A cancel that risk passed on; risk never refuses one that names an order of ours."""

    TYPE: ClassVar[str] = "cancel_command"

    cancel: CancelRequest

    def envelope_key(self) -> str:
        """Return the intent to cancel."""
        return self.cancel.intent_id

    def envelope_id(self) -> str:
        """Return the cancel's id."""
        return self.cancel.cancel_id


@register
class OrderEvent(Message):
    """One transition of one order leg, or what the broker shows of an order that is not ours.

    `by` says who caused an outcome: gateway, broker, risk or operator; `code` is stable (`GATEWAY_EXPIRED`, `IB_201`).
    `filled` and `remaining` are cumulative shares as the broker reports them; `average_price` over all fills.
    `ts_event_ns` is our receipt of the broker's message, wall time. Orders that are not ours have an empty
    `intent_id`, strategy `unassigned` and `is_external`. A second order that IB made of one of ours (`is_double`) is
    `is_external` too, with the intent and the strategy of the first and no orderRef: it says nothing of the first.
    """

    TYPE: ClassVar[str] = "order_event"

    intent_id: str = ""
    leg: int = 0
    order_ref: str = ""
    state: OrderState
    previous: OrderState | None = None
    strategy: str
    account: str
    con_id: int
    contract: str = ""
    side: Side
    quantity: Decimal
    order_type: str
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    tif: str = "DAY"
    outside_rth: bool = False
    parent_leg: int | None = None
    group: Group = Group.SINGLE
    filled: Decimal = Decimal(0)
    remaining: Decimal = Decimal(0)
    average_price: Decimal | None = None
    order_id: int = 0
    client_id: int = 0
    perm_id: int = 0
    broker_status: str = ""
    by: str = ""
    code: str = ""
    text: str = ""
    is_external: bool = False
    is_reducing: bool = False
    intent_ts_ns: int = 0
    ts_event_ns: int = 0

    @property
    def is_double(self) -> bool:
        """Return whether it is a second order that IB made of ours: nobody asked for it, and it is cancelled."""
        return self.is_external and bool(self.intent_id)

    @property
    def own_intent_id(self) -> str:
        """Return the intent that asked for this order; empty where none did, as for a second that IB made of one."""
        return "" if self.is_double else self.intent_id

    def envelope_key(self) -> str:
        """Return the conId."""
        return str(self.con_id)

    def envelope_id(self) -> str:
        """Return the orderRef, or the permId of an order that is not ours."""
        return self.order_ref or str(self.perm_id)


@register
class Fill(Message):
    """One execution, published at once; exactly once per execution stem and revision (P3).

    `ts_event_ns` is the execution time by the broker's clock. `revision` above 1 is a correction that replaces the
    earlier revision of the same stem. `is_late` marks executions found by reconciliation, `origin` those that came
    another way than over the API (`flex`: from IB's report).
    """

    TYPE: ClassVar[str] = "fill"

    exec_id: str = Field(min_length=1)
    exec_stem: str
    revision: int = 1
    intent_id: str = ""
    leg: int = 0
    order_ref: str = ""
    strategy: str
    account: str
    con_id: int
    contract: str = ""
    side: Side
    quantity: Decimal = Field(ge=0)
    price: Decimal
    exchange: str = ""
    currency: str = "USD"
    order_id: int = 0
    client_id: int = 0
    perm_id: int = 0
    cumulative_quantity: Decimal = Decimal(0)
    average_price: Decimal = Decimal(0)
    liquidity: int = 0
    is_late: bool = False
    is_liquidation: bool = False
    """The broker closed it by itself, for want of margin."""
    is_double: bool = False
    """Of a second order that IB made of ours: the strategy's, and nothing of the order that it asked for."""
    origin: str = ""
    ts_event_ns: int = 0

    @property
    def own_intent_id(self) -> str:
        """Return the intent that asked for this order; empty where none did, as for a second that IB made of one."""
        return "" if self.is_double else self.intent_id

    def envelope_key(self) -> str:
        """Return the conId."""
        return str(self.con_id)

    def envelope_id(self) -> str:
        """Return the execId."""
        return self.exec_id


@register
class Commission(Message):
    """The commission of one execution, a further entry of the same execId in `fills`."""

    TYPE: ClassVar[str] = "commission"

    exec_id: str = Field(min_length=1)
    strategy: str
    account: str
    con_id: int
    commission: Decimal
    currency: str
    realized_pnl: Decimal | None = None

    def envelope_key(self) -> str:
        """Return the conId."""
        return str(self.con_id)

    def envelope_id(self) -> str:
        """Return the execId."""
        return self.exec_id
