"""Run the asynchronous system for callers that are not: scripts, notebooks, and handlers of somebody else's loop.

One daemon thread of this process has an event loop; `BACKGROUND.run(coroutine)` hands it a coroutine and waits for the
result, with a limit. So a facade works from a plain script, from a cell of a notebook (whose own loop is running), and
from inside a coroutine (which it blocks as long as the call lasts).

1. Nothing waits without a limit.
2. Code of the caller never runs on the loop: callbacks go through `tell`, in order, on a thread of their own, and may
   call the facades again.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import logging
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from shared.errors import InvariantBroken, TimedOut

T = TypeVar("T")
log = logging.getLogger("copilot_quant")


class Background:
    """An event loop on a thread of its own, started when it is first needed."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._spawned: weakref.WeakSet[concurrent.futures.Future[Any]] = weakref.WeakSet()
        self._callers = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="cq-callbacks")

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the running loop."""
        with self._guard:
            if self._loop is None:
                loop = self._loop = asyncio.new_event_loop()
                started = threading.Event()
                self._thread = threading.Thread(target=self._serve, args=(loop, started), name="cq-loop", daemon=True)
                self._thread.start()
                started.wait(5.0)
            return self._loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop, started: threading.Event) -> None:
        asyncio.set_event_loop(loop)  # ib_insync asks for the thread's loop, not for the running one (ib-facts M12)
        loop.call_soon(started.set)
        loop.run_forever()

    def run(self, work: Coroutine[Any, Any, T], *, limit_s: float) -> T:
        """Run a coroutine on the loop and return what it returns.

        Raises:
            TimedOut: it took longer than `limit_s`; it is cancelled.
            InvariantBroken: called on the loop itself, which would wait for itself for ever.
        """
        future = self.spawn(work)
        try:
            return future.result(limit_s)
        except concurrent.futures.TimeoutError as e:
            if future.done():
                raise  # the work's own TimeoutError
            future.cancel()
            raise TimedOut(f"no answer within {limit_s:g} s") from e
        except BaseException:
            future.cancel()  # Ctrl-C of the caller ends the work too
            raise

    def spawn(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start a coroutine on the loop; cancel what is returned to end it."""
        if threading.current_thread() is self._thread:
            work.close()
            raise InvariantBroken("a facade was called on its own event loop: call it from a callback or a thread")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        self._spawned.add(future)
        return future

    def cancel_spawned(self) -> None:
        """Cancel whatever runs on the loop for us."""
        for future in list(self._spawned):
            future.cancel()

    def stop(self) -> None:
        """Cancel everything and end the thread; the next use begins anew."""
        with self._guard:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None:
            return
        self.cancel_spawned()
        # One turn for the cancels to arrive, another for what they end.
        loop.call_soon_threadsafe(lambda: loop.call_soon(lambda: loop.call_later(0.05, loop.stop)))
        thread.join(5.0)
        if not thread.is_alive():
            loop.close()

    def tell(self, callback: Callable[..., object], *args: object) -> None:
        """Call a callback of the user, after those before it; its errors are logged and end nothing."""
        try:
            self._callers.submit(self._call, callback, args)
        except RuntimeError:
            log.debug("the process ends: no callback any more")

    @staticmethod
    def _call(callback: Callable[..., object], args: tuple[object, ...]) -> None:
        try:
            callback(*args)
        except Exception:
            log.exception("the callback %s failed", getattr(callback, "__qualname__", callback))


BACKGROUND = Background()
atexit.register(BACKGROUND.stop)
