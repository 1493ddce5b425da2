"""Interrupt and name a strategy whose handler blocks.

A thread looks whether the same handler call still runs after the limit. Then it signals the main thread, whose signal
handler raises `HandlerBlocked` into the strategy's code: endless loops, sleeps and blocking sockets end there, the unit
is paused with file and line, and the worker and its other units go on.

A call into C that takes no signals is beyond this; the sentinel beside the worker ends it (shell/sentinel.py). In sim a
handler that a person holds at a debugger's prompt is left alone, whatever the time.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

from services.strategy.core.saved import HandlerBlocked, Watched
from services.strategy.shell.mark import DEBUGGED, STUCK, Mark
from shared.clock import NS_PER_S
from shared.logs import get_logger

DEBUGGERS = ("bdb", "pdb", "pydevd", "_pydevd", "debugpy")


def is_at_a_prompt(thread: int) -> bool:
    """Return whether a thread is inside of a Python debugger."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0].startswith(DEBUGGERS):
            return True
        frame = frame.f_back
    return False


class Watchdog:
    """Watches one worker's handler calls; use as a context manager on the main thread."""

    def __init__(
        self, watched: Watched, limit_s: float, *, mark: Mark | None = None, spares_debuggers: bool = False
    ) -> None:
        self._watched = watched
        self._limit_s = limit_s
        self._mark = mark
        self._spares_debuggers = spares_debuggers
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
                self._watched.is_debugged = False
                continue
            if self._spares_debuggers and is_at_a_prompt(self._main):
                since = 0
                self._watched.is_debugged = True
                self._watched.debugged_ns += int(self._limit_s / steps * NS_PER_S)
                self._show(DEBUGGED)
                continue
            self._watched.is_debugged = False
            since += 1
            if since >= steps:
                if self._flagged == calls:
                    self._show(STUCK)  # it was interrupted and went on
                get_logger().error("strategy.blocked", unit=unit, handler=self._watched.event, limit_s=self._limit_s)
                self._flagged = calls
                signal.pthread_kill(self._main, signal.SIGALRM)
                since = 0

    def _show(self, flag: int) -> None:
        if self._mark is not None:
            self._mark.flag(flag)

    def _interrupt(self, _: int, __: FrameType | None) -> None:
        if self._watched.unit and self._watched.calls == self._flagged:
            raise HandlerBlocked(f"it ran longer than {self._limit_s:g} s")
