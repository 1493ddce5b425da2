"""Interrupt and name a strategy whose handler blocks.

A thread looks whether the same handler call still runs after the limit. Then it signals the main thread, whose signal
handler raises `HandlerBlocked` into the strategy's code: endless loops, sleeps and blocking sockets end there, the unit
is paused with file and line, and the worker and its other units go on.

Known limit: a C extension that neither returns nor handles signals cannot be interrupted; then the lease runs out.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

from services.strategy.core.saved import HandlerBlocked, Watched
from shared.logs import get_logger


class Watchdog:
    """Watches one worker's handler calls; use as a context manager on the main thread."""

    def __init__(self, watched: Watched, limit_s: float) -> None:
        self._watched = watched
        self._limit_s = limit_s
        self._stop = threading.Event()
        self._flagged = -1
        self._thread = threading.Thread(target=self._watch, name="handler-watchdog", daemon=True)
        self._main = threading.get_ident()

    def __enter__(self) -> Watchdog:
        """Begin to watch."""
        self._before = signal.signal(signal.SIGALRM, self._interrupt)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End watching."""
        self._stop.set()
        self._thread.join(1.0)
        signal.signal(signal.SIGALRM, self._before)

    def _watch(self) -> None:
        seen = -1
        since = 0
        steps = 5
        while not self._stop.wait(self._limit_s / steps):
            calls, unit = self._watched.calls, self._watched.unit
            if not unit or calls != seen:
                seen, since = calls, 0
                continue
            since += 1
            if since >= steps:
                get_logger().error("strategy.blocked", unit=unit, handler=self._watched.event, limit_s=self._limit_s)
                self._flagged = calls
                signal.pthread_kill(self._main, signal.SIGALRM)
                since = 0

    def _interrupt(self, _: int, __: FrameType | None) -> None:
        if self._watched.unit and self._watched.calls == self._flagged:
            raise HandlerBlocked(f"it ran longer than {self._limit_s:g} s")
