"""Read a stream that has one fenced reader, and act on what was read, patiently: for as long as we lead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from shared.bus.ports import Bus, Entry
from shared.clock import SYSTEM_CLOCK, Clock
from shared.errors import Fenced, OutcomeUnknown, TransientError

T = TypeVar("T")
PAUSE_S = 0.1


class FencedReader:
    """What the readers of `commands`, `cancel-commands` and `control` have in common.

    Args:
        bus: holds the stream.
        has_lease: asked before an act is repeated.
        block_ms: how long one read waits for entries.
    """

    def __init__(self, bus: Bus, has_lease: Callable[[], bool], *, block_ms: int, clock: Clock = SYSTEM_CLOCK) -> None:
        self._bus = bus
        self._has_lease = has_lease
        self._block_ms = block_ms
        self._clock = clock

    async def read(self, stream: str, cursor: str) -> Sequence[Entry]:
        """Return what is after a cursor; nothing, after a pause, while Redis is away."""
        try:
            return (await self._bus.read({stream: cursor}, count=100, block_ms=self._block_ms)).get(stream, [])
        except TransientError:
            await self._clock.sleep(PAUSE_S)
            return []

    async def until_done(self, act: Callable[[], Awaitable[T]]) -> T:
        """Repeat an act that may be repeated until its reply came.

        Raises:
            Fenced: we lead no more.
        """
        while True:
            try:
                return await act()
            except (TransientError, OutcomeUnknown) as e:
                if not self._has_lease():
                    raise Fenced("the lease ran out") from e
                await self._clock.sleep(PAUSE_S)
