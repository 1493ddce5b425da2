"""Let breakers trip without an order, and ask for the halt or the flatten that a tripped breaker's rung wants.

Only the leader that decides acts. The halt goes through `control` like a person's, so the gateway cancels what adds
risk and everybody sees who asked; its id is made of what tripped, when the trading day began and the last resume before
it: a successor that finds the same trip does not ask again, and what trips after a person resumed does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from services.risk.core.breakers import Trip
from services.risk.core.tripping import note_own_profit, trip_account, trip_strategy
from services.risk.core.tripping_seen import trip_seen
from services.risk.shell.deciding import Deciding
from shared.bus.once import append_once
from shared.logs import get_logger
from shared.messages.control import Control, ControlAction

PERIOD_S = 0.25


async def _nothing() -> None:
    """Keep nothing."""


class BreakerWatch:
    """Looks at every breaker four times a second.

    Args:
        keep: stores the book, so that what has tripped is not lost with this process.
    """

    def __init__(self, deciding: Deciding, keep: Callable[[], Awaitable[object]] = _nothing) -> None:
        self._deciding = deciding
        self._keep = keep
        self._said: set[tuple[str, Trip]] = set()
        self._asked: set[tuple[str, Trip]] = set()
        self._unsafe = ""

    async def run(self) -> None:
        """Look for ever."""
        await self._deciding.again(self.look, PERIOD_S)

    async def look(self) -> None:
        """Trip what has reason to, say it once, and ask for a halt or a flatten where a rung wants it."""
        book, limits, now_ns = self._deciding.feed.book, self._deciding.limits(), self._deciding.clock.wall_ns()
        book.advance(now_ns)
        note_own_profit(book, now_ns)
        trip_account(book, limits.base)
        for strategy in dict.fromkeys((*book.profits.strategies, *book.activity.rejects)):
            trip_strategy(book, strategy, limits.for_order(strategy, 0, None), now_ns)
        trip_seen(book, limits, now_ns)
        await self._ask_anew(book.readiness.unsafe, now_ns)
        trips = dict(book.breakers.trips)
        if not self._said.issuperset(trips.items()):
            await self._keep()  # a successor that reads the streams again judges nothing of the past
        self._said &= set(trips.items())
        self._asked &= set(trips.items())
        for name, trip in trips.items():
            if (name, trip) not in self._said:
                self._said.add((name, trip))
                get_logger().error("breaker.tripped", breaker=name, reason=trip.text, rung=trip.rung)
            if trip.rung in ("halt", "flatten") and (name, trip) not in self._asked:
                strategy = name.partition(":")[2]
                if trip.rung == "halt" or not strategy:
                    await self._ask(ControlAction.HALT, "account", name, trip)
                if trip.rung == "flatten":
                    scope = f"strategy:{strategy}" if strategy else "account"
                    await self._ask(ControlAction.FLATTEN, scope, name, trip)
                self._asked.add((name, trip))

    async def _ask_anew(self, unsafe: str, now_ns: int) -> None:
        """Have the broker asked where an entry could not be read: the gateway may know nothing of that (P10)."""
        if unsafe and unsafe != self._unsafe:
            control = Control(
                control_id=f"reconcile:{unsafe}",
                action=ControlAction.RECONCILE,
                who="risk",
                reason=f"{unsafe} could not be read",
                ts_init_ns=now_ns,
            )
            await self._tell(control)
            get_logger().error("reconcile.asked", entry=unsafe)
        self._unsafe = unsafe

    async def _ask(self, action: ControlAction, scope: str, name: str, trip: Trip) -> None:
        started_ns = self._deciding.feed.book.activity.started_ns
        control = Control(
            control_id=f"breaker:{name}:{started_ns}:{trip.after or 'first'}:{action}",
            action=action,
            scope=scope,
            who=f"breaker {name}",
            reason=trip.text,
            ts_init_ns=self._deciding.clock.wall_ns(),
        )
        await self._tell(control)

    async def _tell(self, control: Control) -> None:
        bus = self._deciding.bus
        await append_once(bus, bus.keys.control, control, source=self._deciding.source)
