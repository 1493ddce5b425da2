"""Run many processes in one thread of control, in an order and on clocks that follow from one seed.

A `World` owns the true time. A `Process` has clocks of its own (they drift, the wall clock jumps), one event loop
(`Strand`) and any number of blocking threads (`SimThread`); exactly one of all runs at a time. Within a strand
callbacks run in the order asyncio promises; which strand runs next is drawn from the seed. Nothing waits in real time.

A crash abandons a process as SIGKILL does: nothing of it runs any more, no `finally`; a pause stops all of it.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence, Sized
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
        self.thread: SimThread | None = None
        """The blocking thread that runs now."""
        self.failures: list[tuple[str, BaseException]] = []
        self.steps = 0
        self.entered: Strand | None = None
        """The strand whose loop asyncio takes for the running one; changed only when another runs."""

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

    def run_until(self, when_ns: int, alarms: Sequence[Sized] = (), max_steps: int = 1 << 62) -> bool:
        """Run callbacks and let time pass, until a time; False before it once an alarm holds something.

        Also False where nothing is left to happen, or after too many steps.
        """
        heap, runnable, dice, pop = self._heap, self._runnable, self.rng.random, heapq.heappop
        while self.now < when_ns:
            while heap and heap[0][0] <= self.now:
                pop(heap)[2]()
            if runnable:
                self.steps += 1
                self.now += STEP_NS
                count = len(runnable)
                index = int(dice() * count) if count > 1 else 0
                strand = runnable[index]
                if not strand.run_one():
                    strand.is_queued = False
                    runnable[index] = runnable[-1]
                    runnable.pop()
            elif heap:
                if heap[0][0] > self.now:
                    self.now = heap[0][0]
                    continue  # only time has passed
            else:
                return False
            for alarm in alarms:
                if alarm:
                    return False
            if self.steps > max_steps:
                return False
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
        self.leave()

    def leave(self) -> None:
        """Tell asyncio that no loop runs."""
        self.entered = None
        asyncio._set_running_loop(None)


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
        now = self.world.now
        return self.is_alive and self.paused_until <= now and self.hung_until <= now

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
        world = self.world
        before, entered = world.current, world.entered
        world.current = self
        world.entered = self.loop
        asyncio._set_running_loop(self.loop)
        try:
            return act()
        finally:
            world.entered = entered
            asyncio._set_running_loop(entered)
            world.current = before

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


class Handle:
    """A callback that waits for its turn: what asyncio asks of a `Handle`, and no more."""

    __slots__ = ("_args", "_callback", "_context", "_is_cancelled", "_loop", "_when")

    def __init__(
        self, callback: Callable[..., Any], args: tuple[Any, ...], loop: Strand, context: contextvars.Context | None,
        when: float = 0.0,
    ) -> None:  # fmt: skip
        self._callback, self._args, self._loop, self._context, self._when = callback, args, loop, context, when
        self._is_cancelled = False

    def cancel(self) -> None:
        """Pass it over when its turn comes."""
        self._is_cancelled = True

    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        return self._is_cancelled

    def when(self) -> float:
        """Return when a timer is due, on the loop's clock."""
        return self._when

    def fire(self) -> None:
        """Take a turn: a timer is due."""
        loop = self._loop
        if not self._is_cancelled and loop.process.is_alive:
            loop._push(self)

    def run(self) -> None:
        """Call it."""
        try:
            if self._context is None:
                self._callback(*self._args)
            else:
                self._context.run(self._callback, *self._args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as e:
            self._loop.call_exception_handler({"exception": e})


class Strand(asyncio.AbstractEventLoop):
    """The event loop of one process."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.is_queued = False
        self._ready: deque[Handle] = deque()
        self._tasks: list[asyncio.Task[Any]] = []
        self._made = 0

    @property
    def has_ready(self) -> bool:
        """Return whether a callback waits."""
        return bool(self._ready)

    def run_one(self) -> bool:
        """Run the next callback; False if there is none, or the process cannot run."""
        process, ready = self.process, self._ready
        if not ready or not process.can_run:
            return False
        handle = ready.popleft()
        if not handle._is_cancelled:
            world = process.world
            world.current = process
            if world.entered is not self:
                world.entered = self
                asyncio._set_running_loop(self)
            handle.run()
            world.current = None
        return bool(ready) and process.can_run

    def _push(self, handle: Handle) -> None:
        self._ready.append(handle)
        if not self.is_queued:
            process = self.process
            if process.can_run:
                self.is_queued = True
                process.world._runnable.append(self)

    def time(self) -> float:
        return self.process.monotonic_ns() / NS

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, self, context)
        self._push(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, self, context, when)
        process = self.process
        process.world.at(process.true_ns(int(when * NS)) + US, handle.fire)
        return handle

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
