"""What the broker showed, as plain values: the only input from which order states are made.

The shell turns the library's objects into these (`shell/translate.py`); no core ever sees a library's object.
Prices and quantities are Decimal; times are wall nanoseconds UTC. A value the broker left unset is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from shared.messages.orders import Side


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """One order as openOrder or completedOrder shows it.

    completedOrder carries neither `order_id` nor `client_id` (both 0), and its `quantity` is often 0 with the amount in
    `filled` (ib-facts A.5, B.6). `is_listed` says that it came as an answer of a query for open orders: then it lives.
    """

    account: str
    con_id: int
    side: Side
    quantity: Decimal
    order_type: str
    perm_id: int
    order_ref: str = ""
    contract: str = ""
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    tif: str = "DAY"
    outside_rth: bool = False
    order_id: int = 0
    client_id: int = 0
    parent_id: int = 0
    status: str = ""
    filled: Decimal | None = None
    text: str = ""
    is_completed: bool = False
    is_listed: bool = False


@dataclass(frozen=True, slots=True)
class BrokerOrderStatus:
    """One orderStatus message; it carries no orderRef (ib-facts A.5)."""

    order_id: int
    client_id: int
    perm_id: int
    status: str
    filled: Decimal
    remaining: Decimal
    average_price: Decimal | None = None
    why_held: str = ""


@dataclass(frozen=True, slots=True)
class BrokerExecution:
    """One execDetails message."""

    exec_id: str
    account: str
    con_id: int
    side: Side
    shares: Decimal
    price: Decimal
    ts_ns: int
    perm_id: int = 0
    client_id: int = 0
    order_id: int = 0
    order_ref: str = ""
    contract: str = ""
    exchange: str = ""
    currency: str = "USD"
    cumulative_quantity: Decimal = Decimal(0)
    average_price: Decimal = Decimal(0)
    liquidity: int = 0
    is_liquidation: bool = False


@dataclass(frozen=True, slots=True)
class BrokerCommission:
    """One commissionReport; joined to its execution by execId."""

    exec_id: str
    commission: Decimal
    currency: str
    realized_pnl: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """One position of one account; `average_cost` as IB defines it, in the contract's currency."""

    account: str
    con_id: int
    position: Decimal
    average_cost: Decimal
    symbol: str = ""
    currency: str = ""
    contract: str = ""


@dataclass(frozen=True, slots=True)
class BrokerWhatIf:
    """What an order would do, as the openOrder of a what-if shows it; amounts in the account's base currency."""

    status: str
    init_margin_before: Decimal | None = None
    init_margin_after: Decimal | None = None
    maint_margin_before: Decimal | None = None
    maint_margin_after: Decimal | None = None
    equity_with_loan_before: Decimal | None = None
    equity_with_loan_after: Decimal | None = None
    commission: Decimal | None = None
    min_commission: Decimal | None = None
    max_commission: Decimal | None = None
    commission_currency: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True)
class BrokerError:
    """One error message: `req_id` is an order id, a request id, or -1 for the session."""

    req_id: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """The broker's answer to a whole round of questions, each part ended properly or the round does not exist.

    `client_id` is the trading client id that the broker accepted for this session; `is_undisturbed` says that no
    1100 or 2110 was outstanding while it was asked; `asked_ns` is when the round began, on the monotonic clock, and
    `undisturbed_since_ns` since when this has been so: TWS submits what it held a while after an outage (ib-facts A.7).
    `shows_since_ns` is wall time: completed orders and executions of before it are not shown any more (ib-facts A.6).
    `is_visit` says that it is of a session apart, under another client id than the one that is traded under.
    """

    client_id: int
    open_orders: tuple[BrokerOrder, ...]
    completed_orders: tuple[BrokerOrder, ...]
    executions: tuple[BrokerExecution, ...]
    positions: tuple[BrokerPosition, ...] = ()
    is_undisturbed: bool = True
    asked_ns: int = 0
    undisturbed_since_ns: int = 0
    shows_since_ns: int = 0
    is_visit: bool = False


NS_PER_S = 1_000_000_000
MIDNIGHT_MARGIN_S = 60
"""How far the clocks of authors, of this machine and of TWS may disagree about when a day began."""


def shown_since_ns(now_ns: int, time_zone: str) -> int:
    """Return since when the broker's answers are complete: the last midnight of its zone, and a margin.

    A midnight that is less than the margin away counts as past: by the broker's clock it may be.
    """
    moment = datetime.fromtimestamp(now_ns // NS_PER_S + MIDNIGHT_MARGIN_S, ZoneInfo(time_zone))
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return (int(midnight.timestamp()) + MIDNIGHT_MARGIN_S) * NS_PER_S
