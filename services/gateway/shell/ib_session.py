"""One session with TWS or IB Gateway, over whichever broker library is chosen, using as little of it as possible.

What is heard is in `ib_heard.py`, how our orders and contracts look to the library in `ib_sent.py`, its bytes in
`ib_wire.py`, long answers in `ib_turns.py`, the choice of the library in `ib_library.py`.

Invariants:
1. One object is one session; once closed it is never used again.
2. A query ends with its end marker, or raises: an error, a time-out and a lost session are never an empty answer.
3. Everything is told to the listener in the order it came; a message that cannot be decoded is told as unreadable.
4. Orders of one group leave in one write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from services.gateway.core.evidence import BrokerExecution, BrokerOrder, BrokerPosition, BrokerWhatIf
from services.gateway.core.ledger import ClaimedOrder, OrderTerms
from services.gateway.ports import ClientIdInUse, QueryFailed, SessionListener
from services.gateway.shell.ib_forms import EncodedOrders, OrderForms
from services.gateway.shell.ib_heard import ENDINGS, Heard
from services.gateway.shell.ib_library import Library, chosen_library
from services.gateway.shell.ib_sent import contract_to_send, generic_ticks, name_to_send, utc_text, what_if_to_send
from services.gateway.shell.ib_turns import Turns
from services.gateway.shell.ib_wire import HEAD, Answers, Socket, open_wire
from services.gateway.shell.translate import bar_of, info_of, rule_of
from shared.contracts import ContractName
from shared.errors import BrokerUnavailable, TimedOut
from shared.logs import get_logger
from shared.messages.market import ContractInfo, PriceIncrement
from shared.messages.orders import OrderLeg
from shared.messages.requests import HistoryBar

MAX_VERSION = 176
"""The highest server version asked for, whichever library: what the guard reads, and what was tested."""


class IbSession:
    """`services.gateway.ports.BrokerSession` over TCP.

    Args:
        client_id: under which to log in.
        listener: told of everything.
        options: connect options of the hello; a guard reads the trading claim there.
        time_zone: TWS' zone, for times that name none.
        library: the broker library; the one this process has chosen if not given.
    """

    def __init__(
        self, client_id: int, listener: SessionListener, *, options: str = "", time_zone: str = "",
        library: Library | None = None,
    ) -> None:  # fmt: skip
        self._client_id = client_id
        self._library = library or chosen_library()
        self.listener = listener
        self._heard = Heard(listener, on_greeting=self._check_ready, on_refused=self._on_refused)
        answers = Answers(client_id, time_zone)
        self._heard.bind(answers)
        self._wire = open_wire(self._library, answers, self)
        self._wire.clientId = client_id
        if options:
            self._wire.setConnectOptions(options)
        self._transport: asyncio.Transport | None = None
        self._ready: asyncio.Future[None] | None = None
        self._gone = asyncio.Event()
        self._is_over = False
        self._next_request = 1
        self._rules: dict[int, tuple[PriceIncrement, ...]] = {}
        self._turns = Turns(self._hear, lambda: self.listener.read_ended())
        self._forms = OrderForms(self._library, self._wire)
        self._encoded: EncodedOrders | None = None

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
                self._transport, _ = await loop.create_connection(lambda: Socket(self), host, port)
                self._turns.transport = self._transport
                self._wire.connState = self._library.client.CONNECTING
                client = self._library.client
                versions = f"v{client.MinClientVersion}..{MAX_VERSION}".encode()
                options = self._wire.connectOptions
                hello = versions + (b" " + options if options else b"")
                self._transport.write(b"API\0" + HEAD.pack(len(hello)) + hello)
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
        self._turns.drop()
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
        """Drop the socket and everything still to be written or told, now."""
        self._turns.drop()
        if self._transport is not None:
            self._transport.abort()

    def lost(self, reason: str) -> None:
        """Note the end of the socket, after all that came before it."""
        self._turns.finish()
        self._gone.set()
        self._end(reason)

    def _end(self, reason: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._wire.connState = self._library.client.DISCONNECTED
        code, text = self._heard.last_error
        why = f"{reason} ({code}: {text})" if code in ENDINGS else reason
        error = BrokerUnavailable(f"the session with the broker is gone: {why}")
        self._heard.end(error)
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
        return self._heard.accounts

    @property
    def next_valid_id(self) -> int:
        """Return the broker's nextValidId."""
        return self._heard.next_valid_id

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
            self.abort()
            return
        self._turns.take(frames)

    def _hear(self, fields: list[str]) -> None:
        if not self._wire.serverVersion():
            self._shake(fields)
        else:
            self._wire.decoder.interpret(fields)

    def _shake(self, fields: list[str]) -> None:
        wire = self._wire
        if len(fields) != 2 or not fields[0].isdigit() or int(fields[0]) < self._library.client.MinClientVersion:
            self._end(f"the hello was answered by {fields[:2]}: TWS 972 or newer is needed")
            return
        wire._serverVersion = int(fields[0])
        wire.decoder.serverVersion = wire._serverVersion
        wire.connState = self._library.client.CONNECTED
        wire.startApi()

    def _check_ready(self) -> None:
        if self.accounts and self.next_valid_id and self._ready is not None and not self._ready.done():
            self._wire._apiReady = True
            self._ready.set_result(None)

    def _on_refused(self, text: str) -> bool:
        if self._ready is None or self._ready.done():
            return False
        self._end(text)
        self.abort()
        return True

    # -- asking

    def _request_id(self) -> int:
        """Return an id above every order id of this session: one number space, as TWS has it."""
        self._next_request += 1
        return self._next_request + 500_000_000

    async def open_orders(self, *, limit_s: float, of_everybody: bool = False) -> list[BrokerOrder]:
        """Return the open orders, of this client id or of all."""
        send = self._wire.reqAllOpenOrders if of_everybody else self._wire.reqOpenOrders
        return await self._heard.ask("open_orders", send, limit_s=limit_s, what="the list of open orders")

    async def completed_orders(self, *, limit_s: float) -> list[BrokerOrder]:
        """Return today's completed orders."""
        ask = partial(self._wire.reqCompletedOrders, False)
        return await self._heard.ask("completed_orders", ask, limit_s=limit_s, what="the completed orders")

    async def executions(self, *, limit_s: float, since_ns: int = 0) -> list[BrokerExecution]:
        """Return the executions since midnight of the broker's zone, or since a later moment (whole seconds)."""
        req_id = self._request_id()
        wanted = self._library.execution_filter(time=utc_text(since_ns))
        ask = partial(self._wire.reqExecutions, req_id, wanted)
        return await self._heard.ask(req_id, ask, limit_s=limit_s, what="the executions")

    async def positions(self, *, limit_s: float) -> list[BrokerPosition]:
        """Return all positions of the login, and begin to tell changes."""
        return await self._heard.ask("positions", self._wire.reqPositions, limit_s=limit_s, what="the positions")

    async def account_values(self, account: str, *, limit_s: float) -> None:
        """Ask for all values of an account, told through the listener, and begin to tell changes."""
        await self._heard.ask(
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
        wanted = name_to_send(self._library, name)
        found = await self._heard.ask(
            req_id,
            lambda: self._wire.reqContractDetails(req_id, wanted),
            limit_s=limit_s,
            what=f"what {name} is",
        )
        return [info_of(details, await self._increments(rule_of(details), limit_s)) for details in found]

    async def _increments(self, rule: int, limit_s: float) -> tuple[PriceIncrement, ...]:
        if rule and rule not in self._rules:
            try:
                rows = await self._heard.ask(
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
        return await self._heard.ask(
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
        end = utc_text(end_ns)

        def send() -> None:
            self._wire.reqHistoricalData(
                req_id, contract_to_send(self._library, contract), end, duration, bar_size, what, use_rth, 2, False, []
            )

        try:
            rows = await self._heard.ask(req_id, send, limit_s=limit_s, what="historical bars")
        except TimedOut:
            if self.is_open:
                self._wire.cancelHistoricalData(req_id)
            raise
        return [bar_of(row) for row in rows]

    def subscribe(self, contract: ContractInfo) -> int:
        """Begin market data; return the request id."""
        req_id = self._request_id()
        where = contract_to_send(self._library, contract)
        self._wire.reqMktData(req_id, where, generic_ticks(contract), False, False, [])
        return req_id

    def unsubscribe(self, req_id: int) -> None:
        """End market data."""
        if self.is_open:
            self._wire.cancelMktData(req_id)

    def allow_delayed(self) -> None:
        """Let the broker fall back to delayed data; live still wins."""
        self._wire.reqMarketDataType(3)

    # -- orders

    def prepare(self, orders: Sequence[OrderTerms], contract: ContractInfo | None) -> None:
        """Encode orders whose claim is under way; `place` writes the bytes if just these are claimed."""
        if self.is_open:
            self._encoded = EncodedOrders.of(self._forms, orders, contract)

    def place(self, orders: Sequence[ClaimedOrder], contract: ContractInfo | None) -> None:
        """Write all orders of a group in one write."""
        if not self.is_open:
            raise BrokerUnavailable("the session with the broker is closed: nothing was sent")
        encoded, self._encoded = self._encoded, None
        if encoded is None or not encoded.says(orders, contract):
            encoded = EncodedOrders.of(self._forms, orders, contract)
        self.write(encoded.data)

    async def what_if(
        self, order_id: int, leg: OrderLeg, contract: ContractInfo, account: str, *, limit_s: float
    ) -> BrokerWhatIf:
        """Ask what an order would cost; `order_id` is used up by it."""
        order = what_if_to_send(self._library, leg, account, order_id)
        where = contract_to_send(self._library, contract)
        rows: list[BrokerWhatIf] = await self._heard.ask(
            order_id,
            lambda: self._wire.placeOrder(order_id, where, order),
            limit_s=limit_s,
            what="what the order would cost",
        )
        return rows[0]

    def cancel(self, order_id: int) -> None:
        """Ask to cancel an order of this client id."""
        self._wire.cancelOrder(order_id, "")

    def cancel_everything(self) -> None:
        """Ask to cancel every order of the login."""
        self._wire.reqGlobalCancel()
