"""Carry out what risk approved: claim, then send, once; cancels first.

Two readers, one per stream, so that a cancel never queues behind orders. Both move their cursor in the script that
carries out the effect. Between the claim and the socket there is only one question: do we still lead, and is the
session READY? What was claimed and certainly not written ends `not_sent` at once; what may have been written is left
to the broker's evidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from services.gateway import metrics
from services.gateway.core.book import OrderBook
from services.gateway.core.cancels import Cancels
from services.gateway.core.ledger import (
    ClaimedOrder,
    claim_request,
    claimed,
    claimed_modify,
    failed_events,
    hoped_for,
    keep_known,
    may_be_at_broker,
    modify_request,
    was_claimed_now,
    why_not_modify,
)
from services.gateway.core.order_machine import OrderTrack
from services.gateway.core.pacing import Lane
from services.gateway.shell.contracts import Contracts
from services.gateway.shell.ib_session import IbSession
from services.gateway.shell.outbox import Outbox
from services.gateway.shell.overtaking import Overtaking
from services.gateway.shell.reading import FencedReader
from services.gateway.shell.sending import Sending
from services.gateway.shell.trading import Trading
from shared.bus.ports import Bus, ClaimRequest, Entry, LeaseToken, LedgerRow, entry_order
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.errors import BadInput, BrokerUnavailable, CqError, Fenced, OutcomeUnknown, Refused, TransientError
from shared.logs import get_logger
from shared.messages.codec import decode_fields, encode_body
from shared.messages.orders import CancelCommand, Command, Intent, IntentAction, OrderEvent

BLOCK_MS = 500
READY_S = 30.0
REPEATED_CANCELS = 500


class Commands:
    """The single fenced reader of `commands` and `cancel-commands`."""

    def __init__(
        self, bus: Bus, token: LeaseToken, book: OrderBook, outbox: Outbox, trading: Trading, contracts: Contracts, *,
        deployment_id: str, source: str, has_lease: Callable[[], bool], clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self._bus = bus
        self._token = token
        self._book = book
        self._outbox = outbox
        self._trading = trading
        self._contracts = contracts
        self._deployment_id = deployment_id
        self._source = source
        self._has_lease = has_lease
        self._clock = clock
        reader = FencedReader(bus, has_lease, block_ms=BLOCK_MS, clock=clock)
        self._read, self._retry = reader.read, reader.until_done
        self._overtaking = Overtaking(bus, self._place, clock=clock)
        self.sending = Sending()
        """Held from a claim to the write of its orders: who holds it knows that nothing is in between."""
        self.cancels = Cancels(keep=REPEATED_CANCELS)
        self.on_elsewhere: Callable[[list[OrderTrack]], None] = lambda _tracks: None
        """Takes orders of ours that are to be cancelled and live under another client id (`adoption.py`)."""
        trading.desk.on_shown = self._shown

    # -- orders

    async def run_commands(self) -> None:
        """Consume `commands` until cancelled."""
        stream = self._bus.keys.commands
        cursor = await self._retry(lambda: self._bus.get_cursor("commands"))
        while True:
            for entry in await self._read(stream, cursor):
                if self._overtaking.took(entry.entry_id):
                    await self._retry(partial(self._skip, "commands", entry.entry_id))
                else:
                    await self._command(entry)
                cursor = entry.entry_id

    async def _command(self, entry: Entry) -> None:
        try:
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
        except BadInput as e:
            await self._reject(entry, "commands", str(e))
            return
        if not isinstance(message, Command):
            await self._reject(entry, "commands", f"a {message.TYPE} is no command")
            return
        began_ns = self._clock.monotonic_ns()
        try:
            await (self._modify if message.intent.action is IntentAction.MODIFY else self._place)(message, entry)
        except (BadInput, Refused) as e:  # a damaged ledger: whether it was sent, the broker says
            await self._reject(entry, "commands", f"it cannot be claimed: {e}")
        metrics.CLAIM_SECONDS.observe((self._clock.monotonic_ns() - began_ns) / NS_PER_S)

    async def _reject(self, entry: Entry, stream_name: str, error: str) -> None:
        """Dead-letter an unreadable entry and ask the broker before anything else is done (P10)."""
        get_logger().error("entry.dead_lettered", stream=entry.stream, entry_id=entry.entry_id, error=error)

        async def act() -> str:
            await self._bus.dead_letter(entry, consumer=self._source, error=error)
            await self._bus.skip_entry(self._token, stream_name, entry.entry_id)
            return ""

        await self._retry(act)
        self._trading.link.asking()
        self._trading.ask(f"an entry of {stream_name} was unreadable")

    async def _place(self, command: Command, entry: Entry) -> None:
        legs = len(command.intent.legs)
        await self._make_known(command.intent.con_id)
        await self._wait_for_evidence(command)
        lane = Lane.REDUCING if command.is_reducing else Lane.ORDER
        late_reason = await self._wait_for_turn(command, lane, legs, "" if command.is_reducing else entry.entry_id)
        async with self.sending.turn():
            trading = self._trading
            request = claim_request(
                command, entry_id=entry.entry_id, deployment_id=self._deployment_id, client_id=trading.client_id,
                order_ids=trading.ids.take(legs), now_ns=self._clock.wall_ns(), late_reason=late_reason,
                window=trading.window(command),
            )  # fmt: skip
            request = keep_known(request, self._book)
            if trading.session is not None:  # in the next turn of the loop, while the claim is on its way
                asyncio.get_running_loop().call_soon(self._prepare, trading.session, command, request.order_ids)
            rows = await self._claim(request)
            if not was_claimed_now(rows, request, self._token.epoch):
                self._refused(request, rows)
                return
            orders = claimed(command, rows, deployment_id=self._deployment_id)
            is_same = trading.client_id == request.client_id
            self._send(command, orders, is_same=is_same, is_modify=False, events=request.if_claimed)

    def _prepare(self, session: IbSession, command: Command, order_ids: Sequence[int]) -> None:
        """Encode the orders of a claim under way: once it has succeeded, their bytes go at once."""
        hoped = hoped_for(command, order_ids, deployment_id=self._deployment_id)
        session.prepare(hoped, self._contracts.known(command.intent.con_id))

    async def _modify(self, command: Command, entry: Entry) -> None:
        target = next(iter(self._book.of_intent(command.intent.modifies, command.intent.legs[0].leg)), None)
        late_reason = await self._wait_for_turn(command, Lane.ORDER, 1, entry.entry_id)
        async with self.sending.turn():
            trading = self._trading
            session_number = trading.session_number
            refusal = late_reason or trading.window(command) or why_not_modify(command, target, trading.session_number)
            if not refusal and target is not None and target.order_ref in self._book.modifies:
                refusal = "another change of this order waits for the broker's word"
            request = modify_request(
                command, target, refusal=refusal, entry_id=entry.entry_id, deployment_id=self._deployment_id,
                now_ns=self._clock.wall_ns(),
            )  # fmt: skip
            rows = await self._claim(request)
            if not was_claimed_now(rows, request, self._token.epoch):
                self._refused(request, rows)
                return
            if refusal or target is None:
                return
            self._book.restore(request.if_claimed[0])
            orders = claimed_modify(command, rows, target, self._parent_id(target))
            self._send(command, orders, is_same=trading.session_number == session_number, is_modify=True)

    def _parent_id(self, target: OrderTrack) -> int:
        if target.parent_leg is None:
            return 0
        parents = self._book.of_intent(target.intent_id, target.parent_leg)
        return parents[0].order_id if parents and parents[0].is_open else 0

    async def _make_known(self, con_id: int) -> None:
        if self._contracts.known(con_id) is None:
            try:
                async with asyncio.timeout(2.0):
                    await self._contracts.get(con_id)
            except (CqError, TimeoutError) as e:
                get_logger().warning("contract.unknown", con_id=con_id, error=str(e))  # the broker will say so itself

    async def _wait_for_evidence(self, command: Command) -> None:
        """Let the broker tell what it has of a command whose claim Redis may have lost: then `keep_known` sees it."""
        while may_be_at_broker(command, self._token.incarnation) and not await self._trading.wait_ready(READY_S):
            get_logger().warning("order.evidence_awaited", intent_id=command.intent.intent_id)

    async def _wait_for_turn(self, command: Command, lane: Lane, cost: int, passed_at: str = "") -> str:
        """Wait for a READY session and for room in the budget, at most until the command is too old; say why not."""
        left_s = (command.not_after_ns - self._clock.wall_ns()) / NS_PER_S
        if left_s <= 0 or self._trading.window(command):
            return ""
        trading = self._trading
        if not trading.can_send and not await trading.wait_ready(left_s + 0.001):
            return f"the link was {trading.state}: {trading.link.reason}"
        try:
            slot = trading.slot(lane, cost)
            if not slot.done():
                left_s = max(0.0, (command.not_after_ns - self._clock.wall_ns()) / NS_PER_S)
                await self._overtaking.wait(slot, left_s + 0.001, passed_at)
        except TimeoutError:
            return "the broker's message budget was used up"
        except (Refused, BrokerUnavailable) as e:
            return str(e)
        return ""

    async def _claim(self, request: ClaimRequest) -> list[LedgerRow]:
        while True:
            try:
                return await self._bus.claim(self._token, request, source=self._source)
            except (TransientError, OutcomeUnknown) as e:
                if not self._has_lease():
                    raise Fenced("the lease ran out during a claim") from e
                await self._clock.sleep(0.05)

    @staticmethod
    def _refused(request: ClaimRequest, rows: list[LedgerRow]) -> None:
        """Note a claim that was refused; its outcome was written in the claim's script."""
        for row in rows:
            metrics.CLAIMS.labels(str(row.result)).inc()
            get_logger().info(
                "order.refused" if row.is_new else "order.known", intent_id=request.intent_id, leg=row.leg,
                result=str(row.result),
            )  # fmt: skip

    def _send(
        self, command: Command, orders: Sequence[ClaimedOrder], *, is_same: bool, is_modify: bool,
        events: Sequence[OrderEvent] = (),
    ) -> None:  # fmt: skip
        """Write orders that were claimed a moment ago; nothing awaits between the question and the write.

        `is_same`: they were claimed for the client id in use, a change for this very session. Another id may have been
        taken meanwhile: an order would be judged by what the wrong one is shown, a change there would be a new order.

        The `events` of the claim go to the book right after it: the broker's word comes in a later turn of the loop.
        """
        trading, intent, now_ns = self._trading, command.intent, self._clock.monotonic_ns()
        try:
            if not trading.can_send or trading.session is None:
                if not self._has_lease():
                    raise Fenced("the lease ran out between claim and send")
                raise BrokerUnavailable(f"the link was {trading.state} at the moment of sending")
            if not is_same:
                raise BrokerUnavailable("the session with the broker was replaced between claim and send")
            trading.session.place(orders, self._contracts.known(intent.con_id))
            error = ""
        except BrokerUnavailable as e:
            error = str(e)
        finally:
            for event in events:
                self._book.restore(event)
        metrics.CLAIMS.labels("claimed").inc(len(orders))
        if error:
            self._not_sent(command, error, is_modify=is_modify)
            return
        refs = () if is_modify else [order.order_ref for order in orders]
        tracks = [track for ref in refs if (track := self._book.get(ref)) is not None]
        for track in tracks:
            track.sent_ns = now_ns
        asyncio.get_running_loop().call_soon(self._note_sent, intent, orders, tracks, is_modify)

    def _note_sent(
        self, intent: Intent, orders: Sequence[ClaimedOrder], tracks: Sequence[OrderTrack],
        is_modify: bool,  # noqa: FBT001 - call_soon takes no names
    ) -> None:  # fmt: skip
        metrics.ORDERS_SENT.labels("modify" if is_modify else "new").inc(len(orders))
        shown = {track.key: encode_body(track.event(self._clock.wall_ns())) for track in tracks}
        self._outbox.put_hash(self._bus.keys.open_orders, shown)
        get_logger().info(
            "order.sent", intent_id=intent.intent_id, order_ids=[order.order_id for order in orders],
            strategy=intent.strategy, is_modify=is_modify,
        )  # fmt: skip

    def _not_sent(self, command: Command, text: str, *, is_modify: bool) -> None:
        """End what was claimed and certainly never written."""
        events = failed_events(
            command,
            deployment_id=self._deployment_id,
            now_ns=self._clock.wall_ns(),
            code="GATEWAY_LINK_DOWN",
            text=text,
        )
        for event in events:
            self._book.restore(event)
        self._outbox.put_orders(events)
        get_logger().warning("order.not_sent", intent_id=command.intent.intent_id, reason=text, is_modify=is_modify)

    # -- cancels

    async def run_cancels(self) -> None:
        """Consume `cancel-commands` until cancelled; the last ones are looked at again after a take-over."""
        stream = self._bus.keys.cancel_commands
        cursor = await self._retry(lambda: self._bus.get_cursor("cancel-commands"))
        await self._repeat_recent(stream, cursor)
        while True:
            for entry in await self._read(stream, cursor):
                await self._cancel_entry(entry)
                cursor = entry.entry_id

    async def _repeat_recent(self, stream: str, cursor: str) -> None:
        """A predecessor may have taken a cancel and died before it reached the broker: cancels may be repeated."""
        try:
            recent = await self._bus.read_last(stream, REPEATED_CANCELS)
        except TransientError:
            return
        for entry in recent:
            if entry_order(entry.entry_id) > entry_order(cursor):
                break
            try:
                message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=stream).message
            except BadInput:
                continue
            if isinstance(message, CancelCommand):
                for track in self._book.of_intent(message.cancel.intent_id, message.cancel.leg):
                    if track.is_open and not track.is_external:
                        await self.cancel(track, message.cancel.reason or "cancel of a predecessor")

    async def _cancel_entry(self, entry: Entry) -> None:
        try:
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
        except BadInput as e:
            await self._reject(entry, "cancel-commands", str(e))
            return
        if not isinstance(message, CancelCommand):
            await self._reject(entry, "cancel-commands", f"a {message.TYPE} is no cancel")
            return
        cancel = message.cancel
        tracks = self._book.of_intent(cancel.intent_id, cancel.leg)
        if not tracks:
            async with self.sending:  # a claim of it may be under way: then the book knows it afterwards
                tracks = self._book.of_intent(cancel.intent_id, cancel.leg)
                if not tracks:
                    # Closed first. A claim that comes later writes the outcomes, for only it knows the terms.
                    self.cancels.unmet(cancel)
                    try:
                        await self._retry(lambda: self._close_first(cancel.intent_id, cancel.leg or 0, entry.entry_id))
                    except (BadInput, Refused) as e:
                        await self._reject(entry, "cancel-commands", f"it cannot be closed: {e}")
        if tracks:
            await self._retry(lambda: self._skip("cancel-commands", entry.entry_id))
        for track in tracks:
            if track.is_open:
                await self.cancel(track, cancel.reason)

    async def _close_first(self, intent_id: str, leg: int, entry_id: str) -> str:
        await self._bus.cancel_first(
            self._token, intent_id=intent_id, legs=[leg], events=[], entry_id=entry_id, source=self._source
        )
        return ""

    async def _skip(self, stream_name: str, entry_id: str) -> str:
        await self._bus.skip_entry(self._token, stream_name, entry_id)
        return ""

    async def cancel(self, track: OrderTrack, reason: str) -> bool:
        """Ask the broker to cancel an order now, or as soon as this session has shown it; True if asked now."""
        trading = self._trading
        if not track.is_open or (track.is_external and track.client_id != trading.client_id):
            return False
        is_shown = track.shown_in == trading.session_number and track.perm_id
        session = trading.session
        if not is_shown or session is None or not session.is_open:
            self.cancels.want(track, reason)
            if track.client_id not in (0, trading.client_id):
                self.on_elsewhere([track])
            return False
        try:
            await trading.slot(Lane.CANCEL)
        except CqError as e:
            get_logger().error("cancel.not_sent", order_ref=track.order_ref, error=str(e))
            self.cancels.want(track, reason)
            return False
        return self._write_cancel(track, reason)

    def _write_cancel(self, track: OrderTrack, reason: str) -> bool:
        session = self._trading.session
        if session is None or not session.is_open or not self._has_lease() or not track.is_open:
            return False
        session.cancel(track.order_id)
        self.cancels.sent(track, self._trading.session_number, reason)
        track.cancel_sent_ns = self._clock.monotonic_ns()
        metrics.ORDERS_SENT.labels("cancel").inc()
        get_logger().info("cancel.sent", order_ref=track.order_ref, order_id=track.order_id, reason=reason)
        return True

    def _shown(self, track: OrderTrack) -> None:
        """Send a cancel that waited for the broker to show its order."""
        reason = self.cancels.due(track, self._trading.session_number)
        if reason is not None:
            self._write_cancel(track, reason)

    def cancels_elsewhere(self) -> list[OrderTrack]:
        """Return the orders whose cancel only a session of their own client id can carry out."""
        return self.cancels.elsewhere(self._book.open_tracks(), self._trading.client_id)
