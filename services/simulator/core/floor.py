"""Hold what all desks of the exchange share: time, books, sessions, what is to be sent, and what is to happen later.

Invariants:
1. `now_ns` only moves when the engine is called; nothing here reads a clock.
2. What is sent to a session in one turn stays in order and leaves together.
3. Timers of the same moment run in the order they were set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any
from zoneinfo import ZoneInfo

from services.simulator.core.book import Book
from services.simulator.core.config import ExchangeConfig
from services.simulator.core.contracts import Instrument, Universe
from services.simulator.core.faults import Faults
from services.simulator.core.ledger import Ledger
from services.simulator.core.market import Prices
from services.simulator.core.sessions import Sessions
from shared.tws.responses import ErrorMessage, Response


@dataclass(frozen=True, slots=True)
class CloseSession:
    """End a session's connection; `abrupt` resets it instead of closing it."""

    session: int
    abrupt: bool = False


@dataclass(frozen=True, slots=True)
class AbandonSession:
    """Leave a session's connection open without anybody behind it."""

    session: int


@dataclass(frozen=True, slots=True)
class SetListening:
    """Refuse new connections at the port, or take them again."""

    on: bool


@dataclass(frozen=True, slots=True)
class Save:
    """Store a piece of state under its kind and key; `value` None forgets it."""

    kind: str
    key: str
    value: dict[str, Any] | None


Sendable = Response | str
"""A message, or the frame of one that is written already (`tick_text.py`), each character a byte."""
Effect = CloseSession | AbandonSession | SetListening | Save


@dataclass(slots=True)
class Turn:
    """What one call of the engine wants done: bytes of these responses per session, then the effects."""

    sends: dict[int, list[Sendable]] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)


class Floor:
    """The shared state of one exchange."""

    def __init__(self, config: ExchangeConfig, universe: Universe, now_ns: int, *, writes_ticks: bool = False) -> None:
        self.config = config
        self.universe = universe
        self.now_ns = now_ns
        self.writes_ticks = writes_ticks
        self.prices = Prices(universe, config.seed)
        self.books: dict[int, Book] = {}
        self.sessions = Sessions()
        self.ledger = Ledger()
        self.faults = Faults()
        self.hard_to_borrow: dict[str, float] = {}
        """Symbols of which no shares can be lent at once, with the seconds that finding some takes."""
        self.watch: Callable[[Instrument], None] = lambda _: None
        self.release: Callable[[int], None] = lambda _: None
        self.unneeded: Callable[[int], None] = lambda _: None
        """Told of a contract that one less looks at; the data desk knows whether somebody still does."""
        self.position_changed: Callable[[str, int], None] = lambda _, __: None
        self.touched_accounts: set[str] = set()
        """Accounts whose stored state is older than this one."""
        self.account_changed: Callable[[str], None] = lambda _: None
        self.zone = ZoneInfo(config.time_zone)
        self._turn = Turn()
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._timer_seq = 0
        self._deferred: list[tuple[int, Response]] = []

    # -------------------------------------------------------------------------------------------- sending
    def send(self, session: int, response: Response) -> None:
        """Send a response to a session in this turn, unless a fault drops or delays it."""
        if self.faults.is_active:
            self._send_through_faults(session, response)
            return
        queue = self._turn.sends.get(session)
        if queue is not None:
            queue.append(response)
        else:
            self._put(session, response)

    def _send_through_faults(self, session: int, response: Response) -> None:
        entry = self.sessions.by_session.get(session)
        verdict = self.faults.on_send(session, entry.client_id if entry else None, response, self.now_ns)
        if verdict.delay_ns is None:
            return
        if verdict.delay_ns > 0:
            self.later(verdict.delay_ns, lambda: self._put(session, response))
        else:
            self._put(session, response)
        if verdict.again_ns == 0:
            self._put(session, response)
        elif verdict.again_ns is not None:
            self.later(verdict.again_ns, lambda: self._put(session, response))

    def out(self, session: int) -> list[Sendable] | None:
        """Return what is to be sent to a session in this turn, to add to it; None if it is gone."""
        queue = self._turn.sends.get(session)
        if queue is None and session in self.sessions.by_session:
            queue = self._turn.sends[session] = []
        return queue

    def send_broker(self, session: int, response: Response) -> None:
        """Send what TWS knows from IB's servers only: held back while their connection is lost."""
        if self.faults.is_link_lost:
            self._deferred.append((session, response))
        else:
            self.send(session, response)

    def error(self, session: int, request_id: int, code: int, text: str) -> None:
        """Send an error or notice."""
        self.send(session, self._error(request_id, code, text))

    def broadcast(self, code: int, text: str) -> None:
        """Send a notice to every started session."""
        for session in self.sessions.started():
            self._put(session.session, self._error(-1, code, text))

    def release_deferred(self) -> None:
        """Send what was held back during a lost connection."""
        deferred, self._deferred = self._deferred, []
        for session, response in deferred:
            self.send(session, response)

    def effect(self, effect: Effect) -> None:
        """Ask the shell for something in this turn."""
        self._turn.effects.append(effect)

    @property
    def has_news(self) -> bool:
        """Return whether this turn has anything for anybody."""
        return bool(self._turn.sends or self._turn.effects)

    def take_turn(self) -> Turn:
        """Return what was collected, and begin a new turn."""
        turn, self._turn = self._turn, Turn()
        return turn

    def _error(self, request_id: int, code: int, text: str) -> ErrorMessage:
        return ErrorMessage(request_id, code, text, time_ms=self.now_ns // 1_000_000)

    def _put(self, session: int, response: Response) -> None:
        if session not in self.sessions.by_session:
            return
        queue = self._turn.sends.get(session)
        if queue is None:
            self._turn.sends[session] = [response]
        else:
            queue.append(response)

    # -------------------------------------------------------------------------------------------- timers
    def later(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Run `act` when `delay_ns` have passed; a delay of 0 runs it in the next turn."""
        self._timer_seq += 1
        heappush(self._timers, (self.now_ns + delay_ns, self._timer_seq, act))

    def next_timer_ns(self) -> int | None:
        """Return when the next timer is due."""
        return self._timers[0][0] if self._timers else None

    def pop_timer(self, now_ns: int) -> Callable[[], None] | None:
        """Return the next due act, None if none is due."""
        if self._timers and self._timers[0][0] <= now_ns:
            due_ns, _, act = heappop(self._timers)
            self.now_ns = max(self.now_ns, due_ns)
            return act
        return None

    # -------------------------------------------------------------------------------------------- books
    def book(self, con_id: int) -> Book:
        """Return the book of a contract."""
        book = self.books.get(con_id)
        if book is None:
            book = self.books[con_id] = Book(con_id)
        return book

    def mark(self, instrument: Instrument) -> float:
        """Return the price that positions are valued at; the synthetic mid where nothing has been seen yet."""
        book = self.books.get(instrument.con_id)
        price = book.mark if book is not None else 0.0
        return price or self.prices.mid(instrument, self.now_ns)

    def log(self, kind: str, **facts: Any) -> None:
        """Write to the ledger of truth."""
        self.ledger.append(self.now_ns, kind, **facts)
