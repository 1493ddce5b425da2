"""What the risk that decides does by itself, again and again; while another process decides it only waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.risk.core.limits import Limits
from services.risk.shell.feed import Feed
from shared.bus.ports import Bus
from shared.clock import Clock
from shared.errors import OutcomeUnknown, Refused, TransientError
from shared.logs import get_logger


@dataclass(frozen=True, slots=True)
class Deciding:
    """What a loop of the deciding risk reads and asks with.

    Args:
        limits: returns the limits in force.
        instance: this process; it names the source of what is asked for.
        is_deciding: whether this process leads and its book is complete.
    """

    bus: Bus
    clock: Clock
    feed: Feed
    limits: Callable[[], Limits]
    instance: str
    is_deciding: Callable[[], bool]

    @property
    def source(self) -> str:
        """Return the source of what is asked for."""
        return f"risk:{self.instance}"

    async def again(self, look: Callable[[], Awaitable[None]], every_s: float) -> None:
        """Look for ever, every so many seconds; a bus that is away only delays what is asked for."""
        while True:
            if self.is_deciding():
                try:
                    await look()
                except (TransientError, OutcomeUnknown, Refused) as e:
                    get_logger().warning("dependency.away", what="bus", error=str(e))
            await self.clock.sleep(every_s)
