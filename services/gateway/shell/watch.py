"""Keep the data session, which every gateway has from its start: under its own client id, for data and watching.

While leading it feeds ticks and the account to the bus and looks at everybody's orders; while standing by it is kept
warm and silent. It never places an order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.gateway import metrics
from services.gateway.core.book import OrderBook
from services.gateway.core.evidence import BrokerError, BrokerOrder, BrokerOrderStatus, BrokerPosition
from services.gateway.core.farms import Farm
from services.gateway.core.link import Link, LinkAct, LinkTiming
from services.gateway.core.order_machine import OrderFact
from services.gateway.core.reconcile import missing_external
from services.gateway.core.tws_codes import CodeKind, CodeTable
from services.gateway.ports import ClientIdInUse, SessionListener
from services.gateway.settings import GatewaySettings
from services.gateway.shell.account import AccountDesk
from services.gateway.shell.feed import FeedDesk
from services.gateway.shell.ib_session import IbSession
from services.gateway.shell.outbox import Outbox
from shared.clock import SYSTEM_CLOCK, Clock, random_fraction
from shared.errors import BrokerUnavailable, TransientError
from shared.logs import get_logger
from shared.messages.control import FarmCondition, LinkState

TURN_S = 0.2


class WatchDesk(SessionListener):
    """The data session's listener: hands everything to who wants it now."""

    def __init__(self, codes: CodeTable) -> None:
        self._codes = codes
        self.feed: FeedDesk | None = None
        self.account: AccountDesk | None = None
        self.statuses: dict[int, BrokerOrderStatus] = {}
        """What came along with the last list of everybody's orders, by permId: how much of each is filled."""
        self.on_link: Callable[[int, str], None] = lambda _code, _text: None
        self.on_closed: Callable[[str], None] = lambda _reason: None

    @property
    def lines(self) -> int:
        """Return how many contracts are subscribed."""
        return len(self.feed.feed.subscribed) if self.feed is not None else 0

    def read_began(self) -> None:
        """Note a sign of life; stamp the ticks of this read."""
        self.on_link(0, "")
        if self.feed is not None:
            self.feed.read_began()

    def read_ended(self) -> None:
        """Let the ticks of this read go."""
        if self.feed is not None:
            self.feed.read_ended()

    def price_tick(self, req_id: int, tick_type: int, price: float, size: float) -> None:
        """Take a tickPrice."""
        if self.feed is not None:
            self.feed.price_tick(req_id, tick_type, price, size)

    def size_tick(self, req_id: int, tick_type: int, size: float) -> None:
        """Take a tickSize."""
        if self.feed is not None:
            self.feed.size_tick(req_id, tick_type, size)

    def order_status(self, line: BrokerOrderStatus) -> None:
        """Take an orderStatus, which follows each order of a list."""
        if line.perm_id:
            self.statuses[line.perm_id] = line

    def data_type(self, req_id: int, quality: int) -> None:
        """Take what kind of data flows."""
        if self.feed is not None:
            self.feed.data_type(req_id, quality)

    def position(self, position: BrokerPosition) -> None:
        """Take a position."""
        if self.account is not None:
            self.account.position(position)

    def portfolio(self, position: BrokerPosition, price: float, unrealized: float, realized: float) -> None:
        """Take a portfolio line."""
        if self.account is not None:
            self.account.portfolio(position, price, unrealized, realized)

    def account_value(self, account: str, tag: str, value: str, currency: str) -> None:
        """Take an account value."""
        if self.account is not None:
            self.account.value(account, tag, value, currency)

    def pnl(self, daily: float, unrealized: float, realized: float) -> None:
        """Take the account's P&L."""
        if self.account is not None:
            self.account.pnl(daily, unrealized, realized)

    def error(self, error: BrokerError) -> None:
        """Take an error of a subscription, of the link, or a notice."""
        info = self._codes.look_up(error.code)
        metrics.BROKER_ERRORS.labels(str(info.kind)).inc()
        if self.feed is not None and error.req_id > 0 and self.feed.error(error):
            return
        if info.kind in (CodeKind.LINK, CodeKind.SESSION):
            self.on_link(error.code, error.text)
        elif error.req_id != -1:
            get_logger().info("broker.notice", req_id=error.req_id, code=error.code, text=error.text)

    def unreadable(self, message_id: int, fields: object, error: str) -> None:
        """Count a message that did not decode; no order depends on this session."""
        metrics.UNREADABLE.inc()
        get_logger().warning("broker.message_unreadable", message_id=message_id, fields=str(fields)[:400], error=error)

    def closed(self, reason: str) -> None:
        """Note the end of the session."""
        self.on_closed(reason)


class Watch:
    """The data session, one after another."""

    def __init__(
        self, settings: GatewaySettings, codes: CodeTable, *,
        check_accounts: Callable[[tuple[str, ...]], str], clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._check_accounts = check_accounts
        self._clock = clock
        self.link = Link(LinkTiming(settings.probe_every_s, settings.silence_limit_s))
        self.desk = WatchDesk(codes)
        self.desk.on_link = self._on_link
        self.desk.on_closed = self._on_closed
        self.session: IbSession | None = None
        self._closing = ""
        self._turn = asyncio.Event()
        self.on_farm: Callable[[Farm], None] = lambda _farm: None
        """Takes each data farm whose condition changed."""

    @property
    def is_ready(self) -> bool:
        """Return whether data could flow now."""
        return self.link.state is LinkState.READY

    def _on_link(self, code: int, text: str) -> None:
        if not code:
            self.link.heard(self._clock.monotonic_ns())
            return
        for act in self.link.told(code, text):
            if act is LinkAct.RESUBSCRIBE and self.desk.feed is not None:
                self.desk.feed.renew()
            elif act is LinkAct.LISTEN and self.desk.feed is not None:
                self.desk.feed.listen()
            elif act is LinkAct.SHOW_FARM and self.link.farm is not None:
                metrics.BROKEN_FARMS.set(len(self.link.farms.broken))
                self._say_farm(self.link.farm)
            elif act is LinkAct.CLOSE:
                self._closing = f"code {code}"
        self._turn.set()

    def _say_farm(self, farm: Farm) -> None:
        if farm.condition is FarmCondition.BROKEN or farm.was_lost:
            get_logger().warning("farm.changed", farm=farm.name, condition=str(farm.condition), code=farm.code)
        self.on_farm(farm)

    def say_farms(self) -> None:
        """Say how every farm does that is known: a new leader's readers know what the last one said."""
        for farm in self.link.farms:
            self.on_farm(farm)

    def _on_closed(self, reason: str) -> None:
        self._closing = reason
        self._turn.set()

    async def run(self) -> None:
        """Keep a data session until cancelled; never gives up."""
        while True:
            session = await self._connect()
            try:
                await self._serve(session)
            finally:
                self.session = None
                self.link.closed(self._closing or "closed")
                metrics.LINK_UP.labels("data").set(0)
                await session.close(at_once=True)

    async def _connect(self) -> IbSession:
        settings = self._settings
        host, port = settings.endpoint
        while True:
            session = IbSession(settings.client_id, self.desk, time_zone=settings.tws_time_zone)
            self._closing = ""
            self.link.dialing()
            metrics.BROKEN_FARMS.set(0)
            try:
                await session.open(host, port, limit_s=settings.connect_limit_s)
                complaint = self._check_accounts(session.accounts)
                if complaint:
                    await session.close(at_once=True)
                    raise BrokerUnavailable(complaint)
                session.allow_delayed()
            except TransientError as e:
                if str(e) != self.link.reason:
                    get_logger().warning("data_link.refused", client_id=settings.client_id, reason=str(e))
                self.link.closed(str(e), 326 if isinstance(e, ClientIdInUse) else 0)
                await self._clock.sleep(self.link.retry_in_s(random_fraction()))
                continue
            self.link.connected(self._clock.monotonic_ns())
            self.link.synced()
            metrics.LINK_UP.labels("data").set(1)
            get_logger().info("data_link.connected", client_id=settings.client_id)
            self.session = session
            return session

    async def _serve(self, session: IbSession) -> None:
        while not self._is_leaving() and session.is_open:
            self._turn.clear()
            try:
                async with asyncio.timeout(TURN_S):
                    await self._turn.wait()
            except TimeoutError:
                pass
            for act in self.link.tick(self._clock.monotonic_ns()):
                if act is LinkAct.PROBE and session.is_open:
                    session.ask_time()
                elif act is LinkAct.CLOSE:
                    self._closing = "the broker does not answer on an open socket"
        get_logger().warning("data_link.lost", reason=self._closing)

    def _is_leaving(self) -> bool:
        return bool(self._closing)


class Others:
    """Looks at everybody's orders while leading: by hand in TWS, of other programs, of earlier trading ids."""

    def __init__(
        self, watch: Watch, book: OrderBook, outbox: Outbox, *, client_id: Callable[[], int], every_s: float,
        limit_s: float, clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self._watch = watch
        self._book = book
        self._outbox = outbox
        self._client_id = client_id
        self._every_s = every_s
        self._limit_s = limit_s
        self._clock = clock
        self._wake = asyncio.Event()
        self.listed_ns = 0
        """When the last list that was answered was asked for; monotonic."""

    def ask(self) -> None:
        """Look now."""
        self._wake.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._wake.clear()
            session = self._watch.session
            if session is not None and session.is_open:
                try:
                    await self.look(session)
                except TransientError as e:
                    get_logger().warning("others.not_answered", error=str(e))
            try:
                async with asyncio.timeout(self._every_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def look(self, session: IbSession) -> None:
        """Take the complete list of open orders of everybody; ours come on the trading session only."""
        asked_ns = self._clock.monotonic_ns()
        statuses = self._watch.desk.statuses
        statuses.clear()
        orders = await session.open_orders(limit_s=self._limit_s, of_everybody=True)
        foreign = [order for order in orders if order.client_id != self._client_id()]
        for order in foreign:
            self._take(order)
            track = self._book.get(order.order_ref[:32])
            if track is not None:  # of ours, under an earlier trading id
                track.seen_apart_ns = asked_ns
            if order.perm_id in statuses:  # an order by hand is filled in part without an execution of ours
                self._outbox.put_orders(self._book.status(statuses[order.perm_id], self._clock.wall_ns()).events)
        gone = missing_external(self._book, {order.perm_id for order in orders}, self._client_id())
        self.listed_ns = asked_ns
        if not gone:
            return
        done = {order.perm_id: order for order in await session.completed_orders(limit_s=self._limit_s)}
        for track in gone:
            if track.perm_id in done:
                self._take(done[track.perm_id])
                continue
            change = self._book.told(
                track, OrderFact.CANCELLED, self._clock.wall_ns(), by="broker", code="GATEWAY_GONE",
                text="not in the broker's list of open orders any more; how it ended is not shown to us",
            )  # fmt: skip
            self._outbox.put_orders(change.events)

    def _take(self, order: BrokerOrder) -> None:
        change = self._book.shown(order, self._clock.wall_ns(), session=0)
        self._outbox.put_orders(change.events)
