"""Tell what came from the broker in turns of the event loop, so that no answer, however long, holds everything else.

What happened on a busy day is thousands of messages: told in one go they take a second, and for that long no order is
sent, no tick published, and a short lease is lost.

Invariants:
1. Everything is told, once, in the order it came; before the end of the socket, unless it was dropped.
2. While something waits the socket is not read: what waits is never more than one read brought.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from shared.clock import NS_PER_MS, SYSTEM_CLOCK, Clock

TURN_NS = 10 * NS_PER_MS
"""How long one turn tells; ticks, hundreds to a read, take less."""
_LOOK_EVERY = 16
"""After how many messages a turn looks at the clock."""
_FOR_EVER = 1 << 62


class Turns:
    """The messages of one socket that came and are not told yet.

    Args:
        tell: takes the fields of one message.
        ended: told that nothing more is told in this turn.
    """

    def __init__(
        self, tell: Callable[[list[str]], None], ended: Callable[[], None], *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._tell = tell
        self._ended = ended
        self._clock = clock
        self._waiting: deque[list[str]] = deque()
        self._is_behind = False
        self.transport: asyncio.Transport | None = None
        """Is not read while something waits."""

    def take(self, messages: Sequence[list[str]]) -> None:
        """Take what a read brought, and tell of it as much as fits in this turn."""
        self._waiting += messages
        if not self._is_behind:
            self._turn()

    def finish(self) -> None:
        """Tell all that waits, now: the socket has ended."""
        self._tell_until(_FOR_EVER)

    def drop(self) -> None:
        """Forget what waits: nobody wants to hear it any more."""
        self._waiting.clear()

    def _turn(self) -> None:
        self._tell_until(self._clock.monotonic_ns() + TURN_NS)
        self._ended()
        is_behind = bool(self._waiting)
        if is_behind:
            asyncio.get_running_loop().call_soon(self._turn)
        transport = self.transport
        if is_behind is not self._is_behind and transport is not None and not transport.is_closing():
            transport.pause_reading() if is_behind else transport.resume_reading()
        self._is_behind = is_behind

    def _tell_until(self, until_ns: int) -> None:
        tell, waiting, count = self._tell, self._waiting, 0
        while waiting:
            tell(waiting.popleft())
            count += 1
            if not count % _LOOK_EVERY and self._clock.monotonic_ns() >= until_ns:
                return
