"""Hand the leadership over: finish what was begun, then resign at once, so that a standby need not wait for the lease.

Asked for by an operator (`cq gateway handover`, the web page) or by SIGTERM. Steps, each bounded:

1. hold the claim: from here on nothing new is claimed, and nothing is between a claim and the socket;
2. wait until the socket has taken every byte, and a moment for the broker's word on each order sent on this session:
   a refusal is told to who sent the order, and nowhere else for certain. Everything else the successor finds by asking.
   So an order is not waited for long: its echo may stand behind the answer to what happened all day, thousands of
   messages long, and that of an order that went into an earlier session never comes;
3. wait until everything queued is on the bus;
4. end the leadership; its holder gives the lease up and stays out until another leads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

from services.gateway.core.book import OrderBook
from services.gateway.core.order_machine import OrderTrack
from services.gateway.shell.books import BooksDesk
from services.gateway.shell.commands import Commands
from services.gateway.shell.outbox import Outbox
from services.gateway.shell.standbys import Standbys
from services.gateway.shell.trading import Trading
from shared.clock import NS_PER_MS, NS_PER_S, SYSTEM_CLOCK, Clock
from shared.errors import ConfigError, Fenced, OutcomeUnknown, TransientError
from shared.logs import get_logger
from shared.messages.control import Control, ControlAction
from shared.messages.orders import OrderState

DRAIN_S = 1.5
ECHO_S = 0.15
"""How long after it was sent an order's echo is waited for."""
TURN_S = 0.002


class HandedOver(Fenced):
    """The leadership was given up on purpose."""


class Handover:
    """One leadership's way out.

    Args:
        standbys: the other gateways; an operator's wish needs one that is ready.
        began_wall_ns: when this leadership began: what was asked of a predecessor is not done again.
    """

    def __init__(self, standbys: Standbys, *, began_wall_ns: int, clock: Clock = SYSTEM_CLOCK) -> None:
        self._standbys = standbys
        self._began_wall_ns = began_wall_ns
        self._clock = clock
        self._asked = asyncio.Event()
        self._who = ""
        self._needs_standby = True

    def ask(self, control: Control) -> None:
        """Take an operator's word."""
        if control.ts_init_ns < self._began_wall_ns:
            get_logger().info("handover.ignored", who=control.who, reason="it was asked of a predecessor")
            return
        self._who = control.who
        self._asked.set()

    def stop(self) -> None:
        """Hand over because this process stops, whether or not a standby is there."""
        self._who, self._needs_standby = "SIGTERM", False
        self._asked.set()

    async def run(self, commands: Commands, outbox: Outbox, trading: Trading, book: OrderBook) -> None:
        """Wait until asked, then drain.

        Raises:
            HandedOver: it is done; the leadership must end now.
        """
        while True:
            await self._asked.wait()
            self._asked.clear()
            if not self._needs_standby or await self._standbys.is_one_ready():
                break
            get_logger().warning("handover.refused", who=self._who, reason="no other gateway is connected")
        marks = [self._clock.monotonic_ns()]
        get_logger().warning("handover.began", who=self._who)
        try:
            async with asyncio.timeout(DRAIN_S):
                await commands.sending.acquire()  # never released: this leadership claims no more
                marks.append(self._clock.monotonic_ns())
                while self._is_underway(trading, book):
                    await self._clock.sleep(TURN_S)
                marks.append(self._clock.monotonic_ns())
                await outbox.flushed()
        except TimeoutError:  # a successor asks the broker anyway
            get_logger().warning("handover.not_drained", entries=outbox.waiting)
        marks.append(self._clock.monotonic_ns())
        steps_ms = [(after - before) // NS_PER_MS for before, after in pairwise(marks)]
        get_logger().warning(
            "handover.drained", took_ms=(marks[-1] - marks[0]) // NS_PER_MS, steps_ms=steps_ms,
            unechoed=[track.key for track in _unechoed(trading, book)],
        )  # fmt: skip
        raise HandedOver(f"handed over, asked by {self._who}")

    def _is_underway(self, trading: Trading, book: OrderBook) -> bool:
        session = trading.session
        if session is None or not session.is_open:
            return False
        since_ns = self._clock.monotonic_ns() - int(ECHO_S * NS_PER_S)
        return session.unsent_bytes > 0 or any(track.sent_ns > since_ns for track in _unechoed(trading, book))


def _unechoed(trading: Trading, book: OrderBook) -> list[OrderTrack]:
    """Return what was sent on the session that is open now and the broker has not shown yet."""
    return [
        track for track in book.open_tracks()
        if track.state is OrderState.CLAIMED and 0 < trading.opened_ns <= track.sent_ns
    ]  # fmt: skip


def take_control(control: Control, books: BooksDesk, handover: Handover, trading: Trading) -> None:
    """Take what an operator asks of the leader beside halt and resume."""
    takers: dict[ControlAction, Callable[[Control], None]] = {
        ControlAction.ACCEPT_POSITION: books.accept,
        ControlAction.ASSIGN_POSITION: books.assign,
        ControlAction.IMPORT_FILLS: books.import_fills,
        ControlAction.IMPORT_CASH: books.statement.ask,
        ControlAction.HANDOVER: handover.ask,
        ControlAction.RECONCILE: lambda asked: trading.ask(f"{asked.who}: {asked.reason}", announce=True),
    }
    if control.action in takers:
        takers[control.action](control)


def reason_of(group: BaseExceptionGroup[BaseException]) -> str:
    """Return why a leader's loops ended; a mistake of ours or of the settings goes on to the runtime."""
    flat: list[BaseException] = []
    todo: list[BaseException] = [group]
    while todo:
        each = todo.pop(0)
        if isinstance(each, BaseExceptionGroup):
            todo += each.exceptions
        else:
            flat.append(each)
    for each in flat:
        if not isinstance(each, Fenced | TransientError | OutcomeUnknown) or isinstance(each, ConfigError):
            raise each
    fenced = [each for each in flat if isinstance(each, Fenced)]
    return str((fenced or flat)[0])
