"""The gateway's session with the broker over a simulated wire: stands in for `IbSession`, same calls, same answers.

What goes up are the real frames of the TWS protocol, so that the guard's real core reads them; what comes down are the
values that `shell/translate.py` makes of TWS' messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol

from services.gateway.core.evidence import BrokerExecution, BrokerOrder, BrokerPosition
from services.gateway.core.ledger import ClaimedOrder, OrderTerms
from services.gateway.ports import ClientIdInUse, SessionListener
from services.gateway.shell.ib_sent import utc_text
from shared.contracts import ContractName
from shared.errors import BrokerUnavailable, TimedOut
from shared.messages.market import ContractInfo
from shared.messages.requests import HistoryBar
from shared.tws import requests as q
from shared.tws.contract import TwsContract
from shared.tws.hello import ClientHello, encode_hello
from shared.tws.order import TwsOrder
from shared.tws.requests import Request, encode_request
from tests.simulation.broker_records import VERSION
from tests.simulation.kernel import Process
from tests.simulation.wire import End, Wire


class Dialer(Protocol):
    """How a process reaches the broker: straight, or through the guard."""

    def dial(self, process: Process) -> Wire | None:
        """Return a new connection's wire, None if nobody listens."""
        ...

    def info_of(self, con_id: int) -> ContractInfo:
        """Return a contract's definition."""
        ...


class SimSession:
    """`services.gateway.ports.BrokerSession` on a wire."""

    def __init__(
        self, client_id: int, listener: SessionListener, *, dialer: Dialer, process: Process, options: str = "",
        time_zone: str = "",
    ) -> None:  # fmt: skip
        _ = time_zone
        self._client_id = client_id
        self.listener = listener
        self._dialer = dialer
        self._process = process
        self._options = options
        self._end_: End | None = None
        self.wire: Wire | None = None
        self._ready: asyncio.Future[None] | None = None
        self._is_over = False
        self._has_version = False
        self._accounts: tuple[str, ...] = ()
        self._next_valid_id = 0
        self._next_request = 500_000_000
        self._waiting: dict[Any, asyncio.Future[list[Any]]] = {}
        self._rows: dict[Any, list[Any]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._last_code = 0

    @property
    def client_id(self) -> int:
        """Return the client id."""
        return self._client_id

    @property
    def is_open(self) -> bool:
        """Return whether the socket is there."""
        return self._end_ is not None and not self._is_over and not self._end_.is_closed

    @property
    def accounts(self) -> tuple[str, ...]:
        """Return the accounts of the login."""
        return self._accounts

    @property
    def next_valid_id(self) -> int:
        """Return nextValidId."""
        return self._next_valid_id

    async def open(self, host: str, port: int, *, limit_s: float) -> None:
        """Connect and wait for accounts and nextValidId."""
        _ = host, port
        self._ready = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.sleep(0.0005)
                self.wire = self._dialer.dial(self._process)
                if self.wire is None:
                    raise BrokerUnavailable("nobody listens")
                self._end_ = self.wire.near
                self._end_.on_item, self._end_.on_closed = self._take, self._closed
                hello = encode_hello(ClientHello(157, VERSION, self._options))
                self._end_.send(hello[8:])  # without API, NUL and the length: the wire keeps frames apart
                await self._ready
        except TimeoutError as e:
            await self.close(at_once=True)
            raise BrokerUnavailable("no answer as TWS in time") from e
        except BaseException:
            self._ready.cancel()
            await self.close(at_once=True)
            raise

    async def close(self, *, at_once: bool = False) -> None:
        """Close the session."""
        if self._end_ is not None and not self._is_over:
            if at_once:
                self._end_.abort()
            else:
                self._end_.close()
            await asyncio.sleep(0)
        self._over("closed")

    def abort(self) -> None:
        """Drop the socket."""
        if self._end_ is not None:
            self._end_.abort()
            self._process.loop.call_soon(self._over, "aborted")

    def _closed(self) -> None:
        self._over("the broker closed the connection")

    def _over(self, reason: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        error = BrokerUnavailable(f"the session with the broker is gone: {reason}")
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
        if self._ready is not None and not self._ready.done():
            in_use = self._last_code == 326 or self._has_version
            self._ready.set_exception(ClientIdInUse(reason) if in_use else BrokerUnavailable(reason))
            return
        self.listener.closed(reason)

    # -- what comes

    def _take(self, item: tuple[Any, ...]) -> None:
        if self._is_over:
            return
        self.listener.read_began()
        getattr(self, f"_on_{item[0]}")(*item[1:])
        self.listener.read_ended()

    def _on_version(self, version: int) -> None:
        _ = version
        self._has_version = True
        if self.is_open:
            self._send(q.StartApi(self._client_id))

    def _on_accounts(self, accounts: tuple[str, ...]) -> None:
        self._accounts = accounts

    def _on_next_id(self, order_id: int) -> None:
        self._next_valid_id = order_id
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _on_error(self, error: Any) -> None:
        if error.code == 326:
            self._last_code = 326
            return
        self.listener.error(error)

    def _on_order(self, order: BrokerOrder) -> None:
        listing = self._rows.get("open_orders")
        shown = replace(order, is_listed=listing is not None)
        if listing is not None:
            listing.append(shown)
        self.listener.order_shown(shown)

    def _on_status(self, line: Any) -> None:
        self.listener.order_status(line)

    def _on_open_end(self) -> None:
        self._finish("open_orders")

    def _on_completed(self, order: BrokerOrder) -> None:
        self._row("completed_orders", order)

    def _on_completed_end(self) -> None:
        self._finish("completed_orders")

    def _on_execution(self, req_id: int, row: BrokerExecution) -> None:
        if req_id in self._rows:
            self._rows[req_id].append(row)
        else:
            self.listener.executed(row)

    def _on_executions_end(self, req_id: int) -> None:
        self._finish(req_id)

    def _on_commission(self, report: Any) -> None:
        self.listener.commission(report)

    def _on_position(self, position: BrokerPosition) -> None:
        self._row("positions", position)
        self.listener.position(position)

    def _on_positions_end(self) -> None:
        self._finish("positions")

    def _on_account_value(self, account: str, tag: str, value: str, currency: str) -> None:
        self.listener.account_value(account, tag, value, currency)

    def _on_account_end(self) -> None:
        self._finish("account")

    def _on_time(self) -> None:
        """Nothing to do: that something came is what counts."""

    def _on_price(self, req_id: int, tick_type: int, price: float, size: float) -> None:
        self.listener.price_tick(req_id, tick_type, price, size)

    def _row(self, key: Any, row: Any) -> None:
        rows = self._rows.get(key)
        if rows is not None:
            rows.append(row)

    def _finish(self, key: Any) -> None:
        future = self._waiting.get(key)
        if future is not None and not future.done():
            future.set_result(self._rows.pop(key, []))

    # -- what is asked

    def _send(self, *requests: Request) -> None:
        if not self.is_open or self._end_ is None:
            raise BrokerUnavailable("the session with the broker is closed: nothing was sent")
        for request in requests:
            self._end_.send(encode_request(request, VERSION))

    async def _ask(self, key: Any, request: Request, *, limit_s: float, what: str) -> list[Any]:
        lock = self._locks.setdefault(key, asyncio.Lock()) if isinstance(key, str) else asyncio.Lock()
        try:
            async with asyncio.timeout(limit_s), lock:
                future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
                self._waiting[key] = future
                self._rows[key] = []
                try:
                    self._send(request)
                    return await future
                finally:
                    self._waiting.pop(key, None)
                    self._rows.pop(key, None)
                    if not future.done():
                        future.cancel()
        except TimeoutError as e:
            raise TimedOut(f"the broker did not answer {what} within {limit_s:g} s") from e

    async def open_orders(self, *, limit_s: float, of_everybody: bool = False) -> list[BrokerOrder]:
        """Return the open orders."""
        request: Request = q.ReqAllOpenOrders() if of_everybody else q.ReqOpenOrders()
        return await self._ask("open_orders", request, limit_s=limit_s, what="the open orders")

    async def completed_orders(self, *, limit_s: float) -> list[BrokerOrder]:
        """Return today's completed orders."""
        return await self._ask("completed_orders", q.ReqCompletedOrders(False), limit_s=limit_s, what="completed")

    async def executions(self, *, limit_s: float, since_ns: int = 0) -> list[BrokerExecution]:
        """Return the executions since midnight, or since a later moment."""
        self._next_request += 1
        req_id = self._next_request
        return await self._ask(
            req_id, q.ReqExecutions(req_id, time=utc_text(since_ns)), limit_s=limit_s, what="the executions"
        )

    async def positions(self, *, limit_s: float) -> list[BrokerPosition]:
        """Return all positions."""
        return await self._ask("positions", q.ReqPositions(), limit_s=limit_s, what="the positions")

    async def account_values(self, account: str, *, limit_s: float) -> None:
        """Ask for the account's values."""
        await self._ask("account", q.ReqAccountUpdates(True, account), limit_s=limit_s, what="the account's values")

    def stop_account_values(self, account: str) -> None:
        """Stop account updates."""
        if self.is_open:
            self._send(q.ReqAccountUpdates(False, account))

    def watch_pnl(self, account: str) -> None:
        """Ask for nothing: the model has no P&L."""

    def ask_time(self) -> None:
        """Ask the time."""
        self._send(q.ReqCurrentTime())

    async def contracts(self, name: ContractName, *, limit_s: float) -> list[ContractInfo]:
        """Return the contract of a conId."""
        _ = limit_s
        return [self._dialer.info_of(int(name.con_id or 0))]

    async def search(self, pattern: str, *, limit_s: float) -> list[ContractName]:
        """Return nothing."""
        _ = pattern, limit_s
        return []

    async def history(self, contract: ContractInfo, **more: Any) -> list[HistoryBar]:
        """Return nothing."""
        _ = contract, more
        return []

    def subscribe(self, contract: ContractInfo) -> int:
        """Begin market data."""
        self._next_request += 1
        self._send(q.ReqMktData(self._next_request, _contract_of(contract.con_id)))
        return self._next_request

    def unsubscribe(self, req_id: int) -> None:
        """End market data."""
        if self.is_open:
            self._send(q.CancelMktData(req_id))

    def allow_delayed(self) -> None:
        """Ask for nothing."""

    # -- orders

    def prepare(self, orders: Sequence[OrderTerms], contract: ContractInfo | None) -> None:
        """Encode nothing ahead."""
        _ = orders, contract

    def place(self, orders: Sequence[ClaimedOrder], contract: ContractInfo | None) -> None:
        """Write all orders of a group in one go."""
        _ = contract
        self._send(*[_request_of(order) for order in orders])

    def cancel(self, order_id: int) -> None:
        """Ask to cancel an order."""
        self._send(q.CancelOrder(order_id))

    def cancel_everything(self) -> None:
        """Ask to cancel every order of the login."""
        self._send(q.ReqGlobalCancel())


def _request_of(order: ClaimedOrder) -> q.PlaceOrder:
    terms = TwsOrder(
        order.side.value, Decimal(order.quantity), str(order.order_type), order.limit_price, order.stop_price,
        str(order.tif), oca_group=order.oca_group, order_ref=order.order_ref, transmit=order.transmit,
        parent_id=order.parent_id, account=order.account,
    )  # fmt: skip
    return q.PlaceOrder(order.order_id, _contract_of(order.con_id), terms)


def _contract_of(con_id: int) -> TwsContract:
    return TwsContract(con_id, f"C{con_id}", "STK", exchange="SMART", currency="USD")
