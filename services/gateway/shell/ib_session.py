"""One session with TWS or IB Gateway: alone imports the broker library, and uses as little of it as possible.

Used of ib_insync: its message encoders (`Client`) and decoders (`Decoder`). Not used: `IB`, `Trade`, its wrapper, its
throttle, its connect procedure, its event loop look-up. What that avoids (ib-facts D.1): 326 noticed only at the
time-out (M1), orders turned Cancelled by any unknown code (M4a), fills of unknown orders dropped (M4c), corrections
added as fills (M4d), dead objects of an earlier session (M5, M6), a send queue that is lost silently (M7), singleton
requests that overwrite each other (M8), executions dropped for their time zone (M9), the policy's loop instead of the
running one (M12), and a half-synchronised session that looks connected (B.10).

Invariants:
1. One object is one session; once closed it is never used again.
2. A query ends with its end marker, or raises: an error, a time-out and a lost session are never an empty answer.
3. Everything is told to the listener in the order it came; a message that cannot be decoded is told as unreadable.
4. Orders of one group leave in one write.
"""

from __future__ import annotations

import asyncio
import math
import struct
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from services.gateway.core.evidence import (
    BrokerCommission,
    BrokerError,
    BrokerExecution,
    BrokerOrder,
    BrokerOrderStatus,
    BrokerPosition,
)
from services.gateway.core.ledger import ClaimedOrder
from services.gateway.ports import ClientIdInUse, QueryFailed, SessionListener
from services.gateway.shell.translate import (
    execution_of,
    grammar_name,
    info_of,
    number,
    order_of,
    position_of,
    rule_of,
)
from shared.clock import NS_PER_S
from shared.contracts import ContractName
from shared.errors import BrokerUnavailable, TimedOut
from shared.logs import get_logger
from shared.messages.market import ContractInfo, PriceIncrement
from shared.messages.requests import HistoryBar
from shared.money import ZERO, decimal_of

with warnings.catch_warnings():
    # eventkit asks for the policy's loop at import, which 3.12 deprecates (ib-facts M13); nothing of ours uses it.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ib_insync.client import Client
    from ib_insync.contract import Contract
    from ib_insync.decoder import Decoder
    from ib_insync.objects import ExecutionFilter
    from ib_insync.order import Order

MAX_FRAME_BYTES = 1 << 24
_HEAD = struct.Struct(">I")
_EXEC_TIME = 15
"""Index of the time in an execDetails message."""
_INFORMATIONAL = range(2100, 2200)
_REQUEST_GOES_ON = frozenset({10167, 366, 300, 10090})


class _Answers:
    """What the decoder and client call; everything that is not listed here is ignored."""

    def __init__(self, session: IbSession, time_zone: str) -> None:
        self._session = session
        self.ib = self
        self.TimezoneTWS = time_zone  # read by the decoder for times without a zone
        self.clientId = session.client_id

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _ignore


def _ignore(*_: object) -> None:
    """Take a message that this system has no use for."""


class _Decoder(Decoder):
    """The library's decoder without its habit of logging and dropping what fails."""

    def __init__(self, wrapper: Any, session: IbSession) -> None:
        super().__init__(wrapper, 0)
        self._session = session
        self.handlers[1] = self._price
        self.handlers[2] = self._size

    def wrap(self, methodName: str, types: Sequence[type], skip: int = 2) -> Callable[[Any], None]:  # noqa: N803
        """Return a handler that converts fields and lets errors out."""
        convert = [_CONVERT[each] for each in types]

        def handler(fields: Sequence[str]) -> None:
            method = getattr(self.wrapper, methodName)
            method(*[make(text) for make, text in zip(convert, fields[skip:], strict=False)])

        return handler

    def _price(self, fields: Sequence[str]) -> None:
        price = fields[4]
        if price:
            self._session.listener.price_tick(int(fields[2]), int(fields[3]), float(price), float(fields[5] or 0))

    def _size(self, fields: Sequence[str]) -> None:
        self._session.listener.size_tick(int(fields[2]), int(fields[3]), float(fields[4] or 0))

    def execDetails(self, fields: Sequence[str]) -> None:  # noqa: N802
        """Decode an execution even if its time zone is unknown here: the fill counts more than its hour (M9)."""
        try:
            super().execDetails(list(fields))  # type: ignore[no-untyped-call]
        except (ValueError, KeyError, LookupError, OSError):
            plain = list(fields)
            words = plain[_EXEC_TIME].replace("-", " ").split()
            plain[_EXEC_TIME] = f"{words[0]}-{words[1][:8]}"
            get_logger().warning("execution.zone_unknown", time=fields[_EXEC_TIME])
            super().execDetails(plain)  # type: ignore[no-untyped-call]

    def interpret(self, fields: Sequence[str]) -> None:
        """Decode one message; what fails is told."""
        handler = None
        try:
            handler = self.handlers.get(int(fields[0]))
            if handler is not None:
                handler(fields)
        except Exception as e:  # noqa: BLE001 - a message that does not decode must not end the session (P10)
            message_id = int(fields[0]) if fields and fields[0].isdigit() else -1
            self._session.listener.unreadable(message_id, fields, f"{type(e).__name__}: {e}")


_CONVERT: dict[type, Callable[[str], Any]] = {
    str: str,
    int: lambda text: int(text or 0),
    float: lambda text: float(text or 0),
    bool: lambda text: bool(int(text or 0)),
}


class _Wire(Client):
    """The library's encoders on our own socket handling: no throttle, no queue, no event loop look-up."""

    MaxRequests = 0

    def __init__(self, wrapper: _Answers, session: IbSession) -> None:
        super().__init__(wrapper)  # type: ignore[no-untyped-call]
        self._session = session
        self.decoder = _Decoder(wrapper, session)
        self.batch: list[bytes] | None = None
        self.buffer = bytearray()

    def sendMsg(self, msg: str) -> None:  # noqa: N802
        """Write one frame, or keep it for the write of its group."""
        data = msg.encode()
        frame = _HEAD.pack(len(data)) + data
        if self.batch is not None:
            self.batch.append(frame)
        else:
            self._session.write(frame)

    def take_bytes(self, data: bytes) -> list[list[str]]:
        """Return the frames that are complete now, as fields."""
        buffer = self.buffer
        buffer += data
        frames: list[list[str]] = []
        at, end = 0, len(buffer)
        while end - at >= 4:
            (size,) = _HEAD.unpack_from(buffer, at)
            if size > MAX_FRAME_BYTES:
                raise BrokerUnavailable(f"the broker sent a frame of {size} bytes: this is no TWS port")
            if end - at - 4 < size:
                break
            text = buffer[at + 4 : at + 4 + size].decode(errors="backslashreplace")
            frames.append(text.split("\0")[:-1])
            at += 4 + size
        del buffer[:at]
        return frames


class _Socket(asyncio.Protocol):
    """Bytes in, and the end."""

    def __init__(self, session: IbSession) -> None:
        self._session = session

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self._session.take_bytes(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end."""
        self._session.lost(str(exc) if exc else "the broker closed the connection")


class IbSession:
    """`services.gateway.ports.BrokerSession` over TCP.

    Args:
        client_id: under which to log in.
        listener: told of everything.
        options: connect options of the hello; a guard reads the trading claim there.
        time_zone: TWS' zone, for times that name none.
    """

    def __init__(self, client_id: int, listener: SessionListener, *, options: str = "", time_zone: str = "") -> None:
        self._client_id = client_id
        self.listener = listener
        answers = _Answers(self, time_zone)
        self._wire: Any = _Wire(answers, self)
        self._bind(answers)
        self._wire.clientId = client_id
        if options:
            self._wire.setConnectOptions(options)
        self._transport: asyncio.Transport | None = None
        self._ready: asyncio.Future[None] | None = None
        self._gone = asyncio.Event()
        self._is_over = False
        self._next_valid_id = 0
        self._next_request = 1
        self._accounts: tuple[str, ...] = ()
        self._waiting: dict[Any, asyncio.Future[list[Any]]] = {}
        self._rows: dict[Any, list[Any]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._last_error: tuple[int, str] = (0, "")
        self._rules: dict[int, tuple[PriceIncrement, ...]] = {}
        self._refused: str = ""

    # -- opening and closing

    async def open(self, host: str, port: int, *, limit_s: float) -> None:
        """Connect, shake hands, and wait for accounts and nextValidId.

        Raises:
            ClientIdInUse: the broker refuses the client id (326), or hangs up right after the hello.
            BrokerUnavailable: nobody listens, or the handshake did not end in time.
        """
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        try:
            async with asyncio.timeout(limit_s):
                self._transport, _ = await loop.create_connection(lambda: _Socket(self), host, port)
                self._wire.connState = Client.CONNECTING
                versions = f"v{Client.MinClientVersion}..{Client.MaxClientVersion}".encode()
                options = self._wire.connectOptions
                hello = versions + (b" " + options if options else b"")
                self._transport.write(b"API\0" + _HEAD.pack(len(hello)) + hello)
                await self._ready
        except TimeoutError as e:
            self._ready.cancel()
            await self.close(at_once=True)
            raise BrokerUnavailable(
                f"{host}:{port} accepted the connection but did not answer as TWS within {limit_s:g} s"
                if self._transport is not None
                else f"{host}:{port} does not answer"
            ) from e
        except OSError as e:
            raise BrokerUnavailable(
                f"nobody listens at {host}:{port} ({e.strerror or e}): does TWS or IB Gateway run with its API enabled?"
            ) from e
        except BaseException:
            self._ready.cancel()
            await self.close(at_once=True)
            raise

    async def close(self, *, at_once: bool = False) -> None:
        """Close the session; `at_once` drops what is still to be written."""
        transport = self._transport
        if transport is None or self._is_over:
            self._end("closed")
            return
        if at_once:
            transport.abort()
        else:
            transport.close()
        try:
            async with asyncio.timeout(1.0):
                await self._gone.wait()
        except TimeoutError:
            transport.abort()
        self._end("closed")

    def abort(self) -> None:
        """Drop the socket and everything still to be written, now."""
        if self._transport is not None:
            self._transport.abort()

    def lost(self, reason: str) -> None:
        """Note the end of the socket."""
        self._gone.set()
        self._end(reason)

    def _end(self, reason: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._wire.connState = Client.DISCONNECTED
        code, text = self._last_error
        why = f"{reason} ({code}: {text})" if code in (326, 1300, 100) else reason
        error = BrokerUnavailable(f"the session with the broker is gone: {why}")
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(
                ClientIdInUse(f"client id {self._client_id} is refused: {text or reason}")
                if code == 326 or self._wire.serverVersion()
                else BrokerUnavailable(f"the broker hung up during the hello: {reason}")
            )
            return
        self.listener.closed(why)

    @property
    def client_id(self) -> int:
        """Return the client id."""
        return self._client_id

    @property
    def is_open(self) -> bool:
        """Return whether the socket is there and not closing."""
        transport = self._transport
        return transport is not None and not self._is_over and not transport.is_closing()

    @property
    def accounts(self) -> tuple[str, ...]:
        """Return the accounts of the login."""
        return self._accounts

    @property
    def next_valid_id(self) -> int:
        """Return the broker's nextValidId."""
        return self._next_valid_id

    @property
    def unsent_bytes(self) -> int:
        """Return what the socket has not taken yet: a broker that stopped reading shows here."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def write(self, data: bytes) -> None:
        """Write bytes.

        Raises:
            BrokerUnavailable: the session is closed; nothing was written.
        """
        if not self.is_open or self._transport is None:
            raise BrokerUnavailable("the session with the broker is closed: nothing was sent")
        self._transport.write(data)

    # -- reading

    def take_bytes(self, data: bytes) -> None:
        """Decode what came and tell the listener."""
        self.listener.read_began()
        try:
            frames = self._wire.take_bytes(data)
        except BrokerUnavailable as e:
            self._end(str(e))
            if self._transport is not None:
                self._transport.abort()
            return
        interpret = self._wire.decoder.interpret
        for fields in frames:
            if not self._wire.serverVersion():
                self._shake(fields)
            else:
                interpret(fields)
        self.listener.read_ended()

    def _shake(self, fields: list[str]) -> None:
        wire = self._wire
        if len(fields) != 2 or not fields[0].isdigit() or int(fields[0]) < Client.MinClientVersion:
            self._end(f"the hello was answered by {fields[:2]}: TWS 972 or newer is needed")
            return
        wire._serverVersion = int(fields[0])
        wire.decoder.serverVersion = wire._serverVersion
        wire.connState = Client.CONNECTED
        wire.startApi()

    def _check_ready(self) -> None:
        if self._accounts and self._next_valid_id and self._ready is not None and not self._ready.done():
            self._wire._apiReady = True
            self._ready.set_result(None)

    def _bind(self, answers: Any) -> None:
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
        self._next_valid_id = order_id
        self._next_request = max(self._next_request, 1)
        self._check_ready()

    def _on_accounts(self, text: str) -> None:
        self._accounts = tuple(account for account in text.split(",") if account)
        self._check_ready()

    def _on_error(self, req_id: int, code: int, text: str, _advanced: str) -> None:
        if code in (326, 1300, 100):
            self._last_error = (code, text)
        if code == 326 and self._ready is not None and not self._ready.done():
            self._end(text)
            if self._transport is not None:
                self._transport.abort()
            return
        future = self._waiting.get(req_id)
        if future is not None and code not in _INFORMATIONAL and code not in _REQUEST_GOES_ON:
            self._rows.pop(req_id, None)
            if not future.done():
                future.set_exception(QueryFailed(code, text))
            return
        self.listener.error(BrokerError(req_id, code, text))

    def _on_open_order(self, order_id: int, contract: Any, order: Any, state: Any) -> None:
        if order.whatIf:
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

    def _row(self, key: Any, row: Any) -> None:
        rows = self._rows.get(key)
        if rows is not None:
            rows.append(row)

    def _finish(self, key: Any) -> None:
        future = self._waiting.get(key)
        if future is not None and not future.done():
            future.set_result(self._rows.pop(key, []))

    # -- asking

    def _request_id(self) -> int:
        """Return an id above every order id of this session: one number space, as TWS has it."""
        self._next_request += 1
        return self._next_request + 500_000_000

    async def _ask(self, key: Any, send: Callable[[], None], *, limit_s: float, what: str) -> list[Any]:
        """Send a request and wait for its end marker; requests without an id are serialised (M8)."""
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

    async def open_orders(self, *, limit_s: float, of_everybody: bool = False) -> list[BrokerOrder]:
        """Return the open orders, of this client id or of all."""
        send = self._wire.reqAllOpenOrders if of_everybody else self._wire.reqOpenOrders
        return await self._ask("open_orders", send, limit_s=limit_s, what="the list of open orders")

    async def completed_orders(self, *, limit_s: float) -> list[BrokerOrder]:
        """Return today's completed orders."""
        return await self._ask(
            "completed_orders",
            lambda: self._wire.reqCompletedOrders(False),
            limit_s=limit_s,
            what="the completed orders",
        )

    async def executions(self, *, limit_s: float) -> list[BrokerExecution]:
        """Return the executions since midnight of the broker's zone."""
        req_id = self._request_id()
        return await self._ask(
            req_id,
            lambda: self._wire.reqExecutions(req_id, ExecutionFilter()),
            limit_s=limit_s,
            what="the executions",
        )

    async def positions(self, *, limit_s: float) -> list[BrokerPosition]:
        """Return all positions of the login, and begin to tell changes."""
        return await self._ask("positions", self._wire.reqPositions, limit_s=limit_s, what="the positions")

    async def account_values(self, account: str, *, limit_s: float) -> None:
        """Ask for all values of an account, told through the listener, and begin to tell changes."""
        await self._ask(
            "account",
            lambda: self._wire.reqAccountUpdates(True, account),
            limit_s=limit_s,
            what="the account's values",
        )

    def stop_account_values(self, account: str) -> None:
        """Stop account updates and positions."""
        if self.is_open:
            self._wire.reqAccountUpdates(False, account)
            self._wire.cancelPositions()

    def watch_pnl(self, account: str) -> None:
        """Begin to tell the account's P&L."""
        self._wire.reqPnL(self._request_id(), account, "")

    def ask_time(self) -> None:
        """Ask the time."""
        self._wire.reqCurrentTime()

    async def contracts(self, name: ContractName, *, limit_s: float) -> list[ContractInfo]:
        """Return every contract a name could mean, with the price steps of its exchange."""
        req_id = self._request_id()
        wanted = _contract_of_name(name)
        found = await self._ask(
            req_id,
            lambda: self._wire.reqContractDetails(req_id, wanted),
            limit_s=limit_s,
            what=f"what {name} is",
        )
        return [info_of(details, await self._increments(rule_of(details), limit_s)) for details in found]

    async def _increments(self, rule: int, limit_s: float) -> tuple[PriceIncrement, ...]:
        if rule and rule not in self._rules:
            try:
                rows = await self._ask(
                    f"rule-{rule}",
                    lambda: self._wire.reqMarketRule(rule),
                    limit_s=min(limit_s, 2.0),
                    what=f"market rule {rule}",
                )
            except (TimedOut, QueryFailed) as e:
                get_logger().warning("market_rule.missing", rule=rule, error=str(e))
                return ()
            self._rules[rule] = tuple(rows)
        return self._rules.get(rule, ())

    async def search(self, pattern: str, *, limit_s: float) -> list[ContractName]:
        """Return names that match a pattern."""
        req_id = self._request_id()
        return await self._ask(
            req_id,
            lambda: self._wire.reqMatchingSymbols(req_id, pattern),
            limit_s=limit_s,
            what=f"names like {pattern}",
        )

    async def history(
        self, contract: ContractInfo, *, end_ns: int, duration: str, bar_size: str, what: str, use_rth: bool,
        limit_s: float,
    ) -> list[HistoryBar]:  # fmt: skip
        """Return historical bars, oldest first."""
        req_id = self._request_id()
        end = datetime.fromtimestamp(end_ns / NS_PER_S, UTC).strftime("%Y%m%d-%H:%M:%S") if end_ns else ""

        def send() -> None:
            self._wire.reqHistoricalData(
                req_id, _contract_of(contract), end, duration, bar_size, what, use_rth, 2, False, []
            )

        try:
            rows = await self._ask(req_id, send, limit_s=limit_s, what="historical bars")
        except TimedOut:
            if self.is_open:
                self._wire.cancelHistoricalData(req_id)
            raise
        return [_bar_of(row) for row in rows]

    def subscribe(self, contract: ContractInfo) -> int:
        """Begin market data; return the request id."""
        req_id = self._request_id()
        self._wire.reqMktData(req_id, _contract_of(contract), "", False, False, [])
        return req_id

    def unsubscribe(self, req_id: int) -> None:
        """End market data."""
        if self.is_open:
            self._wire.cancelMktData(req_id)

    def allow_delayed(self) -> None:
        """Let the broker fall back to delayed data; live still wins."""
        self._wire.reqMarketDataType(3)

    # -- orders

    def place(self, orders: Sequence[ClaimedOrder], contract: ContractInfo | None) -> None:
        """Write all orders of a group in one write."""
        if not self.is_open:
            raise BrokerUnavailable("the session with the broker is closed: nothing was sent")
        wire = self._wire
        wire.batch = []
        try:
            for order in orders:
                where = (
                    _contract_of(contract) if contract is not None else Contract(conId=order.con_id, exchange="SMART")
                )
                wire.placeOrder(order.order_id, where, _order_of(order))
            data = b"".join(wire.batch)
        finally:
            wire.batch = None
        self.write(data)

    def cancel(self, order_id: int) -> None:
        """Ask to cancel an order of this client id."""
        self._wire.cancelOrder(order_id, "")

    def cancel_everything(self) -> None:
        """Ask to cancel every order of the login."""
        self._wire.reqGlobalCancel()


def _text(value: Any) -> str:
    return format(value, "f")


def _order_of(order: ClaimedOrder) -> Any:
    made: Any = Order()
    fields = dict(
        orderId=order.order_id,
        action=str(order.side),
        totalQuantity=_text(order.quantity),
        orderType=str(order.order_type),
        tif=str(order.tif),
        orderRef=order.order_ref,
        account=order.account,
        transmit=order.transmit,
        outsideRth=order.outside_rth,
        parentId=order.parent_id,
    )
    for name, value in fields.items():
        setattr(made, name, value)  # quantities and prices as exact text: the encoder passes text through
    if order.limit_price is not None:
        made.lmtPrice = _text(order.limit_price)
    if order.stop_price is not None:
        made.auxPrice = _text(order.stop_price)
    if order.oca_group:
        made.ocaGroup, made.ocaType = order.oca_group, 1
    return made


def _contract_of(info: ContractInfo) -> Any:
    return Contract(
        conId=info.con_id,
        symbol=info.symbol,
        secType=info.sec_type,
        lastTradeDateOrContractMonth=info.expiry if info.sec_type in ("FUT", "OPT", "FOP") else "",
        strike=float(info.strike or 0),
        right=info.right,
        multiplier=_text(info.multiplier) if info.sec_type in ("FUT", "OPT", "FOP") else "",
        exchange=info.exchange or "SMART",
        currency=info.currency,
        localSymbol=info.local_symbol if info.sec_type in ("FUT", "OPT", "FOP") else "",
    )


def _contract_of_name(name: ContractName) -> Any:
    if name.con_id is not None:
        return Contract(conId=int(name.con_id))
    return Contract(
        symbol=name.symbol,
        secType=name.sec_type,
        exchange=name.exchange,
        primaryExchange=name.primary_exchange,
        currency=name.currency,
        lastTradeDateOrContractMonth=name.expiry,
        strike=float(name.strike or 0),
        right=name.right,
    )


def _value(value: float) -> float:
    return math.nan if abs(value) > 1e300 else value


def _bar_of(bar: Any) -> HistoryBar:
    text = str(bar.date)
    if len(text) == 8:
        moment = datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)
        ts_ns = int(moment.timestamp()) * NS_PER_S
    else:
        ts_ns = int(text) * NS_PER_S
    return HistoryBar(
        ts_ns=ts_ns, open=decimal_of(bar.open), high=decimal_of(bar.high), low=decimal_of(bar.low),
        close=decimal_of(bar.close), volume=number(bar.volume) or ZERO if bar.volume >= 0 else ZERO,
        vwap=number(bar.average) if bar.average > 0 else None, count=max(0, bar.barCount),
    )  # fmt: skip
