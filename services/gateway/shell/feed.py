"""Stream market data: the wanted set from the bus, ticks packed to the bus.

Ticks of one network read leave together; a lone tick waits only for the publish before it. When Redis is slow, quotes
are coalesced in the core and what is lost is counted.

A hot standby has one, too: silent, it holds the leader's subscriptions on its own session and publishes nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from decimal import Decimal

from services.gateway import metrics
from services.gateway.core.evidence import BrokerError
from services.gateway.core.feed import Feed
from services.gateway.core.pacing import Lane
from services.gateway.core.tws_codes import CodeTable
from services.gateway.shell.contracts import Contracts
from services.gateway.shell.ib_session import IbSession
from services.gateway.shell.outbox import Outbox
from services.gateway.shell.pace import Pace
from shared.bus.dead_letter import decode_or_keep, is_readable
from shared.bus.ports import Bus, Entry, LeaseToken
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.errors import BrokerUnavailable, CqError, Fenced, OutcomeUnknown, TransientError
from shared.logs import get_logger
from shared.messages.control import SharesToBorrow
from shared.messages.market import DataStatus, SubscriptionRequest, Tick, pack_valid

SHARES_TO_BORROW = 89
"""The tickSize type of shares to borrow, which generic tick 236 brings (ib-facts E.3)."""
RESUBSCRIBE_S = 15.0
"""How long after a refused subscription it is tried again."""
LOOK_AGAIN_S = 1.0
"""How long a standby waits for the leader to write a contract down."""
LISTEN_S = 10.0
"""How long market data may take to go on after an outage in which TWS says that it kept it."""
TOO_MANY_LINES = 101


class FeedDesk:
    """Subscriptions and ticks of the leader, or of a hot standby, on whatever data session there is."""

    def __init__(
        self, bus: Bus, outbox: Outbox, contracts: Contracts, codes: CodeTable, *, source: str,
        session: Callable[[], IbSession | None], pace: Pace, clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self.feed = Feed()
        self._bus = bus
        self._outbox = outbox
        self._contracts = contracts
        self._codes = codes
        self._source = source
        self._session = session
        self._clock = clock
        self._wanted: tuple[int, ...] = ()
        self._req_of: dict[int, int] = {}
        self._retry_ns: dict[int, int] = {}
        self._lendable: dict[int, float] = {}
        self._more = asyncio.Event()
        self._pace = pace
        self._now_ns = 0
        self._dropped = 0
        self._subscribed_on: IbSession | None = None
        self._is_cold = False
        self._faces: dict[int, tuple[float, ...]] = {}
        self._listen_until_ns = 0

    # -- silent while standing by

    def hush(self) -> None:
        """Keep the subscriptions and say nothing of them from here on: another gateway leads."""
        self.feed.hush()

    def speak(self) -> None:
        """Say what every subscription is at this moment, and from here on everything; nothing unless it was silent."""
        if not self.feed.is_silent:
            return
        self._is_cold = False
        if self._session() is not self._subscribed_on:
            self.feed.clear()  # of a session that is gone: the wanted set is subscribed anew
        for con_id, quality in self.feed.qualities.items():
            self._say_quality(con_id, quality)
        lendable, self._lendable = self._lendable, {}
        for con_id, shares in lendable.items():
            self._take_lendable(con_id, shares)
        self._retry_ns.clear()  # what the broker refused a standby is asked for again, so that the refusal is told
        self.feed.speak(self._clock.wall_ns())
        self._more.set()

    # -- told by the data session

    def read_began(self) -> None:
        """Stamp what follows with the time of the read."""
        self._now_ns = self._clock.wall_ns()

    def price_tick(self, req_id: int, tick_type: int, price: float, size: float) -> None:
        """Take a tickPrice."""
        self.feed.price(req_id, tick_type, price, size, self._now_ns)

    def size_tick(self, req_id: int, tick_type: int, size: float) -> None:
        """Take a tickSize."""
        if tick_type == SHARES_TO_BORROW:
            self._take_lendable(self.feed.con_id_of(req_id), size)
            return
        self.feed.size(req_id, tick_type, size, self._now_ns)

    def _take_lendable(self, con_id: int, shares: float) -> None:
        """Say on the bus how many shares there are to borrow, where that has changed."""
        if con_id and math.isfinite(shares) and shares >= 0 and self._lendable.get(con_id) != shares:
            self._lendable[con_id] = shares
            message = SharesToBorrow(ts_init_ns=self._clock.wall_ns(), con_id=con_id, shares=Decimal(int(shares)))
            self._outbox.put(self._bus.keys.broker_status, message)

    def read_ended(self) -> None:
        """Let the ticks of this read go."""
        self.feed.read_ended(self._now_ns)
        if self.feed.waiting:
            self._more.set()

    def data_type(self, req_id: int, quality: int) -> None:
        """Take what kind of data flows, and say so on the bus."""
        con_id = self.feed.data_type(req_id, quality)
        if con_id:
            self._say_quality(con_id, quality)

    def _say_quality(self, con_id: int, quality: int) -> None:
        status = DataStatus(ts_init_ns=self._clock.wall_ns(), con_id=con_id, quality=quality)
        self._outbox.put(self._bus.keys.broker_status, status)

    def error(self, error: BrokerError) -> bool:
        """Take an error of a subscription; False if its id is none of ours."""
        con_id = self.feed.con_id_of(error.req_id)
        if not con_id:
            return False
        info = self._codes.look_up(error.code)
        text = f"{error.text} — {info.text}" if info.text else error.text
        self._outbox.put(
            self._bus.keys.broker_status,
            DataStatus(ts_init_ns=self._clock.wall_ns(), con_id=con_id, code=error.code, text=text),
        )
        if error.code not in (10167, 10090, 2104, 300):  # with these the data flow, or nothing is subscribed
            get_logger().warning("subscription.refused", con_id=con_id, code=error.code, text=error.text)
            self._drop(con_id)
            self._retry_ns[con_id] = self._clock.monotonic_ns() + int(RESUBSCRIBE_S * NS_PER_S)
        if error.code == TOO_MANY_LINES and self.feed.is_silent:
            self._give_lines_back()
        return True

    def _give_lines_back(self) -> None:
        """Hold no line from here on: the account has not got enough of them, and the leader needs them."""
        get_logger().warning("standby.lines_given_back", lines=len(self._req_of))
        self.stop()
        self._is_cold = True

    def _drop(self, con_id: int) -> None:
        self._lendable.pop(con_id, None)
        req_id = self._req_of.pop(con_id, None)
        if req_id is not None:
            self.feed.unsubscribe(req_id)

    def renew(self) -> None:
        """Subscribe everything anew, with new request ids (after 1101, or on a new session)."""
        self._end(self._req_of)
        self._retry_ns.clear()

    def listen(self) -> None:
        """Ask anew, in a while, for what stays silent after an outage in which TWS says that it kept all (1102).

        IB promises that, and users see data that does not come back (ib-facts D.4). What goes on is left alone: asking
        for it would cost every reader a gap, and the session a message for each contract.
        """
        self._faces = self.feed.faces
        self._listen_until_ns = self._clock.monotonic_ns() + int(LISTEN_S * NS_PER_S)

    def _renew_silent(self) -> None:
        now = self.feed.faces
        silent = [con_id for con_id, face in self._faces.items() if now.get(con_id) == face]
        self._faces, self._listen_until_ns = {}, 0
        if silent:
            get_logger().warning("subscriptions.silent", con_ids=silent)
            self._end(silent)

    def _end(self, con_ids: Iterable[int]) -> None:
        """End subscriptions; what of them is wanted is subscribed with the next look."""
        session = self._session()
        for con_id in [con_id for con_id in con_ids if con_id in self._req_of]:
            if session is not None and session is self._subscribed_on:
                session.unsubscribe(self._req_of[con_id])
            self._drop(con_id)

    def stop(self) -> None:
        """End everything: the leadership is over."""
        self._end(self._req_of)
        self.feed.clear()
        self._wanted = ()

    # -- loops

    async def run_wanted(self) -> None:
        """Follow the wanted set until cancelled."""
        stream = self._bus.keys.subscriptions
        cursor = "0-0"
        while True:
            try:
                if cursor == "0-0":
                    entries = await self._bus.read_last(stream, 1)
                    cursor = entries[-1].entry_id if entries else "0-1"
                else:
                    entries = (await self._bus.read({stream: cursor}, block_ms=250)).get(stream, [])
            except TransientError:
                await self._clock.sleep(0.2)
                continue
            for entry in entries:
                cursor = entry.entry_id
                await self._take_wanted(entry)
            await self._follow()

    async def _take_wanted(self, entry: Entry) -> None:
        if self.feed.is_silent and not is_readable(entry):
            return  # the leader keeps it as a dead letter
        try:
            envelope = await decode_or_keep(self._bus, entry, consumer=self._source)
        except (TransientError, OutcomeUnknown) as e:  # a newer set follows: this one is not worth waiting for
            get_logger().error("dead_letter.failed", error=str(e))
            return
        if envelope is not None and isinstance(envelope.message, SubscriptionRequest):
            self._wanted = tuple(dict.fromkeys(envelope.message.con_ids))
            self._end(envelope.message.renew)

    async def _follow(self) -> None:
        session = self._session()
        if session is None or not session.is_open or self._is_cold:
            return
        if session is not self._subscribed_on:
            for con_id in list(self._req_of):
                self._drop(con_id)
            self._subscribed_on = session
            self._faces, self._listen_until_ns = {}, 0
        now_ns = self._clock.monotonic_ns()
        if self._listen_until_ns and now_ns >= self._listen_until_ns:
            self._renew_silent()
        for con_id in [con_id for con_id in self._req_of if con_id not in self._wanted]:
            session.unsubscribe(self._req_of[con_id])
            self._drop(con_id)
        for con_id in self._wanted:
            if con_id not in self._req_of and now_ns >= self._retry_ns.get(con_id, 0):
                await self._subscribe(session, con_id)
        metrics.SUBSCRIPTIONS.set(len(self._req_of))

    async def _subscribe(self, session: IbSession, con_id: int) -> None:
        if self.feed.is_silent and not await self._is_written_down(con_id):
            self._retry_ns[con_id] = self._clock.monotonic_ns() + int(LOOK_AGAIN_S * NS_PER_S)
            return
        try:
            contract = await self._contracts.get(con_id)
            await self._pace.slot(Lane.SUBSCRIPTION)
            if not session.is_open:
                return
            req_id = session.subscribe(contract)
        except BrokerUnavailable:
            return
        except CqError as e:
            self._retry_ns[con_id] = self._clock.monotonic_ns() + int(RESUBSCRIBE_S * NS_PER_S)
            self._outbox.put(
                self._bus.keys.broker_status,
                DataStatus(ts_init_ns=self._clock.wall_ns(), con_id=con_id, code=200, text=str(e)),
            )
            get_logger().warning("subscription.failed", con_id=con_id, error=str(e))
            return
        self._req_of[con_id] = req_id
        self.feed.subscribe(req_id, con_id, self._clock.wall_ns())
        self._more.set()

    async def _is_written_down(self, con_id: int) -> bool:
        """Return whether the bus has a contract: what a standby alone had asked for, no successor would publish."""
        if self._contracts.known(con_id) is None:
            try:
                await self._contracts.load()
            except TransientError:
                return False
        return self._contracts.known(con_id) is not None

    async def run_ticks(self, token: LeaseToken, has_lease: Callable[[], bool]) -> None:
        """Publish ticks until cancelled.

        Raises:
            Fenced: we lead no more.
        """
        while True:
            self._more.clear()
            ticks = self.feed.take()
            if not ticks:
                await self._more.wait()
                continue
            if not has_lease():
                raise Fenced("the lease ran out")
            batches, count = self._batches(ticks)
            try:
                await self._bus.publish_ticks(token, batches, source=self._source)
            except (TransientError, OutcomeUnknown) as e:
                metrics.TICKS_DROPPED.inc(count)  # a tick is never sent twice: a snapshot tells how things are now
                get_logger().warning("ticks.lost", count=count, error=str(e))
                self.feed.lost({tick.con_id for tick in ticks}, self._clock.wall_ns())
                await self._clock.sleep(0.05)
                continue
            metrics.TICKS.inc(count)
            self._count_losses()

    def _batches(self, ticks: list[Tick]) -> tuple[list[tuple[int, bytes]], int]:
        """Return the packed batch of each partition, and how many ticks there are in all of them."""
        partition = self._bus.keys.partition
        parts: dict[int, list[Tick]] = {}
        for tick in ticks:
            parts.setdefault(partition(tick.con_id), []).append(tick)
        batches, count = [], len(ticks)
        for number, part in parts.items():
            body, rejected = pack_valid(part)
            if body:
                batches.append((number, body))
            if rejected:
                metrics.TICKS_REJECTED.inc(rejected)
                count -= rejected
        return batches, count

    def _count_losses(self) -> None:
        metrics.TICKS_DROPPED.inc(self.feed.dropped - self._dropped)
        self._dropped = self.feed.dropped
