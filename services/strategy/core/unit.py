"""One unit of a strategy: events in, effects out; nothing happens outside before a commit.

Invariants:
1. Intents, cancels, state, cursors and timers leave together, as one `Commit` with the next number. What happened
   since the last commit had no effect, so after a crash the tail may be handled again, and even differently.
2. A commit that was made is repeated as it is until it is known to be saved; no event is handled in between.
3. An error in a handler takes back what that handler asked for, is remembered with file, line and event, and stops
   nothing else; after too many within a minute the unit is paused.
4. Paused, or with a gap not accepted, a unit sees its own orders and fills but makes no orders; cancels always pass.
5. An intent is appended again, with the same id, until risk has answered it (P4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from pydantic import ValidationError

from services.strategy.core.book import Book, with_past
from services.strategy.core.events import Bar, FillEvent, Gap, OrderUpdate, Quote, Timer, Trade
from services.strategy.core.history import BarHistory
from services.strategy.core.ordering import NS_PER_S, Identity, Moment, Outbox, Ticket
from services.strategy.core.saved import (
    Commit,
    HandlerBlocked,
    HandlerError,
    Handlers,
    Limits,
    SavedTimers,
    SavedUnit,
    StateMisfit,
    Watched,
)
from services.strategy.core.sessions import SessionPlan, Window
from services.strategy.core.usercode import (
    RAISED,
    Nonsense,
    UnsavableState,
    file_of,
    restored,
    saved_of,
    text_of,
    where_of,
)
from shared.messages.account import BookMove
from shared.messages.market import ContractInfo
from shared.messages.orders import Decision, Fill, Intent, OrderEvent, OrderState, Side
from shared.money import ZERO

ERROR_WINDOW_S = 60.0
ERRORS_KEPT = 20
FLAT_AGAIN_NS = NS_PER_S
PAST_IN_STATE = 20
"""An order takes this much of what is over along in the state, before it writes the whole past: that takes longer."""
MAX_UNANSWERED = 100
"""A unit makes no further orders while risk owes it this many answers."""


@dataclass(slots=True)
class _Resend:
    at_ns: int
    wait_ns: int


@dataclass
class Unit:
    """One unit; `restore` first, then `start`, then events."""

    identity: Identity
    strategy: Handlers
    contracts: Mapping[int, ContractInfo]
    limits: Limits = field(default_factory=Limits)
    watched: Watched = field(default_factory=Watched)
    history_needs: Mapping[str, int] = field(default_factory=dict)
    on_bar_intervals: tuple[str, ...] | None = None
    """Intervals that `on_bar` gets; None for all. The others of the stream are for the history."""
    sessions: Mapping[int, SessionPlan] = field(default_factory=dict)
    """When each contract may be traded; without a plan, always."""

    def __post_init__(self) -> None:
        """Begin with nothing saved."""
        self.saved = SavedUnit()
        self.timers = SavedTimers()
        self.cursors: dict[str, str] = {}
        self.operator_pause = ""
        self.why_stopped = ""
        """Why the strategy itself cannot run, and a caretaker has its place."""
        self.recent_errors: list[HandlerError] = []
        self.reported = 0
        self._committed = 0
        self._committed_at_ns = 0
        self._has_news = False
        self._in_flight: Commit | None = None
        self._resend: dict[str, _Resend] = {}
        self._flat_again_ns: dict[int, int] = {}
        self.book = Book(self.saved.book)
        self.history = BarHistory(self.history_needs, self.saved.horizons)
        self.outbox = Outbox(self.identity, self.book, 1)

    # -- begin and end

    def restore(
        self, *, commit: int, state: bytes, timers: bytes, cursors: Mapping[str, str], past: bytes = b"",
        fresh: str = "",
    ) -> None:  # fmt: skip
        """Continue from a saved commit; with a wish (`fresh`) not met yet, from an empty state of the strategy's own.

        Raises:
            StateMisfit: the saved state does not fit the strategy's `State` any more.
        """
        self._committed = commit
        self.cursors = dict(cursors)
        if commit and state:
            self.saved = SavedUnit.model_validate_json(state)
            self.saved.book = with_past(self.saved.book, past)
            self.timers = SavedTimers.model_validate_json(timers or b"{}")
            if fresh and fresh != self.saved.fresh:
                self.saved.user = {}  # its book stays: what it holds and works does not depend on the strategy's state
            else:
                self._restore_user_state()
        self.saved.fresh = fresh or self.saved.fresh
        self.book = Book(self.saved.book)
        self.history = BarHistory(self.history_needs, self.saved.horizons)
        self.outbox = Outbox(self.identity, self.book, commit + 1, self.outbox.moment)

    def _restore_user_state(self) -> None:
        try:
            self.strategy.state = restored(self.strategy.state, self.saved.user)
        except ValidationError as e:
            first = e.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise StateMisfit(self.identity.unit, type(self.strategy.state), where, first["msg"]) from e

    def start(self, now_ns: int, wall_ns: int) -> None:
        """Call `on_start`, at the first start and after each move."""
        self._at(now_ns, wall_ns, "", 0)
        if not self.saved.began_ns:
            self.saved.began, self.saved.began_ns = dict(self.cursors), now_ns
        self._call("on_start", self.strategy.on_start)
        self.saved.is_started = True

    def stop(self, now_ns: int, wall_ns: int) -> None:
        """Call `on_stop`; commit after it."""
        self._at(now_ns, wall_ns, "", 0)
        self._call("on_stop", self.strategy.on_stop)

    # -- whether it trades

    @property
    def why_not_trading(self) -> str:
        """Return why the unit makes no orders now, empty when it does."""
        if self.why_stopped:
            return self.why_stopped
        if self.operator_pause:
            return f"paused by an operator: {self.operator_pause}"
        if self.saved.paused:
            return self.saved.paused
        if self.saved.gaps:
            return f"missed entries of {self.saved.gaps[0][0]} and has not accepted the gap"
        if len(self.saved.pending) >= MAX_UNANSWERED:
            return f"{len(self.saved.pending)} intents without an answer from risk"
        return ""

    def window(self, con_id: int, now_ns: int) -> Window | None:
        """Return the open window of a contract's session, None outside of it."""
        return self.sessions[con_id].window(now_ns)

    def is_in_session(self, con_id: int, now_ns: int) -> bool:
        """Return whether a contract's market is the strategy's business now."""
        return not self.sessions or self.window(con_id, now_ns) is not None

    def refuses(self, con_id: int, side: Side, quantity: Decimal) -> bool:
        """Return whether an order is not made now: paused, outside of the session, or an entry after the last one."""
        if self.why_not_trading:
            return True
        if not self.sessions:
            return False
        now_ns = self.outbox.moment.now_ns
        window = self.window(con_id, now_ns)
        if window is None:
            return True
        held = self.book.position(con_id)
        closes = held * side.sign < 0 and quantity <= abs(held)
        return now_ns >= window.entries_until_ns and not closes

    def accept_gap(self) -> None:
        """Trade again although entries were missed."""
        self.saved.gaps.clear()
        self._has_news = True

    def pause(self, reason: str) -> None:
        """Stop making orders until resumed; survives a move."""
        self.saved.paused = reason
        self._has_news = True

    def resume(self) -> None:
        """Make orders again; errors count anew and gaps are accepted."""
        self.saved.paused = ""
        self.saved.gaps.clear()
        self.saved.error_times_ns.clear()
        self._has_news = True

    # -- events

    def quote(self, quote: Quote, now_ns: int, wall_ns: int, cause_id: str) -> None:
        """Hand a quote to the strategy."""
        if not self.why_not_trading and self.is_in_session(quote.contract.con_id, now_ns):
            self._at(now_ns, wall_ns, cause_id, quote.ts_ns)
            self._call("on_quote", self.strategy.on_quote, quote)

    def trade(self, trade: Trade, now_ns: int, wall_ns: int, cause_id: str) -> None:
        """Hand a trade of the market to the strategy."""
        if not self.why_not_trading and self.is_in_session(trade.contract.con_id, now_ns):
            self._at(now_ns, wall_ns, cause_id, trade.ts_ns)
            self._call("on_trade", self.strategy.on_trade, trade)

    def bar(self, bar: Bar, now_ns: int, wall_ns: int, cause_id: str) -> None:
        """Note a bar for the history, and hand it to the strategy if it asked for its interval."""
        self.history.take(bar)
        if self.on_bar_intervals is not None and bar.interval not in self.on_bar_intervals:
            return
        if not self.why_not_trading and self.is_in_session(bar.contract.con_id, bar.ts_open_ns):
            self._at(now_ns, wall_ns, cause_id, bar.ts_close_ns)
            self._call("on_bar", self.strategy.on_bar, bar)

    def decision(self, decision: Decision, now_ns: int, wall_ns: int, cause_id: str) -> None:
        """Take risk's answer to an intent of this unit; a rejection ends its orders."""
        was_pending = self.saved.pending.pop(decision.intent_id, None) is not None
        if not was_pending and all(row.intent_id != decision.intent_id for row in self.book.open_orders()):
            return
        self._resend.pop(decision.intent_id, None)
        self._has_news = True
        for row in self.book.decided(decision):
            update = OrderUpdate(
                contract=self.contracts[row.con_id],
                intent_id=row.intent_id,
                leg=row.leg,
                state=OrderState.REJECTED,
                side=row.side,
                quantity=row.quantity,
                filled=ZERO,
                remaining=ZERO,
                average_price=None,
                by="risk",
                code=decision.code,
                text=decision.text,
                ts_ns=now_ns,
            )
            self._at(now_ns, wall_ns, cause_id, now_ns)
            self._call("on_order", self.strategy.on_order, update)

    def order_event(self, event: OrderEvent, now_ns: int, wall_ns: int, cause_id: str) -> None:
        """Take a transition of an order of this unit."""
        contract = self.contracts.get(event.con_id)
        if contract is None or event.strategy != self.identity.strategy or event.is_double:
            return  # nobody asked for a second order, and that it ends says nothing of the first
        if event.intent_id and self.saved.pending.pop(event.intent_id, None) is not None:
            self._resend.pop(event.intent_id, None)  # an order the broker or gateway speaks of was decided
        if not self.book.order_event(event):
            return
        self._has_news = True
        update = OrderUpdate(
            contract=contract,
            intent_id=event.intent_id,
            leg=event.leg,
            state=event.state,
            side=event.side,
            quantity=event.quantity,
            filled=event.filled,
            remaining=event.remaining,
            average_price=event.average_price,
            by=event.by,
            code=event.code,
            text=event.text,
            ts_ns=event.ts_event_ns,
        )
        self._at(now_ns, wall_ns, cause_id, event.ts_event_ns)
        self._call("on_order", self.strategy.on_order, update)

    def fill(self, fill: Fill, now_ns: int, wall_ns: int, cause_id: str) -> None:
        """Take an execution of this unit; one that was read before does nothing."""
        contract = self.contracts.get(fill.con_id)
        if contract is None or fill.strategy != self.identity.strategy or not self.book.fill(fill):
            return
        self._has_news = True
        event = FillEvent(
            contract=contract,
            exec_id=fill.exec_id,
            intent_id=fill.intent_id,
            side=fill.side,
            quantity=fill.quantity,
            price=fill.price,
            position=self.book.position(fill.con_id),
            is_correction=fill.revision > 1,
            ts_ns=fill.ts_event_ns,
        )
        self._at(now_ns, wall_ns, cause_id, fill.ts_event_ns)
        self._call("on_fill", self.strategy.on_fill, event)

    def move(self, move: BookMove) -> None:
        """Take what a person moved to or from this strategy: from now on it is, or is not, its position."""
        name = self.identity.strategy
        if move.con_id not in self.contracts or not move.taken_from or name not in (move.strategy, move.taken_from):
            return
        if self.book.moved(move, move.quantity if move.strategy == name else -move.quantity):
            self._has_news = True

    def gap(self, gap: Gap, now_ns: int, wall_ns: int) -> None:
        """Tell the strategy that entries were missed; one that blocks stops trading until it is accepted."""
        if gap.blocks:
            self.saved.gaps.append((gap.stream, gap.after_id, gap.next_id))
            self._has_news = True
        self._at(now_ns, wall_ns, "", now_ns)
        self._call("on_gap", self.strategy.on_gap, gap)

    # -- time

    def set_timer(self, name: str, after_s: float, *, every_s: float = 0.0) -> None:
        """Set or move the timer `name`."""
        due_ns = self.outbox.moment.now_ns + int(after_s * NS_PER_S)
        self.timers.due[name] = (due_ns, int(every_s * NS_PER_S))
        self._has_news = True

    def cancel_timer(self, name: str) -> None:
        """Forget a timer; one that is not set is no error."""
        self.timers.due.pop(name, None)

    def deadline_ns(self) -> int | None:
        """Return the wall time to call `tick` at the latest."""
        times = [due for due, _ in self.timers.due.values()]
        times += [resend.at_ns for resend in self._resend.values()]
        if self._has_news or self._is_behind:
            times.append(self._committed_at_ns + int(self.limits.commit_every_s * NS_PER_S))
        return min(times, default=None)

    def tick(self, now_ns: int) -> None:
        """Fire the timers that are due, in order of their time; make flat what has to be flat by now."""
        for con_id in self.sessions:
            self._keep_flat(con_id, now_ns)
        if not self.timers.due:
            return
        due = sorted((at, name) for name, (at, _) in self.timers.due.items() if at <= now_ns)
        for at, name in due:
            every_ns = self.timers.due[name][1] if name in self.timers.due else 0
            if self.timers.due.get(name, (0, 0))[0] != at:
                continue  # an earlier timer's handler moved it
            if every_ns:
                self.timers.due[name] = (max(at + every_ns, now_ns), every_ns)
            else:
                del self.timers.due[name]
            self._has_news = True
            if not self.why_not_trading:
                self._at(now_ns, now_ns, "", at)
                self._call("on_timer", self.strategy.on_timer, Timer(name, at))

    def _keep_flat(self, con_id: int, now_ns: int) -> None:
        """After `flat_by`, cancel what works and then close what is held, again until it is done.

        This is the platform's own: it goes on while the strategy is paused, also by its errors. Closing waits until
        nothing of the unit works any more, so that no exit can fill beside it.
        """
        window = self.window(con_id, now_ns)
        if window is None or window.flat_ns is None or now_ns < window.flat_ns:
            return
        held = self.book.position(con_id)
        working = [row for row in self.book.open_orders(con_id) if row.intent_id]
        if (not held and not working) or now_ns < self._flat_again_ns.get(con_id, 0):
            return
        self._flat_again_ns[con_id] = now_ns + FLAT_AGAIN_NS
        self._at(now_ns, now_ns, "", now_ns)
        if working:
            for intent_id in dict.fromkeys(row.intent_id for row in working):
                self.outbox.cancel(intent_id, None, "flat_by")
            return
        side = Side.SELL if held > 0 else Side.BUY
        self.outbox.place(Ticket(self.contracts[con_id], side, abs(held), reason="flat_by"))

    # -- commits

    def advance(self, stream: str, entry_id: str) -> None:
        """Note that everything of a stream up to an entry was handled."""
        self.cursors[stream] = entry_id
        self._is_behind = True

    _is_behind = False

    @property
    def is_urgent(self) -> bool:
        """Return whether something waits that must leave now."""
        return bool(self._in_flight or self.outbox.intents or self.outbox.cancels)

    def may_commit(self, now_ns: int) -> bool:
        """Return whether `commit` may have something to save; asked at each turn, and mostly there is nothing."""
        has_progress = self._has_news or self._is_behind
        return self.is_urgent or bool(self.saved.pending) or (has_progress and self._is_due(now_ns))

    def _is_due(self, now_ns: int) -> bool:
        return now_ns - self._committed_at_ns >= int(self.limits.commit_every_s * NS_PER_S)

    def commit(self, now_ns: int, *, force: bool = False) -> Commit | None:
        """Return the commit to save now, None if nothing is worth one yet.

        The same commit is returned until `committed` confirms it.
        """
        if self._in_flight is not None:
            return self._in_flight
        resent = self._due_again(now_ns)
        is_due = self._is_due(now_ns)
        has_progress = self._has_news or self._is_behind
        if not (self.is_urgent or resent or (has_progress and (is_due or force)) or (force and not self._committed)):
            return None
        for intent in self.outbox.intents:
            self.saved.pending[intent.intent_id] = intent.model_dump_json()
        self._save_user_state()
        book = self.book
        news = book.settle()
        past = book.past() if news > (0 if is_due or force else PAST_IN_STATE) else None
        self._in_flight = Commit(
            number=self._committed + 1,
            state=self.saved.model_dump_json(
                exclude_defaults=True, exclude={"book": book.exclude_past(all_of_it=past is not None)}
            ).encode(),
            timers=self.timers.model_dump_json().encode(),
            cursors=dict(self.cursors),
            intents=(*self.outbox.intents, *resent),
            cancels=tuple(self.outbox.cancels),
            past=past,
        )
        return self._in_flight

    def _save_user_state(self) -> None:
        try:
            self.saved.user = saved_of(self.strategy.state)
        except RAISED as e:  # user code: what a state holds is not ours to know (P10)
            self._failed("saving the state", e, self.outbox.mark(), file_of(type(self.strategy)))
            self.pause(f"its state cannot be saved: {self.recent_errors[-1].error}")

    def committed(self, now_ns: int) -> None:
        """Note that the commit in flight is saved."""
        commit = self._in_flight
        if commit is None:
            return
        self._in_flight = None
        if commit.past is not None:
            self.book.past_written()
        self._committed = commit.number
        self._committed_at_ns = now_ns
        self._has_news = self._is_behind = False
        wait_ns = int(self.limits.resend_s * NS_PER_S)
        for intent in self.outbox.intents:
            self._resend[intent.intent_id] = _Resend(now_ns + wait_ns, wait_ns)
        self.outbox = Outbox(self.identity, self.book, commit.number + 1, self.outbox.moment)

    def _due_again(self, now_ns: int) -> list[Intent]:
        again: list[Intent] = []
        wait_ns = int(self.limits.resend_s * NS_PER_S)
        for key, text in self.saved.pending.items():
            resend = self._resend.setdefault(key, _Resend(now_ns + wait_ns, wait_ns))
            if resend.at_ns <= now_ns:
                resend.wait_ns = min(resend.wait_ns * 2, 30 * NS_PER_S)
                resend.at_ns = now_ns + resend.wait_ns
                again.append(Intent.model_validate_json(text))
        return again

    @property
    def last_commit(self) -> int:
        """Return the number of the last saved commit."""
        return self._committed

    # -- calling user code

    def _at(self, now_ns: int, wall_ns: int, cause_id: str, cause_ts_ns: int) -> None:
        moment: Moment = self.outbox.moment
        moment.now_ns = now_ns
        moment.wall_ns = wall_ns
        moment.cause_id = cause_id
        moment.cause_ts_ns = cause_ts_ns

    def _call(self, event: str, handler: Callable[..., object], *arguments: object) -> None:
        mark = self.outbox.mark()
        watched = self.watched
        watched.event = event
        watched.unit = self.identity.unit
        watched.calls += 1
        self._is_behind = True
        begun_ns = watched.clock() if watched.clock is not None else 0
        if watched.mark is not None:
            watched.mark.begin(watched.unit, event)
        debugged_ns = watched.debugged_ns
        try:
            returned = handler(*arguments)
            if returned is not None and not isinstance(returned, str):
                raise Nonsense(handler, returned)
            if watched.debugged_ns != debugged_ns:
                self.outbox.prolong(mark, watched.debugged_ns - debugged_ns)
        except RAISED as e:  # user code: anything may come out, and nothing else may stop (P10)
            watched.unit = ""
            self._failed(event, e, mark)
        except HandlerBlocked as e:
            watched.unit = ""
            self._failed(event, e, mark)
            self.pause(f"{event} blocked: {self.recent_errors[-1].where}")
        finally:
            watched.unit = ""
            if watched.mark is not None:
                watched.mark.end()
            if watched.clock is not None:
                unit = self.identity.unit
                watched.spent_ns[unit] = watched.spent_ns.get(unit, 0) + watched.clock() - begun_ns

    def _failed(self, event: str, e: BaseException, mark: tuple[int, int], file: str = "") -> None:
        self.outbox.take_back(mark)
        where, text = file if isinstance(e, UnsavableState) else where_of(e), text_of(e)
        moment = self.outbox.moment
        self.recent_errors.append(
            HandlerError(event, where, text, moment.cause_id or f"at-{moment.now_ns}", moment.now_ns)
        )
        del self.recent_errors[:-ERRORS_KEPT]
        self.saved.errors += 1
        self._has_news = True
        now_ns = moment.now_ns
        recent = [at for at in self.saved.error_times_ns if now_ns - at < ERROR_WINDOW_S * NS_PER_S]
        self.saved.error_times_ns = [*recent, now_ns]
        if len(recent) + 1 >= self.limits.max_errors:
            self.pause(f"{len(recent) + 1} errors within a minute, the last: {self.recent_errors[-1]}")

    def position(self, con_id: int) -> Decimal:
        """Return the signed filled quantity of a contract."""
        return self.book.position(con_id)
