"""Let breakers trip without an order, and ask for the halt or the flatten that a tripped breaker's rung wants.

Only the leader that decides acts. The halt goes through `control` like a person's, so the gateway cancels what adds
risk and everybody sees who asked; its id is made of what tripped and when the trading day began, so a successor that
finds the same trip does not ask again.
"""

from __future__ import annotations

from collections.abc import Callable

from services.risk.core.limits import Limits
from services.risk.core.tripping import note_own_profit, trip_account, trip_strategy
from services.risk.shell.feed import Feed
from shared.bus.ports import Bus
from shared.clock import Clock
from shared.errors import OutcomeUnknown, Refused, TransientError
from shared.logs import get_logger
from shared.messages.control import Control, ControlAction

PERIOD_S = 0.25


class BreakerWatch:
    """Looks at every breaker four times a second.

    Args:
        limits: returns the limits in force.
        is_deciding: whether this process leads and its book is complete.
    """

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        feed: Feed,
        limits: Callable[[], Limits],
        *,
        instance: str,
        is_deciding: Callable[[], bool],
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._feed = feed
        self._limits = limits
        self._source = f"risk:{instance}"
        self._is_deciding = is_deciding
        self._said: set[str] = set()
        self._asked: set[str] = set()

    async def run(self) -> None:
        """Look for ever; a bus that is away only delays what is asked for."""
        while True:
            if self._is_deciding():
                try:
                    await self.look()
                except (TransientError, OutcomeUnknown, Refused) as e:
                    get_logger().warning("dependency.away", what="bus", error=str(e))
            await self._clock.sleep(PERIOD_S)

    async def look(self) -> None:
        """Trip what has reason to, say it once, and ask for a halt or a flatten where a rung wants it."""
        book, limits, now_ns = self._feed.book, self._limits(), self._clock.wall_ns()
        book.advance(now_ns)
        note_own_profit(book, now_ns)
        trip_account(book, limits.base)
        for strategy in dict.fromkeys((*book.profits.strategies, *book.activity.rejects)):
            trip_strategy(book, strategy, limits.for_order(strategy, 0, None), now_ns)
        trips = dict(book.breakers.trips)
        self._said &= set(trips)
        self._asked &= set(trips)
        for name, trip in trips.items():
            if name not in self._said:
                self._said.add(name)
                get_logger().error("breaker.tripped", breaker=name, reason=trip.text, rung=trip.rung)
            if trip.rung in ("halt", "flatten") and name not in self._asked:
                strategy = name.partition(":")[2]
                if trip.rung == "halt" or not strategy:
                    await self._ask(ControlAction.HALT, "account", name, trip.text)
                if trip.rung == "flatten":
                    scope = f"strategy:{strategy}" if strategy else "account"
                    await self._ask(ControlAction.FLATTEN, scope, name, trip.text)
                self._asked.add(name)

    async def _ask(self, action: ControlAction, scope: str, name: str, text: str) -> None:
        started_ns = self._feed.book.activity.started_ns
        control = Control(
            control_id=f"breaker:{name}:{started_ns}" + ("" if action is ControlAction.HALT else f":{action}"),
            action=action,
            scope=scope,
            who=f"breaker {name}",
            reason=text,
            ts_init_ns=self._clock.wall_ns(),
        )
        for entry in await self._bus.read_last(self._bus.keys.control, 100):
            if entry.fields.get(b"id") == control.control_id.encode():
                return
        await self._bus.append(self._bus.keys.control, control, source=self._source)
