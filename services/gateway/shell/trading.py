"""Keep the trading session: connect, find out what happened, keep it alive, connect again.

Only the leader runs this. Its session carries the trading client id, and through a guard the claim (epoch, owner,
incarnation). Orders may go out while `can_send`: the lease is held, the session is READY, the evidence is complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from services.gateway import metrics
from services.gateway.core.book import OrderBook
from services.gateway.core.evidence import Evidence
from services.gateway.core.ledger import OrderIds, room_for_lost_ids
from services.gateway.core.link import Link, LinkAct, LinkTiming
from services.gateway.core.order_machine import OrderFact
from services.gateway.core.pacing import Lane, Pacer
from services.gateway.core.reconcile import Findings, reconcile
from services.gateway.core.takeover import Part, Step, Takeover
from services.gateway.core.tws_codes import CodeTable
from services.gateway.core.windows import Windows
from services.gateway.ports import ClientIdInUse
from services.gateway.settings import GatewaySettings
from services.gateway.shell.asking import DAY_FIELD, ask_day, ask_lately
from services.gateway.shell.executions import OrderDesk
from services.gateway.shell.ib_session import IbSession
from services.gateway.shell.outbox import Outbox
from shared.bus.ports import Bus, LeaseToken
from shared.clock import NS_PER_MS, NS_PER_S, SYSTEM_CLOCK, Clock, random_fraction
from shared.errors import BrokerUnavailable, Fenced, TransientError
from shared.logs import get_logger
from shared.messages.control import BrokerStatus, LinkState, Reconciled
from shared.messages.orders import Command, OrderState
from shared.tws.hello import TradingClaim

TURN_S = 0.2
ODD_EVERY_S = 5.0
ROUNDS_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses between further questions while something stays in doubt."""


class Trading:
    """The leader's trading session, one after another."""

    def __init__(
        self, settings: GatewaySettings, bus: Bus, book: OrderBook, outbox: Outbox, codes: CodeTable,
        takeover: Takeover, token: LeaseToken, has_lease: Callable[[], bool], check_accounts: Callable[..., str],
        windows: Windows, *, began_ns: int, is_day_known: bool = False, clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._bus = bus
        self._book = book
        self._outbox = outbox
        self._takeover = takeover
        self._token = token
        self._has_lease = has_lease
        self._check_accounts = check_accounts
        self._windows = windows
        self._clock = clock
        self._began_ns = began_ns
        self._is_day_known = is_day_known
        """Whether all of the day was asked for and published in this incarnation of the bus, up to what came last."""
        self.link = Link(LinkTiming(settings.probe_every_s, settings.silence_limit_s))
        self.ids = OrderIds(room=0 if is_day_known else room_for_lost_ids(token.epoch))
        self.desk = OrderDesk(
            book, outbox, codes, settings.account, clock=clock,
            on_link=self._on_link, on_ask=self.ask, on_closed=self._on_closed,
        )  # fmt: skip
        self.session: IbSession | None = None
        self.session_number = 0
        self.opened_ns = 0
        """When the session was opened, monotonic; 0 while there is none."""
        self.rounds = 0
        """How many times the broker has told everything that is asked for after a loss; the books count on it."""
        self._told_in = 0
        self._pacer: Pacer[asyncio.Future[None]] = Pacer()
        self._pace = asyncio.Event()
        self._wanted: list[str] = []
        self._must_announce = False
        self._turn = asyncio.Event()
        self._changed = asyncio.Event()
        self._shown_state: tuple[LinkState, str] | None = None
        self._not_ready_since_ns = clock.monotonic_ns()
        self._in_doubt_round = 0
        self._next_round_ns = 0
        self._undisturbed_since_ns = 0
        self._id_refused_since_ns = 0
        self._id_index = 0
        self._back_to: int | None = None
        """While the first id is tried again: the one that was in use, which is taken again where that is refused."""
        self._closing = ""

    # -- what others ask

    @property
    def state(self) -> LinkState:
        """Return the visible state of the trading link."""
        return self.link.state

    @property
    def client_id(self) -> int:
        """Return the trading client id in use."""
        return self._settings.trading_client_ids[self._id_index]

    @property
    def can_send(self) -> bool:
        """Return whether an order may be written right now."""
        session = self.session
        return (
            self.link.state is LinkState.READY
            and self._takeover.may_send
            and session is not None
            and session.is_open
            and self._has_lease()
        )

    @property
    def has_caught_up(self) -> bool:
        """Return whether the broker has told on this session what happened all day, and nothing is in doubt."""
        is_told = self.session is not None and self._told_in == self.session_number
        return is_told and not self._wanted and not self._next_round_ns

    @property
    def not_ready_s(self) -> float:
        """Return for how long there has been no READY session."""
        if self.link.state is LinkState.READY:
            return 0.0
        return (self._clock.monotonic_ns() - self._not_ready_since_ns) / NS_PER_S

    def window(self, command: Command) -> str:
        """Return the broker's window for which this command is refused, or nothing: what reduces goes through."""
        return "" if command.is_reducing else self._windows.refusal(self._clock.wall_ns())

    async def wait_ready(self, limit_s: float) -> bool:
        """Wait until orders may be written, at most `limit_s`."""
        until_ns = self._clock.monotonic_ns() + int(limit_s * NS_PER_S)
        while not self.can_send:
            left_s = (until_ns - self._clock.monotonic_ns()) / NS_PER_S
            if left_s <= 0:
                return False
            self._changed.clear()
            try:
                async with asyncio.timeout(min(left_s, 0.5)):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return True

    def slot(self, lane: Lane, cost: int = 1) -> asyncio.Future[None]:
        """Return a future that is done when there is room in the broker's message budget: at once, if there is now.

        It ends with `BrokerUnavailable` if the session goes away before.

        Raises:
            PacingRefused: the lane's queue is full.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pacer.submit(lane, future, cost=cost)
        self._grant()
        if not future.done():
            self._pace.set()
        return future

    def _grant(self) -> None:
        for future in self._pacer.take(self._clock.monotonic_ns()):
            if not future.done():
                future.set_result(None)

    async def run_pacing(self) -> None:
        """Grant waiting slots as the window moves on."""
        while True:
            deadline_ns = self._pacer.deadline_ns()
            if deadline_ns is None:
                self._pace.clear()
                await self._pace.wait()
                continue
            await self._clock.sleep(max(0.001, (deadline_ns - self._clock.monotonic_ns()) / NS_PER_S))
            self._grant()

    def ask(self, reason: str, *, announce: bool = False) -> None:
        """Ask the broker for everything once more, soon; `announce` it too where others wait for a new RECONCILED."""
        self._must_announce |= announce
        if len(self._wanted) < 100:
            self._wanted.append(reason)
        self._turn.set()

    # -- told by the desk

    def _on_link(self, code: int, text: str) -> None:
        if not code:
            self.link.heard(self._clock.monotonic_ns())
            return
        for act in self.link.told(code, text):
            if act is LinkAct.RECONCILE:
                self._undisturbed_since_ns = self._clock.monotonic_ns()
                self.link.asking()
                self.ask(f"code {code}")
            elif act is LinkAct.CLOSE:
                self._closing = f"code {code}"
        self._turn.set()

    def _on_closed(self, reason: str) -> None:
        self._closing = reason
        self._turn.set()

    # -- the loop

    async def run(self) -> None:
        """Keep a session until cancelled."""
        try:
            while True:
                session = await self._connect()
                try:
                    await self._serve(session)
                finally:
                    self._leave(session)
                    await session.close(at_once=True)
                    self._show()
        finally:
            self._fail_slots("the leadership is over")

    def _leave(self, session: IbSession) -> None:
        self.session, self.opened_ns = None, 0
        self._takeover.disconnected()
        self.link.closed(self._closing or "closed")
        self._fail_slots("the session with the broker is gone")
        if session.is_open:
            get_logger().info("link.left", client_id=session.client_id)
        self._prefer_first_id()

    def _prefer_first_id(self) -> None:
        """Try the first id of the pool again, unless orders of ours work under the one in use."""
        ours = (track for track in self._book.open_tracks() if not track.is_external)
        if self._id_index and not any(track.client_id == self.client_id for track in ours):
            self._back_to, self._id_index = self._id_index, 0

    def _fail_slots(self, reason: str) -> None:
        for future in self._pacer.drain():
            if not future.done():
                future.set_exception(BrokerUnavailable(reason))

    async def _connect(self) -> IbSession:
        settings = self._settings
        host, port = settings.endpoint
        while True:
            if not self._has_lease():
                raise Fenced("the lease is over: no trading session is opened any more")
            self._show()
            session = IbSession(self.client_id, self.desk, options=self.claim(), time_zone=settings.tws_time_zone)
            try:
                self.session_number += 1
                self.desk.session_number, self.desk.client_id = self.session_number, self.client_id
                self._closing = ""
                self.link.dialing()
                await session.open(host, port, limit_s=settings.connect_limit_s)
                complaint = self._check_accounts(session.accounts)
                if complaint:
                    await session.close(at_once=True)
                    raise BrokerUnavailable(complaint)
            except TransientError as e:
                self._note_refusal(e)
                await self._clock.sleep(self.link.retry_in_s(random_fraction()))
                continue
            self._id_refused_since_ns = 0
            self._back_to = None
            self.session = session
            self.ids.next_valid(session.next_valid_id)
            self._undisturbed_since_ns = self._clock.monotonic_ns()
            self.opened_ns = self._undisturbed_since_ns
            self.link.connected(self._undisturbed_since_ns)
            self._takeover.connected()
            self._takeover.note(Step.CONNECT, self._undisturbed_since_ns)
            get_logger().info("link.connected", client_id=session.client_id, next_valid_id=session.next_valid_id)
            self._show()
            return session

    def claim(self) -> str:
        """Return the option of a hello by which a guard knows the leader, nothing without a guard."""
        if not self._settings.guard:
            return ""
        return TradingClaim(self._token.epoch, self._token.owner, self._token.incarnation).as_option()

    def _note_refusal(self, error: TransientError) -> None:
        now_ns = self._clock.monotonic_ns()
        code = 326 if isinstance(error, ClientIdInUse) else 0
        self.link.closed(str(error), code)
        if not code:
            self._id_refused_since_ns = 0
            return
        if self._back_to is not None:  # it is stuck still: no need to wait it out again
            self._id_index, self._back_to = self._back_to, None
            return
        self._id_refused_since_ns = self._id_refused_since_ns or now_ns
        ids = self._settings.trading_client_ids
        if len(ids) > 1 and now_ns - self._id_refused_since_ns > self._settings.id_in_use_limit_s * NS_PER_S:
            stuck = self.client_id
            self._id_index = (self._id_index + 1) % len(ids)
            self._id_refused_since_ns = 0
            get_logger().error("trading_id.stuck", client_id=stuck, next_client_id=self.client_id)

    async def _serve(self, session: IbSession) -> None:
        """Synchronise, then keep the session alive until it ends."""
        is_known = self._is_day_known and self.link.is_undisturbed
        if not await (self._begin_early(session) if is_known else self._synchronise(session)):
            return
        while not self._closing and session.is_open:
            self._turn.clear()
            try:
                async with asyncio.timeout(TURN_S):
                    await self._turn.wait()
            except TimeoutError:
                pass
            if self._is_leaving() or not await self._turn_once(session):
                return

    def _is_leaving(self) -> bool:
        return bool(self._closing)

    async def _turn_once(self, session: IbSession) -> bool:
        now_ns = self._clock.monotonic_ns()
        for act in self.link.tick(now_ns):
            if act is LinkAct.PROBE and session.is_open:
                session.ask_time()
            elif act is LinkAct.CLOSE:
                self._closing = "the broker does not answer on an open socket"
                return False
        self._doubt_silent(now_ns)
        is_due = bool(self._wanted) or (self._next_round_ns and now_ns >= self._next_round_ns)
        is_blocked = not self._takeover.may_send or self.link.state is LinkState.RECONCILING
        if (is_due or is_blocked) and self.link.is_undisturbed and not await self._synchronise(session):
            return False
        self._show()
        return True

    def _doubt_silent(self, now_ns: int) -> None:
        """Turn what was sent and never shown into UNKNOWN, and ask."""
        limit_ns = int(self._settings.echo_limit_s * NS_PER_S)
        for track in self._book.open_tracks():
            if track.state is OrderState.CLAIMED and track.sent_ns and now_ns - track.sent_ns > limit_ns:
                track.doubted_ns = now_ns
                self.desk.publish(
                    self._book.told(
                        track, OrderFact.DOUBTED, self._clock.wall_ns(), by="gateway", code="GATEWAY_UNKNOWN",
                        text="sent, and the broker has not shown it since",
                    )
                )  # fmt: skip
                self.ask("an order was not echoed")

    async def _synchronise(self, session: IbSession) -> bool:
        """Ask for everything, publish what is missing, announce; False if the session must go."""
        reasons, self._wanted = self._wanted, []
        must_announce = self._must_announce or not self._takeover.may_send or self.link.state is LinkState.RECONCILING
        self._must_announce = False
        try:
            evidence = await ask_day(
                session, self._settings, self.link, undisturbed_since_ns=self._undisturbed_since_ns, clock=self._clock
            )
        except TransientError as e:
            return self._not_answered(session, e, reasons)
        started_ns = evidence.asked_ns
        self._takeover.note(Step.ASK, self._clock.monotonic_ns())
        findings = self._apply(evidence)
        self._cancel_odd(session)
        await self._outbox.flushed()
        if self._closing or not self._has_lease():
            return False
        for part in Part:
            self._takeover.answered(part)
        self._takeover.published()
        self._takeover.note(Step.PUBLISH, self._clock.monotonic_ns())
        self.rounds, self._told_in = self.rounds + 1, self.session_number
        self._is_day_known = True
        self._outbox.put_hash(self._bus.keys.books, {DAY_FIELD: self._token.incarnation})
        self._schedule(findings)
        if must_announce:
            await self._announced(findings.orders_shown, len(findings.change.fills), started_ns)
        self._takeover.announced()
        self._show()
        return True

    async def _begin_early(self, session: IbSession) -> bool:
        """Announce once what came last is known and published, and ask for the whole day next."""
        started_ns, fills_before = self._clock.monotonic_ns(), self._book.fills_taken
        try:
            lately = await ask_lately(session, self._settings, last_fill_ns=self._book.last_fill_ns)
        except TransientError as e:
            return self._not_answered(session, e, ["a new session"])
        self._takeover.note(Step.ASK, self._clock.monotonic_ns())
        for execution in lately.executions:
            self.desk.take_execution(execution, is_late=True)
        self.ids.seen(self._book.highest_order_id())
        await self._outbox.flushed()
        if self._closing or not self._has_lease():
            return False
        self._takeover.day_known()
        for part in self._takeover.missing_parts():
            self._takeover.answered(part)
        self._takeover.published()
        self._takeover.note(Step.PUBLISH, self._clock.monotonic_ns())
        await self._announced(len(lately.open_orders), self._book.fills_taken - fills_before, started_ns)
        self._takeover.announced()
        self._show()
        self.ask("only what came last is known")
        return True

    def _not_answered(self, session: IbSession, error: TransientError, reasons: list[str]) -> bool:
        get_logger().warning("reconcile.failed", error=str(error), reasons=reasons)
        if session.is_open:
            self._closing = f"the broker did not answer: {error}"
        return False

    def _apply(self, evidence: Evidence) -> Findings:
        findings = reconcile(
            self._book, evidence, now_ns=self._clock.wall_ns(), monotonic_ns=self._clock.monotonic_ns(),
            quarantine_ns=int(self._settings.quarantine_s * NS_PER_S),
            session=0 if evidence.is_visit else self.session_number,
        )  # fmt: skip
        self.ids.seen(self._book.highest_order_id())
        self.desk.publish(findings.change)
        return findings

    async def take_day_of(self, session: IbSession) -> int:
        """Take what a session of another client id tells of its orders; return how many stay in doubt."""
        since_ns = self._undisturbed_since_ns
        evidence = await ask_day(
            session, self._settings, self.link, undisturbed_since_ns=since_ns, clock=self._clock
        )  # fmt: skip
        return len(self._apply(replace(evidence, is_visit=True)).in_doubt)

    def _schedule(self, findings: Findings) -> None:
        """Come back while something is in doubt, less and less often."""
        if not findings.in_doubt and not self._book.modifies and not self._book.odd_tracks():
            self._in_doubt_round, self._next_round_ns = 0, 0
            return
        pause_s = ROUNDS_S[min(self._in_doubt_round, len(ROUNDS_S) - 1)] + 0.5
        self._in_doubt_round += 1
        self._next_round_ns = self._clock.monotonic_ns() + int(pause_s * NS_PER_S)

    def _cancel_odd(self, session: IbSession) -> None:
        """Cancel what should not be there, until it has ended: an order declared absent, or a second one of an intent.

        The cancel may be lost with a session, or come while IB is away. It is not repeated while the broker works on
        it, nor at once: a double carries the order id of the first, which is meant to stay.
        """
        now_ns = self._clock.monotonic_ns()
        for track in self._book.odd_tracks():
            is_shown = track.shown_in == self.session_number and track.client_id == session.client_id
            is_asked = track.cancel_sent_ns and now_ns - track.cancel_sent_ns < ODD_EVERY_S * NS_PER_S
            if is_shown and not is_asked and track.state is not OrderState.CANCEL_PENDING and session.is_open:
                session.cancel(track.order_id)
                track.cancel_sent_ns = now_ns
                get_logger().error("order.odd_cancelled", order_id=track.order_id, perm_id=track.perm_id)

    async def _announced(self, orders_found: int, fills_recovered: int, started_ns: int) -> None:
        now_ns = self._clock.monotonic_ns()
        took_ns = now_ns - started_ns
        unknown = sum(1 for track in self._book.open_tracks() if track.state is OrderState.UNKNOWN)
        message = Reconciled(
            ts_init_ns=self._clock.wall_ns(), instance=self._token.owner, epoch=self._token.epoch,
            incarnation=self._token.incarnation, orders_found=orders_found,
            fills_recovered=fills_recovered, orders_unknown=unknown, took_ms=took_ns // NS_PER_MS,
        )  # fmt: skip
        self._outbox.put(self._bus.keys.broker_status, message)
        if self._began_ns:
            metrics.TAKEOVER_SECONDS.observe((now_ns - self._began_ns) / NS_PER_S)
            get_logger().info(
                "takeover.finished", took_ms=(now_ns - self._began_ns) // NS_PER_MS, unknown=unknown,
                phases_ms=self._takeover.times_ms(self._began_ns),
            )  # fmt: skip
            self._began_ns = 0
        await self._outbox.flushed()
        self.link.synced()

    def _show(self) -> None:
        """Publish the link's state when it changed, and wake who waits for it."""
        state = self.link.state
        shown = (state, self.link.reason)
        metrics.LINK_UP.labels("trading").set(1 if state is LinkState.READY else 0)
        metrics.show_state(state)
        if state is LinkState.READY or (self._shown_state is not None and self._shown_state[0] is LinkState.READY):
            self._not_ready_since_ns = self._clock.monotonic_ns()
        self._changed.set()
        if shown == self._shown_state:
            return
        if self._shown_state is None or self._shown_state[0] is not state:
            metrics.LINK_CHANGES.labels(str(state)).inc()
        self._shown_state = shown
        get_logger().info("link.changed", state=str(state), reason=self.link.reason, code=self.link.code)
        self._outbox.put(
            self._bus.keys.broker_status,
            BrokerStatus(
                ts_init_ns=self._clock.wall_ns(), instance=self._token.owner, state=state, reason=self.link.reason,
                is_leader=True, client_id=self._settings.client_id, trading_client_id=self.client_id,
                code=self.link.code, epoch=self._token.epoch,
            ),
        )  # fmt: skip

    @property
    def step(self) -> Step:
        """Return how far the take-over is."""
        return self._takeover.step()
