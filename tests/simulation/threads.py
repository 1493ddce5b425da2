"""Blocking threads of a simulated process: real threads, of which the world lets one run at a time.

They stand in for the standard library's where a service starts one (the renewal of a lease), so that its code runs
unchanged: it blocks, and the world goes on until it is time to let it run again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tests.simulation.kernel import NS, STEP_NS, Process, World


class ThreadKilled(BaseException):
    """Unwinds a blocking thread of a process that is no more."""


class SimThread:
    """A thread that runs only while the world waits for it: stands in for `threading.Thread` of a process."""

    def __init__(
        self, target: Callable[..., None], args: tuple[Any, ...] = (), name: str = "", *, process: Process
    ) -> None:
        self._process = process
        self._target = target
        self._args = args
        self._go = threading.Semaphore(0)
        self._is_killed = False
        self.is_done = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        process.threads.append(self)

    def start(self) -> None:
        """Begin soon."""
        self._thread.start()
        self.resume_after(STEP_NS)

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._is_killed:
                self._target(*self._args)
        except ThreadKilled:
            pass
        except Exception as e:
            self._process.world.failures.append((f"{self._process.name}/thread", e))
        finally:
            self.is_done = True
            self._process.world.baton.release()

    def resume_after(self, delay_ns: int) -> None:
        """Let it run again after a delay."""
        self._process.world.after(delay_ns, self.resume)

    def resume(self) -> None:
        """Let it run until it blocks again; called by the world only."""
        process, world = self._process, self._process.world
        if self.is_done or not process.is_alive:
            return
        if process.paused_until > world.now:
            world.at(process.paused_until, self.resume)
            return
        before, world.current = world.current, process
        self._go.release()
        world.baton.acquire()
        world.current = before

    def block(self) -> None:
        """Give the baton back; returns when resumed. Called by the thread itself."""
        self._process.world.baton.release()
        self._go.acquire()
        if self._is_killed:
            raise ThreadKilled

    def kill(self) -> None:
        """Unwind it and wait for its end."""
        if not self.is_done and self._thread.is_alive():
            self._is_killed = True
            self._go.release()
            self._process.world.baton.acquire()
        self._thread.join()


class SimEvent:
    """Stands in for `threading.Event` in a process's threads."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._is_set = False
        self._waiters: list[SimThread] = []

    def is_set(self) -> bool:
        """Return the flag."""
        return self._is_set

    def set(self) -> None:
        """Set the flag; who waits goes on."""
        self._is_set = True
        for thread in self._waiters:
            thread.resume_after(STEP_NS)
        self._waiters.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Block the calling thread until the flag is set, at most `timeout` seconds of its process's clock."""
        thread = running_thread(self._world)
        if self._is_set or timeout is None:
            return self._is_set
        process = thread._process
        due = process.true_ns(process.monotonic_ns() + int(timeout * NS))
        self._waiters.append(thread)
        is_over = False

        def fire() -> None:
            nonlocal is_over
            if not is_over and not self._is_set:
                thread.resume()

        self._world.at(due, fire)
        thread.block()
        is_over = True
        if thread in self._waiters:
            self._waiters.remove(thread)
        return self._is_set


def running_thread(world: World) -> SimThread:
    """Return the simulated thread that runs now."""
    me = threading.current_thread()
    assert world.current is not None
    return next(each for each in world.current.threads if each._thread is me)
