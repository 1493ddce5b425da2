"""What a session hears: answers to what it asked, and everything else to its listener, in the order it came.

Not used of the library: `IB`, `Trade`, its wrapper. What that avoids (ib-facts D.1): orders turned Cancelled by any
unknown code (M4a), fills of unknown orders dropped (M4c), corrections added as fills (M4d), dead objects of an earlier
session (M5, M6), singleton requests that overwrite each other (M8), and a half-synchronised session that looks
connected (B.10).

Invariants:
1. A query ends with its end marker, or raises: an error, a time-out and a lost session are never an empty answer.
2. Requests without an id are serialised: one answer belongs to one question.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

from services.gateway.core.evidence import BrokerCommission, BrokerError, BrokerOrderStatus
from services.gateway.ports import QueryFailed, SessionListener
from services.gateway.shell.translate import execution_of, grammar_name, number, order_of, position_of, what_if_of
from shared.errors import BrokerUnavailable, TimedOut
from shared.messages.market import PriceIncrement
from shared.money import ZERO, decimal_of

_INFORMATIONAL = range(2100, 2200)
_REQUEST_GOES_ON = frozenset({10167, 366, 300, 10090})
ENDINGS = (326, 1300, 100)
"""Codes that explain why a session ends; 326 before it is ready means that the client id is refused."""


class Heard:
    """The hearing side of one session.

    Args:
        listener: told of everything that is no answer.
        on_greeting: told when accounts or nextValidId came.
        on_refused: told that the client id is in use (326); returns whether that ended the session.
    """

    def __init__(
        self, listener: SessionListener, *, on_greeting: Callable[[], None], on_refused: Callable[[str], bool]
    ) -> None:
        self.listener = listener
        self.accounts: tuple[str, ...] = ()
        self.next_valid_id = 0
        self.last_error: tuple[int, str] = (0, "")
        self._on_greeting = on_greeting
        self._on_refused = on_refused
        self._waiting: dict[Any, asyncio.Future[list[Any]]] = {}
        self._rows: dict[Any, list[Any]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    # -- answers

    async def ask(self, key: Any, send: Callable[[], None], *, limit_s: float, what: str) -> list[Any]:
        """Send a request and wait for its end marker.

        Args:
            key: the request's id, or the name of a request without one.
            send: writes it.
            limit_s: for the whole answer.
            what: for the error.

        Raises:
            TimedOut: the end marker did not come in time.
            QueryFailed: the broker answered with an error.
            BrokerUnavailable: the session is gone.
        """
        lock = self._locks.setdefault(key, asyncio.Lock()) if isinstance(key, str) else asyncio.Lock()
        try:
            async with asyncio.timeout(limit_s), lock:
                future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
                self._waiting[key] = future
                self._rows[key] = []
                try:
                    send()
                    return await future
                finally:
                    self._waiting.pop(key, None)
                    self._rows.pop(key, None)
                    if not future.done():
                        future.cancel()
        except TimeoutError as e:
            raise TimedOut(f"the broker did not answer {what} within {limit_s:g} s") from e

    def end(self, error: BrokerUnavailable) -> None:
        """Fail everything that waits: the session is over."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)

    def _row(self, key: Any, row: Any) -> None:
        rows = self._rows.get(key)
        if rows is not None:
            rows.append(row)

    def _finish(self, key: Any) -> None:
        future = self._waiting.get(key)
        if future is not None and not future.done():
            future.set_result(self._rows.pop(key, []))

    # -- what the decoder calls

    def bind(self, answers: Any) -> None:
        """Give the decoder its targets; set as attributes, so that what is missing stays ignored."""
        answers.nextValidId = self._on_next_id
        answers.managedAccounts = self._on_accounts
        answers.error = self._on_error
        answers.openOrder = self._on_open_order
        answers.openOrderEnd = lambda: self._finish("open_orders")
        answers.completedOrder = self._on_completed_order
        answers.completedOrdersEnd = lambda: self._finish("completed_orders")
        answers.orderStatus = self._on_order_status
        answers.execDetails = self._on_execution
        answers.execDetailsEnd = self._finish
        answers.commissionReport = self._on_commission
        answers.position = self._on_position
        answers.positionEnd = lambda: self._finish("positions")
        answers.updateAccountValue = lambda tag, value, currency, account: self.listener.account_value(
            account, tag, value, currency
        )
        answers.updatePortfolio = self._on_portfolio
        answers.accountDownloadEnd = lambda _account: self._finish("account")
        answers.pnl = lambda _req_id, daily, unrealized, realized: self.listener.pnl(
            _value(daily), _value(unrealized), _value(realized)
        )
        answers.marketDataType = lambda req_id, quality: self.listener.data_type(req_id, quality)
        answers.contractDetails = self._row
        answers.bondContractDetails = self._row
        answers.contractDetailsEnd = self._finish
        answers.symbolSamples = self._on_samples
        answers.marketRule = self._on_market_rule
        answers.historicalData = self._row
        answers.historicalDataEnd = lambda req_id, _start, _end: self._finish(req_id)
        answers.currentTime = lambda _time: None

    def _on_next_id(self, order_id: int) -> None:
        self.next_valid_id = order_id
        self._on_greeting()

    def _on_accounts(self, text: str) -> None:
        self.accounts = tuple(account for account in text.split(",") if account)
        self._on_greeting()

    def _on_error(self, req_id: int, code: int, text: str, _advanced: str) -> None:
        if code in ENDINGS:
            self.last_error = (code, text)
        if code == 326 and self._on_refused(text):
            return
        future = self._waiting.get(req_id)
        if future is not None and code not in _INFORMATIONAL and code not in _REQUEST_GOES_ON:
            self._rows.pop(req_id, None)
            if not future.done():
                future.set_exception(QueryFailed(code, text))
            return
        self.listener.error(BrokerError(req_id, code, text))

    def _on_open_order(self, order_id: int, contract: Any, order: Any, state: Any) -> None:
        if order.whatIf:  # an answer, never an order
            self._row(order_id, what_if_of(state))
            self._finish(order_id)
            return
        order.orderId = order_id
        listing = self._rows.get("open_orders")
        shown = order_of(contract, order, state, is_completed=False, is_listed=listing is not None)
        if listing is not None:
            listing.append(shown)
        self.listener.order_shown(shown)

    def _on_completed_order(self, contract: Any, order: Any, state: Any) -> None:
        self._row("completed_orders", order_of(contract, order, state, is_completed=True, is_listed=False))

    def _on_order_status(
        self, order_id: int, status: str, filled: float, remaining: float, average: float, perm_id: int,
        _parent: int, _last: float, client_id: int, why_held: str, _cap: float = 0.0,
    ) -> None:  # fmt: skip
        self.listener.order_status(
            BrokerOrderStatus(
                order_id,
                client_id,
                perm_id,
                status,
                number(filled) or ZERO,
                number(remaining) or ZERO,
                number(average) if filled else None,
                why_held,
            )
        )

    def _on_execution(self, req_id: int, contract: Any, execution: Any) -> None:
        made = execution_of(contract, execution)
        if req_id in self._rows:
            self._rows[req_id].append(made)
        else:
            self.listener.executed(made)

    def _on_commission(self, report: Any) -> None:
        self.listener.commission(
            BrokerCommission(
                report.execId, number(report.commission) or ZERO, report.currency, number(report.realizedPNL)
            )
        )

    def _on_position(self, account: str, contract: Any, position: float, average_cost: float) -> None:
        made = position_of(account, contract, position, average_cost)
        if "positions" in self._rows:
            self._rows["positions"].append(made)
        self.listener.position(made)

    def _on_portfolio(
        self, contract: Any, position: float, price: float, _worth: float, cost: float, unrealized: float,
        realized: float, account: str,
    ) -> None:  # fmt: skip
        self.listener.portfolio(position_of(account, contract, position, cost), price, unrealized, realized)

    def _on_samples(self, req_id: int, found: Sequence[Any]) -> None:
        for each in found:
            self._row(req_id, grammar_name(each.contract))
        self._finish(req_id)

    def _on_market_rule(self, rule: int, increments: Sequence[Any]) -> None:
        for each in increments:
            made = PriceIncrement(low_edge=decimal_of(each.lowEdge), increment=decimal_of(each.increment))
            self._row(f"rule-{rule}", made)
        self._finish(f"rule-{rule}")


def _value(value: float) -> float:
    return math.nan if abs(value) > 1e300 else value
