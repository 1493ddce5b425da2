"""Read `intents` and `cancels` as their one fenced reader: exactly one decision per intent, no cancel ever held.

Invariants:
1. Decision, command and cursor are one script; a crash between deciding and writing decides again from the same book.
2. An approval is reserved in the book before the script is called, so that the next intent counts it; it is taken back
   only when the stream proves that an earlier decision stands instead.
3. A reply that was lost is resolved by calling again: the script writes one decision per intent id, ever.
4. Cancels have a loop of their own and run before the book is restored.
5. Where the limits want the broker's word on an order's margin, its strategy's later intents wait for the answer with
   it; what reduces does not, nor does any other strategy (`waiting.py`, `margins.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from services.risk.core.decide import RULE_BOOK, RuleBook, decide, refuse_malformed
from services.risk.core.limits import Limits
from services.risk.core.margins import Margin
from services.risk.metrics import ANSWER_TIME, CANCELS, DECIDE_TIME, DECISIONS, MALFORMED
from services.risk.shell.feed import Feed
from services.risk.shell.margins import MarginDesk, must_ask
from services.risk.shell.waiting import WAITING_MAX, Held, Waiting
from shared.bus.ports import FIRST, Bus, Entry, LeaseToken, entry_order
from shared.clock import NS_PER_MS, NS_PER_S, Clock
from shared.errors import BadInput, DecodeError, Fenced, OutcomeUnknown, Refused, TransientError
from shared.ids import INTENT_ID_LENGTH
from shared.logs import get_logger
from shared.messages import decode_fields
from shared.messages.orders import CancelCommand, CancelRequest, Command, Decision, Intent

READ_COUNT = 200
BLOCK_MS = 100
FOLLOW_MS = 25
"""How far the book may be behind the streams while no intent comes; an intent is read at once, and they with it."""
CATCH_UP_EVERY = 50
"""Intents of a burst that are decided before the book is read up again."""
RETRY_S = 0.05
ASK_CONTRACTS_NS = 200 * NS_PER_MS
"""How often contract definitions are looked up again for intents in unknown contracts."""


T = TypeVar("T")


class FencedReader:
    """What both readers share: reading after the committed cursor, and acting only under the lease.

    Args:
        bus: the order-flow bus.
        has_lease: whether an act right now is covered by the lease; asked before each.
    """

    def __init__(self, bus: Bus, clock: Clock, *, instance: str, has_lease: Callable[[], bool]) -> None:
        self._bus = bus
        self._clock = clock
        self._source = f"risk:{instance}"
        self._has_lease = has_lease

    async def _start(self, stream: str, name: str) -> str:
        cursor, last = await self._bus.get_cursor(name), await self._bus.last_id(stream)
        if entry_order(cursor) > entry_order(last):
            # The server lost entries: ids may grow from an older point, so read again; what is decided stays decided.
            get_logger().warning("cursor.ahead", stream=stream, cursor=cursor, last=last)
            return FIRST
        return cursor

    async def _patiently(self, act: Callable[[], Awaitable[T]]) -> T:
        """Repeat an idempotent act until it is answered, for as long as this process leads.

        Raises:
            Fenced: it leads no more.
        """
        is_noted = False
        while True:
            if not self._has_lease():
                raise Fenced("the lease is over")
            try:
                return await act()
            except (TransientError, OutcomeUnknown) as e:
                if not is_noted:
                    get_logger().warning("dependency.away", what="bus", error=str(e))
                is_noted = True
                await self._clock.sleep(RETRY_S)

    async def _dead_letter(self, entry: Entry, error: Exception) -> None:
        MALFORMED.labels(entry.stream.rpartition(":")[2]).inc()
        get_logger().warning("entry.dead_lettered", stream=entry.stream, entry_id=entry.entry_id, error=str(error))
        await self._patiently(partial(self._bus.dead_letter, entry, consumer=self._source, error=str(error)))


class CancelReader(FencedReader):
    """Passes every readable cancel on, at once."""

    async def run(self, token: LeaseToken) -> None:
        """Read `cancels` until the lease is over.

        Raises:
            Fenced: this process leads no more.
        """
        stream = self._bus.keys.cancels
        cursor = await self._patiently(partial(self._start, stream, "cancels"))
        while True:
            found = await self._patiently(
                partial(self._bus.read, {stream: cursor}, count=READ_COUNT, block_ms=BLOCK_MS)
            )
            for entry in found.get(stream, []):
                await self._take(token, entry)
                cursor = entry.entry_id

    async def _take(self, token: LeaseToken, entry: Entry) -> None:
        command: CancelCommand | None = None
        try:
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
            if not isinstance(message, CancelRequest):
                raise DecodeError(f"a {message.TYPE} does not belong into `cancels`")
            command = CancelCommand(cancel=message, ts_init_ns=self._clock.wall_ns())
        except BadInput as e:
            await self._dead_letter(entry, e)
        await self._patiently(
            partial(self._bus.pass_cancel, token, entry_id=entry.entry_id, command=command, source=self._source)
        )
        if command is not None:
            CANCELS.inc()
            get_logger().info("cancel.passed", intent_id=command.cancel.intent_id, cancel_id=command.cancel.cancel_id)


class IntentReader(FencedReader):
    """Decides every intent, once.

    Args:
        feed: keeps the book.
        limits: what is allowed.
        rules: whom to ask.
    """

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        feed: Feed,
        limits: Limits,
        *,
        instance: str,
        has_lease: Callable[[], bool],
        rules: RuleBook = RULE_BOOK,
    ) -> None:
        super().__init__(bus, clock, instance=instance, has_lease=has_lease)
        self._feed = feed
        self.limits = limits
        self._rules = rules
        self._asked_ns = 0
        self._instance = instance
        self._begin("")

    def _begin(self, cursor: str) -> None:
        """Forget what waited: whoever leads next reads it again, from the committed cursor."""
        self._latest = cursor
        self._waiting = Waiting()
        self._margins = MarginDesk(self._bus, self._clock, client=f"risk-{self._instance}")

    async def run(self, token: LeaseToken) -> None:
        """Read `intents` until the lease is over; the book must be complete.

        Raises:
            Fenced: this process leads no more.
        """
        stream = self._bus.keys.intents
        cursor = await self._patiently(partial(self._start, stream, "intents"))
        self._feed.is_driven = True
        self._begin(cursor)
        try:
            while True:
                entries = await self._patiently(partial(self._feed.read_with, stream, cursor, block_ms=FOLLOW_MS))
                for number, entry in enumerate(entries, start=1):
                    await self._take(token, entry)
                    cursor = entry.entry_id
                    if number % CATCH_UP_EVERY == 0:
                        await self._patiently(self._feed.catch_up)
                if self._waiting:
                    await self._look(token)
        finally:
            self._feed.is_driven = False

    async def _take(self, token: LeaseToken, entry: Entry) -> None:
        read_ns = self._clock.monotonic_ns()
        before, self._latest = self._latest, entry.entry_id
        try:
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
            if not isinstance(message, Intent):
                raise DecodeError(f"a {message.TYPE} does not belong into `intents`")
        except BadInput as e:
            await self._refuse_unreadable(token, entry, e)
            return
        await self._ensure_contract(message.con_id)
        await self._settle(token, Held(entry, message, before, read_ns))

    async def _settle(self, token: LeaseToken, held: Held) -> None:
        """Answer an intent, unless it waits: for the broker's word, or behind one of its strategy that does."""
        entry, intent, book = held.entry, held.intent, self._feed.book
        now_ns, begun_ns = self._clock.wall_ns(), self._clock.monotonic_ns()
        try:
            verdict = decide(intent, book, self.limits, now_ns, self._rules)
            if self._waiting or verdict.command is None or verdict.decision.warned:
                if await self._must_wait(held, verdict.decision):
                    return
                self._waiting.decided(held)
                if intent.intent_id in book.margins.answers:
                    verdict = decide(intent, book, self.limits, now_ns, self._rules)
        except (TransientError, OutcomeUnknown, Fenced):
            raise
        except Exception as e:  # noqa: BLE001 - the consumer loop (house style, errors)
            # An intent that breaks a rule's arithmetic is refused, the next decided (P10).
            get_logger().exception("intent.undecidable", intent_id=intent.intent_id, error=str(e))
            self._waiting.decided(held)
            await self._refuse_unreadable(token, entry, e)
            return
        if verdict.command is not None:
            book.reserve(intent, now_ns, verdict.rates)
            if verdict.command.margin_change is not None:
                book.margins.took(intent, verdict.command.margin_change, now_ns)
        DECIDE_TIME.observe((self._clock.monotonic_ns() - begun_ns) / NS_PER_S)
        try:
            await self._write(token, intent, verdict.decision, verdict.command)
        except (BadInput, OverflowError) as e:  # its answer would be larger than an entry may be: nothing was written
            if verdict.command is not None:
                book.release(intent)
            await self._refuse_unreadable(token, entry, e)
            return
        finally:
            book.margins.answers.pop(intent.intent_id, None)
        self._note(intent, verdict.decision, held.read_ns)

    async def _must_wait(self, held: Held, decision: Decision) -> bool:
        """Let an intent wait where it must; True if it does. One too many has an answer instead, which refuses it."""
        intent, book = held.intent, self._feed.book
        first = self._waiting.head(intent.strategy)
        is_behind = first is not None and first is not held
        if is_behind and decision.is_reducing:
            return False
        if not is_behind and (not must_ask(decision, book) or await self._is_decided(intent.intent_id)):
            return False
        try:
            if self._waiting.is_full and first is not held:
                raise Refused("RISK_WAITING", f"{WAITING_MAX} orders wait for the broker's answer already")
            if not is_behind:
                await self._patiently(partial(self._margins.ask, intent, book, self.limits))
        except Refused as e:  # also a Redis user of an older release, who may not ask
            book.margins.answers[intent.intent_id] = Margin(self._clock.wall_ns(), str(e))
            return False
        if first is not held:
            self._waiting.put(held)
        return True

    async def _is_decided(self, intent_id: str) -> bool:
        """Return whether an intent was decided before, and only came again."""
        return await self._patiently(partial(self._bus.get_text, self._bus.keys.decided(intent_id))) is not None

    async def _look(self, token: LeaseToken) -> None:
        """Answer the intents about which the broker has spoken, or had its time, and what waited behind them."""
        await self._patiently(partial(self._margins.look, self._feed.book))
        for strategy in self._waiting.strategies():
            held = self._waiting.head(strategy)
            while held is not None and not self._margins.is_asked(held.intent.intent_id):
                await self._settle(token, held)
                held = self._waiting.head(strategy)

    async def _write(self, token: LeaseToken, intent: Intent, decision: Decision, command: Command | None) -> None:
        is_new = await self._patiently(
            partial(
                self._bus.decide,
                token,
                entry_id=self._waiting.cursor(self._latest),
                decision=decision,
                command=command,
                source=self._source,
            )
        )
        if is_new or command is None:
            return
        standing = await self._patiently(partial(self._standing_decision, intent.intent_id))
        if standing is not None and not standing.approved:
            self._feed.book.release(intent)
        get_logger().info(
            "intent.decided_before",
            intent_id=intent.intent_id,
            approved=None if standing is None else standing.approved,
        )

    async def _standing_decision(self, intent_id: str) -> Decision | None:
        entry_id = await self._bus.get_text(self._bus.keys.decided(intent_id))
        if entry_id is None:
            return None
        at = entry_id.decode()
        for entry in await self._bus.read_range(self._bus.keys.decisions, first=at, last=at):
            message = decode_fields(entry.fields, entry_id=at, stream=entry.stream).message
            if isinstance(message, Decision) and message.intent_id == intent_id:
                return message
        return None

    async def _refuse_unreadable(self, token: LeaseToken, entry: Entry, error: Exception) -> None:
        """Dead-letter an entry and answer its author if the plain fields say who that is."""
        await self._dead_letter(entry, error)
        intent_id = entry.fields.get(b"id", b"").decode(errors="replace")
        if len(intent_id) != INTENT_ID_LENGTH or not intent_id.isalnum():
            await self._patiently(partial(self._bus.skip_entry, token, "intents", self._waiting.cursor(self._latest)))
            return
        decision = refuse_malformed(intent_id, str(error), "", self._clock.wall_ns())
        cursor = self._waiting.cursor(self._latest)
        await self._patiently(
            partial(self._bus.decide, token, entry_id=cursor, decision=decision, command=None, source=self._source)
        )
        DECISIONS.labels(decision.code).inc()

    async def _ensure_contract(self, con_id: int) -> None:
        contract = self._feed.book.contracts.get(con_id)
        if contract is not None and contract.info is not None:
            return
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._asked_ns < ASK_CONTRACTS_NS and self._asked_ns:
            return
        self._asked_ns = now_ns
        await self._patiently(self._feed.read_contracts)

    def _note(self, intent: Intent, decision: Decision, read_ns: int) -> None:
        answer = "approved" if decision.approved else decision.code
        took_s = (self._clock.monotonic_ns() - read_ns) / NS_PER_S
        DECISIONS.labels(answer).inc()
        ANSWER_TIME.observe(took_s)
        get_logger().info(
            "intent.approved" if decision.approved else "intent.rejected",
            intent_id=intent.intent_id,
            strategy=intent.strategy,
            con_id=intent.con_id,
            code=decision.code,
            failed=[result.code for result in decision.failed],
            reducing=decision.is_reducing,
            took_ms=round(took_s * 1000, 3),
        )
