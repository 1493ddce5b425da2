"""What the gateway asks of a session with the broker, and what the session tells it.

`shell/ib_session.py` implements these around the broker library; tests may implement them plainly. A query that failed
or timed out raises; it is never an empty answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.gateway.core.evidence import (
    BrokerCommission,
    BrokerError,
    BrokerExecution,
    BrokerOrder,
    BrokerOrderStatus,
    BrokerPosition,
    BrokerWhatIf,
)
from services.gateway.core.ledger import ClaimedOrder, OrderTerms
from shared.contracts import ContractName
from shared.errors import BrokerUnavailable
from shared.messages.market import ContractInfo
from shared.messages.orders import OrderLeg
from shared.messages.requests import HistoryBar


class ClientIdInUse(BrokerUnavailable):
    """The broker refuses this client id: in use, or stuck (326; never more than that)."""


class QueryFailed(BrokerUnavailable):
    """The broker answered a request with an error; `code` is its number."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"the broker answered {code}: {text}")
        self.code = code
        self.text = text


class SessionListener:
    """Told of everything a session hears, in order, inside the network read; what is not overridden is ignored."""

    def order_shown(self, order: BrokerOrder) -> None:
        """Take an openOrder, live or listed."""

    def order_status(self, line: BrokerOrderStatus) -> None:
        """Take an orderStatus."""

    def executed(self, execution: BrokerExecution) -> None:
        """Take a live execDetails; those asked for come as the query's answer."""

    def commission(self, report: BrokerCommission) -> None:
        """Take a commissionReport."""

    def error(self, error: BrokerError) -> None:
        """Take an error or notice."""

    def position(self, position: BrokerPosition) -> None:
        """Take a position update."""

    def account_value(self, account: str, tag: str, value: str, currency: str) -> None:
        """Take one account value."""

    def portfolio(self, position: BrokerPosition, price: float, unrealized: float, realized: float) -> None:
        """Take one portfolio line."""

    def pnl(self, daily: float, unrealized: float, realized: float) -> None:
        """Take the account's P&L; an unset value is NaN."""

    def data_type(self, req_id: int, quality: int) -> None:
        """Take the kind of data that flows on a subscription."""

    def price_tick(self, req_id: int, tick_type: int, price: float, size: float) -> None:
        """Take a tickPrice."""

    def size_tick(self, req_id: int, tick_type: int, size: float) -> None:
        """Take a tickSize."""

    def read_began(self) -> None:
        """Note that bytes came; stamps what follows."""

    def read_ended(self) -> None:
        """Note that everything of one network read was told."""

    def unreadable(self, message_id: int, fields: Sequence[str], error: str) -> None:
        """Take a message that could not be decoded."""

    def closed(self, reason: str) -> None:
        """Note that the session is over; nothing follows."""


class BrokerSession(Protocol):
    """One connection to TWS under one client id. Never used again once closed."""

    @property
    def client_id(self) -> int:
        """Return the client id the broker accepted."""
        ...

    @property
    def is_open(self) -> bool:
        """Return whether the socket is there and not closing."""
        ...

    @property
    def accounts(self) -> tuple[str, ...]:
        """Return the accounts of the login."""
        ...

    @property
    def next_valid_id(self) -> int:
        """Return the broker's nextValidId."""
        ...

    def prepare(self, orders: Sequence[OrderTerms], contract: ContractInfo | None) -> None:
        """Encode orders whose claim is under way, so that `place` has only to write them; nothing is sent."""
        ...

    def place(self, orders: Sequence[ClaimedOrder], contract: ContractInfo | None) -> None:
        """Write all orders of a group in one write.

        Raises:
            BrokerUnavailable: the session is closed; nothing was written.
        """
        ...

    async def what_if(
        self, order_id: int, leg: OrderLeg, contract: ContractInfo, account: str, *, limit_s: float
    ) -> BrokerWhatIf:
        """Ask what an order would cost; nothing is placed. Alone sends the what-if flag.

        Raises:
            QueryFailed: the broker would refuse the order.
        """
        ...

    def cancel(self, order_id: int) -> None:
        """Ask to cancel an order of this client id."""
        ...

    def cancel_everything(self) -> None:
        """Ask to cancel every order of the login, whoever placed it (reqGlobalCancel)."""
        ...

    async def open_orders(self, *, limit_s: float, of_everybody: bool = False) -> list[BrokerOrder]:
        """Return the open orders, of this client id or of all."""
        ...

    async def completed_orders(self, *, limit_s: float) -> list[BrokerOrder]:
        """Return today's completed orders."""
        ...

    async def executions(self, *, limit_s: float, since_ns: int = 0) -> list[BrokerExecution]:
        """Return the executions since midnight of the broker's zone, or since a later moment (whole seconds)."""
        ...

    async def positions(self, *, limit_s: float) -> list[BrokerPosition]:
        """Return all positions of the login, and begin to tell changes."""
        ...

    async def account_values(self, account: str, *, limit_s: float) -> None:
        """Ask for all values of an account, told through the listener, and begin to tell changes."""
        ...

    def stop_account_values(self, account: str) -> None:
        """Stop account updates and positions."""
        ...

    def watch_pnl(self, account: str) -> None:
        """Begin to tell the account's P&L."""
        ...

    def ask_time(self) -> None:
        """Ask the time; the answer shows that the session lives."""
        ...

    async def contracts(self, name: ContractName, *, limit_s: float) -> list[ContractInfo]:
        """Return every contract a name could mean.

        Raises:
            QueryFailed: the broker knows none (200) or refuses.
        """
        ...

    async def search(self, pattern: str, *, limit_s: float) -> list[ContractName]:
        """Return names that match a pattern."""
        ...

    async def history(
        self, contract: ContractInfo, *, end_ns: int, duration: str, bar_size: str, what: str, use_rth: bool,
        limit_s: float,
    ) -> list[HistoryBar]:  # fmt: skip
        """Return historical bars, oldest first."""
        ...

    def subscribe(self, contract: ContractInfo) -> int:
        """Begin market data; return the request id."""
        ...

    def unsubscribe(self, req_id: int) -> None:
        """End market data."""
        ...

    def allow_delayed(self) -> None:
        """Let the broker fall back to delayed data where live data are not subscribed; live still wins."""
        ...

    async def close(self, *, at_once: bool = False) -> None:
        """Close the session; `at_once` drops what is still to be written."""
        ...
