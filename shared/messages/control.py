"""Control and broker-status messages: halt, resume, pause; link state, leadership, reconciliation."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from shared.messages.account import JournalKind
from shared.messages.base import Message, Part, register
from shared.messages.orders import Side


class ControlAction(StrEnum):
    """What an operator or a breaker asks for."""

    HALT = "halt"
    RESUME = "resume"
    PAUSE_STRATEGY = "pause_strategy"
    RESUME_STRATEGY = "resume_strategy"
    HANDOVER = "handover"
    RECONCILE = "reconcile"
    """Have the leader ask the broker for everything and announce RECONCILED, for who could not read what was told."""
    ACCEPT_POSITION = "accept_position"
    """Give an unexplained difference of `contract:<conId>` to `unassigned` (P11)."""
    ASSIGN_POSITION = "assign_position"
    """Move a quantity of `contract:<conId>` from one owner to another; `text` is a `PositionMove`."""
    IMPORT_FILLS = "import_fills"
    """Publish executions of `contract:<conId>` that the broker shows no more; `text` is a `FillImport`."""
    IMPORT_CASH = "import_cash"
    """Name movements of cash in the account's journal by rows of the broker's statement; `text` is a `CashImport`."""
    LIMITS = "limits"
    FLATTEN = "flatten"
    """Close what the scope's strategies own, with bounded slippage; new exposure is held until a resume."""


@register
class Control(Message):
    """One act of control, and the audit of it: who, why, on what.

    LIMITS carries a whole limits file in `text`, and what it changes as its author saw it in `changes`.

    `scope` is `account`, or `strategy:<name>`, or `contract:<conId>`. `everything` asks for the broker's global cancel.
    """

    TYPE: ClassVar[str] = "control"

    control_id: str = Field(min_length=1)
    action: ControlAction
    scope: str = "account"
    who: str
    reason: str = ""
    everything: bool = False
    text: str = Field(default="", max_length=100_000)
    changes: tuple[str, ...] = ()

    def envelope_key(self) -> str:
        """Return the scope."""
        return self.scope

    def envelope_id(self) -> str:
        """Return the control's id."""
        return self.control_id


class PositionMove(Part):
    """What ASSIGN_POSITION asks for: signed shares from one owner (a strategy, `manual`, `unassigned`) to another."""

    taken_from: str = Field(min_length=1)
    given_to: str = Field(min_length=1)
    quantity: Decimal
    price: Decimal = Decimal(0)


class ImportedFill(Part):
    """One execution as IB's own report has it; `commission` is what was paid, positive."""

    exec_id: str = Field(min_length=1, max_length=100)
    con_id: int
    contract: str = Field(default="", max_length=100)
    side: Side
    quantity: Decimal = Field(gt=0)
    price: Decimal
    ts_ns: int
    order_ref: str = Field(default="", max_length=100)
    exchange: str = Field(default="", max_length=20)
    currency: str = Field(default="USD", max_length=10)
    commission: Decimal = Decimal(0)
    commission_currency: str = Field(default="", max_length=10)


IMPORT_MAX = 200
"""Executions of one IMPORT_FILLS, rows of one IMPORT_CASH: its text has a limit."""


class FillImport(Part):
    """What IMPORT_FILLS brings."""

    fills: tuple[ImportedFill, ...] = Field(max_length=IMPORT_MAX)


class ImportedCash(Part):
    """One row of cash as IB's own statement has it; `amount` is signed, `day` the day it counts for, yyyymmdd."""

    cash_id: str = Field(min_length=1, max_length=100)
    kind: JournalKind
    amount: Decimal
    currency: str = Field(min_length=1, max_length=10)
    day: str = Field(pattern=r"^\d{8}$")
    ts_ns: int
    text: str = Field(default="", max_length=200)
    con_id: int = 0
    contract: str = Field(default="", max_length=100)


class CashImport(Part):
    """What IMPORT_CASH brings."""

    rows: tuple[ImportedCash, ...] = Field(max_length=IMPORT_MAX)


class HaltStage(StrEnum):
    """Visible stages of a halt (architecture §4): nothing new passes; then nothing risky rests."""

    NONE = "none"
    REQUESTED = "requested"
    HOLDING = "holding"
    CLEAN = "clean"


@register
class HaltStatus(Message):
    """What the gateway leader (and the guard) hold now."""

    TYPE: ClassVar[str] = "halt_status"

    stage: HaltStage
    control_id: str = ""
    who: str = ""
    reason: str = ""
    orders_left: int = 0


class LinkState(StrEnum):
    """The one visible state of a gateway's session with the broker."""

    STANDBY = "STANDBY"
    DOWN = "DOWN"
    RECONCILING = "RECONCILING"
    READY = "READY"
    DEGRADED = "DEGRADED"


@register
class BrokerStatus(Message):
    """The state of a gateway's broker session, with the reason. Published on each change, by the leader alone.

    Its own state has `is_leader`. Of the others it says, as their heartbeats do, that they are STANDBY (with no reason
    while their data session is up), or DOWN once a heartbeat has stopped; who wants the trading link skips those.
    """

    TYPE: ClassVar[str] = "broker_status"

    instance: str
    state: LinkState
    reason: str = ""
    is_leader: bool = False
    client_id: int = 0
    trading_client_id: int = 0
    code: int = 0
    epoch: int = 0

    def envelope_key(self) -> str:
        """Return the gateway's instance name."""
        return self.instance


class FarmKind(StrEnum):
    """What a data farm of IB's serves."""

    MARKET = "market data"
    HISTORY = "history"
    CONTRACTS = "contract definitions"


class FarmCondition(StrEnum):
    """How a data farm does; one that is inactive is connected to upon demand."""

    OK = "ok"
    BROKEN = "broken"
    INACTIVE = "inactive"


@register
class FarmStatus(Message):
    """A data farm of IB's broke, came back or went inactive, as TWS told the leader's data session.

    No order is touched by it. Published on each change, and of every farm that a new leader knows.
    """

    TYPE: ClassVar[str] = "farm_status"

    instance: str
    farm: str
    kind: FarmKind
    condition: FarmCondition
    code: int = 0
    text: str = ""

    def envelope_key(self) -> str:
        """Return the farm's name."""
        return self.farm


class WindowPhase(StrEnum):
    """Where we are with the times at which the broker is expected to be away."""

    CLEAR = "clear"
    NEAR = "near"
    WITHIN = "within"
    OUTLIVED = "outlived"


@register
class BrokerWindow(Message):
    """A known window of the broker (nightly reset, daily restart, weekly login) came near, began, ended, was outlived.

    While it is near or lasts, what adds exposure is refused with GATEWAY_BROKER_WINDOW; times are wall ns, 0 if clear.
    """

    TYPE: ClassVar[str] = "broker_window"

    instance: str
    phase: WindowPhase
    name: str = ""
    opens_ns: int = 0
    closes_ns: int = 0

    def envelope_key(self) -> str:
        """Return the gateway's instance name."""
        return self.instance


@register
class PacingViolation(Message):
    """The broker refused a request for coming too soon or too often (162, 420); what was asked for, and its words.

    A gateway paces its own requests, so this says that another program of the same login used up the allowance.
    """

    TYPE: ClassVar[str] = "pacing_violation"

    instance: str
    code: int
    text: str
    request: str = ""
    con_id: int = 0

    def envelope_key(self) -> str:
        """Return the gateway's instance name."""
        return self.instance


@register
class SharesToBorrow(Message):
    """How many shares of a stock the broker shows to borrow for short sales (generic tick 236, tick type 89)."""

    TYPE: ClassVar[str] = "shares_to_borrow"

    con_id: int
    shares: Decimal = Field(ge=0)

    def envelope_key(self) -> str:
        """Return the conId."""
        return str(self.con_id)


@register
class Reconciled(Message):
    """The leader has read the predecessor's streams and the broker's evidence; risk approves nothing before it."""

    TYPE: ClassVar[str] = "reconciled"

    instance: str
    epoch: int
    incarnation: str
    orders_found: int = 0
    fills_recovered: int = 0
    orders_unknown: int = 0
    took_ms: int = 0

    def envelope_key(self) -> str:
        """Return the gateway's instance name."""
        return self.instance


@register
class GapEvent(Message):
    """A reader fell behind retention: entries after `after_id` and before `next_id` are gone."""

    TYPE: ClassVar[str] = "gap"

    stream: str
    after_id: str
    next_id: str


@register
class Alert(Message):
    """Something a person should know; raised once and cleared once per `alert_id`."""

    TYPE: ClassVar[str] = "alert"

    alert_id: str
    severity: str = Field(pattern="^(info|warning|error)$")
    text: str
    is_cleared: bool = False

    def envelope_id(self) -> str:
        """Return the alert's id."""
        return self.alert_id
