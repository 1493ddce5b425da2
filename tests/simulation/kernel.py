"""Run many processes in one thread of control, in an order and on clocks that follow from one seed.

A `World` owns the true time. A `Process` has clocks of its own (they drift, the wall clock jumps), one event loop
(`Strand`) and any number of blocking threads (`SimThread`), of which exactly one runs at a time. Within a strand
callbacks run in the order asyncio promises; which strand runs next is drawn from the seed. Nothing waits in real time.

A crash abandons a process as SIGKILL does: nothing of it runs any more, no `finally`; a pause stops all of it.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.threads import SimThread

NS = 1_000_000_000
MS = 1_000_000
US = 1_000
STEP_NS = 3 * US
"""What one callback costs: time always moves, so that a loop that never waits is found."""


class World:
    """The true time, everything that is to happen, and the dice."""

    def __init__(self, seed: int | str) -> None:
        self.rng = random.Random(f"world:{seed}")
        self.now = 1_000 * NS
        self.epoch_wall_ns = 1_790_000_000 * NS
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._seq = 0
        self._runnable: list[Strand] = []
        self.current: Process | None = None
        self.processes: list[Process] = []
        self.baton = threading.Semaphore(0)
        self.failures: list[tuple[str, BaseException]] = []
        self.steps = 0

    def at(self, when_ns: int, act: Callable[[], None]) -> None:
        """Do something at a true time."""
        self._seq += 1
        heapq.heappush(self._heap, (when_ns, self._seq, act))

    def after(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Do something after a delay of true time."""
        self.at(self.now + delay_ns, act)

    def ready(self, strand: Strand) -> None:
        """Note that a strand has something to run."""
        if not strand.is_queued and strand.process.can_run:
            strand.is_queued = True
            self._runnable.append(strand)

    def wall_ns(self) -> int:
        """Return the true wall time."""
        return self.epoch_wall_ns + self.now

    def chance(self, probability: float) -> bool:
        """Throw the dice."""
        return self.rng.random() < probability

    def between(self, low: float, high: float) -> int:
        """Return nanoseconds between two times in seconds, small ones more often."""
        return int((low + (high - low) * self.rng.random() ** 3) * NS)

    def step(self) -> bool:
        """Run one callback, or let time pass to the next event; False if there is nothing at all."""
        heap = self._heap
        while heap and heap[0][0] <= self.now:
            heapq.heappop(heap)[2]()
        if self._runnable:
            self.steps += 1
            self.now += STEP_NS
            index = int(self.rng.random() * len(self._runnable))
            strand = self._runnable[index]
            if not strand.run_one():
                strand.is_queued = False
                self._runnable[index] = self._runnable[-1]
                self._runnable.pop()
            return True
        if not heap:
            return False
        self.now = max(self.now, heap[0][0])
        return True

    def process(self, name: str, *, drift: float = 0.0, wall_offset_s: float = 0.0) -> Process:
        """Start a process: its clocks run `1 + drift` as fast as true time."""
        process = Process(self, name, drift, int(wall_offset_s * NS))
        self.processes.append(process)
        return process

    def close(self) -> None:
        """End every process and free what hangs in them, without letting any of it act."""
        for process in self.processes:
            process.crash()
        for process in self.processes:
            process.dispose()


class Process:
    """One process: clocks, a loop, threads. `can_run` is False while it is paused or dead."""

    def __init__(self, world: World, name: str, drift: float, wall_offset_ns: int) -> None:
        self.world = world
        self.name = name
        self.is_alive = True
        self.paused_until = 0
        self.hung_until = 0
        self.wall_offset_ns = wall_offset_ns
        self._rate = 1.0 + drift
        self._born = world.now
        self._base = world.rng.randrange(1, 10**6) * NS
        self.loop = Strand(self)  # type: ignore[abstract]  # what a service asks of its loop is there
        self.threads: list[SimThread] = []
        self.on_crash: list[Callable[[], None]] = []

    @property
    def can_run(self) -> bool:
        """Return whether its event loop may run now."""
        return self.is_alive and self.paused_until <= self.world.now and self.hung_until <= self.world.now

    def monotonic_ns(self) -> int:
        """Return its monotonic clock."""
        return self._base + int((self.world.now - self._born) * self._rate)

    def wall_ns(self) -> int:
        """Return its wall clock."""
        return self.world.epoch_wall_ns + self.world.now + self.wall_offset_ns

    def true_ns(self, monotonic_ns: int) -> int:
        """Return the true time at which its monotonic clock shows a value."""
        return self._born + int((monotonic_ns - self._base) / self._rate)

    def start(self, main: Coroutine[Any, Any, Any], *, name: str = "main") -> None:
        """Run a coroutine as one of its tasks; one that ends with an error ends the process (kept in `failures`)."""

        async def run() -> None:
            try:
                await main
            except Exception as e:
                self.world.failures.append((f"{self.name}/{name}", e))
                self.crash()

        self.enter(lambda: self.loop.create_task(run(), name=name))

    def enter(self, act: Callable[[], Any]) -> Any:
        """Do something as this process, at once."""
        before = self.world.current
        self.world.current = self
        asyncio._set_running_loop(self.loop)
        try:
            return act()
        finally:
            asyncio._set_running_loop(None)
            self.world.current = before

    def pause(self, duration_ns: int) -> None:
        """Stop the whole process, as SIGSTOP does, and continue it."""
        self.paused_until = max(self.paused_until, self.world.now + duration_ns)
        self.world.at(self.paused_until, self._wake)

    def hang(self, duration_ns: int) -> None:
        """Block its event loop; its threads go on."""
        self.hung_until = max(self.hung_until, self.world.now + duration_ns)
        self.world.at(self.hung_until, self._wake)

    def _wake(self) -> None:
        if self.can_run and self.loop.has_ready:
            self.world.ready(self.loop)

    def crash(self) -> None:
        """End it like SIGKILL: nothing of it runs any more; its sockets close."""
        if self.is_alive:
            self.is_alive = False
            for act in self.on_crash:
                act()

    def dispose(self) -> None:
        """Free its coroutines and threads once everything is over."""
        for thread in self.threads:
            thread.kill()
        self.loop.dispose()


class SimTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address: TaskGroup cancels its children in set order."""

    def __init__(self, *args: Any, number: int, **kwargs: Any) -> None:
        self._number = number
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        """Return its number."""
        return self._number

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same task."""
        return self is other


class Strand(asyncio.AbstractEventLoop):
    """The event loop of one process."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.is_queued = False
        self._ready: deque[asyncio.Handle] = deque()
        self._tasks: list[asyncio.Task[Any]] = []
        self._made = 0

    @property
    def has_ready(self) -> bool:
        """Return whether a callback waits."""
        return bool(self._ready)

    def run_one(self) -> bool:
        """Run the next callback; False if there is none, or the process cannot run."""
        process = self.process
        if not self._ready or not process.can_run:
            return False
        handle = self._ready.popleft()
        if not handle._cancelled:
            world = process.world
            world.current = process
            asyncio._set_running_loop(self)
            try:
                handle._run()
            finally:
                asyncio._set_running_loop(None)
                world.current = None
        return bool(self._ready) and process.can_run

    def _push(self, handle: asyncio.Handle) -> None:
        self._ready.append(handle)
        if not self.is_queued:
            self.process.world.ready(self)

    def time(self) -> float:
        return self.process.monotonic_ns() / NS

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._push(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        process = self.process
        due = process.true_ns(int(when * NS)) + US

        def fire() -> None:
            if process.is_alive and not handle._cancelled:
                self._push(handle)

        process.world.at(due, fire)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing to do: a cancelled timer is passed over when it is due."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> asyncio.Task[Any]:
        self._made += 1
        more = {} if context is None else {"context": context}
        task = SimTask(coro, loop=self, name=name, number=self._made, **more)
        self._tasks.append(task)
        if len(self._tasks) > 500:
            self._tasks = [each for each in self._tasks if not each.done()]
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return not self.process.is_alive

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if self.process.is_alive and isinstance(error, BaseException):
            self.process.world.failures.append((f"{self.process.name}/callback", error))

    def dispose(self) -> None:
        """Close every coroutine that is still suspended; what their `finally` says goes nowhere."""
        self._ready.clear()
        for task in self._tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            if not task.done():
                try:
                    task.get_coro().close()
                except BaseException:
                    continue  # a finally that awaits: it is a dead process' last word
            elif not task.cancelled():
                task.exception()
        self._tasks.clear()
        self._ready.clear()
