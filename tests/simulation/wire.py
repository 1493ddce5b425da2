"""A TCP connection: bytes in order, late, and, when it is cut, lost, stuck, or delivered after the cut.

| cut | what its ends see |
|---|---|
| `reset` | both are told at once, what was on its way is gone |
| `late` | the near end is told at once; what it had written still arrives, later, and then the end |
| `half_open` | nobody is told and nothing passes; the far end finds out after a while, the near end has to notice |
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from tests.simulation.kernel import US, Process, World


class Cut(StrEnum):
    """How a connection breaks."""

    RESET = "reset"
    LATE = "late"
    HALF_OPEN = "half_open"


class End:
    """One end of a wire: what arrives there is told in the process that owns it (None: at once)."""

    def __init__(self, wire: Wire, side: int, process: Process | None) -> None:
        self._wire = wire
        self._side = side
        self.process = process
        self.on_item: Callable[[Any], None] = lambda _item: None
        self.on_closed: Callable[[], None] = lambda: None
        self.is_closed = False
        if process is not None:
            process.on_crash.append(self.close)

    def send(self, item: Any) -> None:
        """Write; an item written to a closed end is gone."""
        if not self.is_closed:
            self._wire.put(1 - self._side, item)

    def close(self) -> None:
        """Close, or leave with the process: the other end is told after what was written."""
        if not self.is_closed:
            self.is_closed = True
            self._wire.put(1 - self._side, _END)

    def abort(self) -> None:
        """Reset: what was written and has not arrived may be lost."""
        if not self.is_closed:
            self.is_closed = True
            self._wire.drop(1 - self._side)
            self._wire.put(1 - self._side, _END)

    def arrive(self, items: list[Any]) -> None:
        """Tell the owner of what came together, as one read of a socket does; the end is the last of it."""
        process = self.process
        if process is None:
            self._tell_at_once(items)
        elif process.is_alive and not self.is_closed:
            for count, item in enumerate(items, start=1):
                if item is _END:
                    self.is_closed = True
                    del items[count:]
                    break
            process.loop.call_soon(self._tell, items)

    def _tell(self, items: list[Any]) -> None:
        for item in items:
            if item is _END:
                self.on_closed()
            else:
                self.on_item(item)

    def _tell_at_once(self, items: list[Any]) -> None:
        for item in items:
            if self.is_closed:
                return
            self.is_closed = item is _END
            self._tell([item])


_END = object()


class Wire:
    """A connection between a near end (who connected) and a far one."""

    def __init__(self, world: World, near: Process | None, far: Process | None, *, usual_ns: int = 300 * US) -> None:
        self.world = world
        self.near = End(self, 0, near)
        self.far = End(self, 1, far)
        self._ends = (self.near, self.far)
        self._usual_ns = usual_ns
        self._queues: tuple[deque[tuple[int, Any]], deque[tuple[int, Any]]] = (deque(), deque())
        self._last = [0, 0]
        self._is_stuck = False
        self.extra_ns = 0

    @property
    def is_open(self) -> bool:
        """Return whether neither end knows of an end."""
        return not self.near.is_closed and not self.far.is_closed

    def put(self, side: int, item: Any) -> None:
        """Send an item to one side."""
        if self._is_stuck:
            return
        world = self.world
        delay = int(self._usual_ns * (0.5 + world.rng.random())) + self.extra_ns
        due = max(self._last[side], world.now + delay)
        self._last[side] = due
        queue = self._queues[side]
        if not queue or queue[-1][0] != due:  # else what is there already brings it along
            world.at(due, lambda: self._pump(side))
        queue.append((due, item))

    def _pump(self, side: int) -> None:
        queue, now = self._queues[side], self.world.now
        items = []
        while queue and queue[0][0] <= now:
            items.append(queue.popleft()[1])
        if items:
            self._ends[side].arrive(items)

    def drop(self, side: int) -> None:
        """Lose some of what is on its way to one side: what the far machine has taken is read, the rest is not."""
        queue = self._queues[side]
        kept = int(self.world.rng.random() * (len(queue) + 1))
        while len(queue) > kept:
            queue.pop()

    def cut(self, how: Cut) -> None:
        """Break the connection."""
        world = self.world
        if not self.is_open or self._is_stuck:
            return
        if how is Cut.RESET:
            for side in (0, 1):
                self.drop(side)
                self.put(side, _END)
            self._is_stuck = True
        elif how is Cut.LATE:
            late = world.between(0.05, 4.0)
            held = [(due + late, item) for due, item in self._queues[1]]
            self._queues[1].clear()
            self._queues[1].extend(held)
            self._last[1] = max(self._last[1], world.now) + late
            for due, _ in held:
                world.at(due, lambda: self._pump(1))
            self.put(0, _END)
            self.put(1, _END)
            self._is_stuck = True
        else:
            self._is_stuck = True
            self._queues[0].clear()
            self._queues[1].clear()
            world.after(world.between(2.0, 20.0), self._notice)

    def _notice(self) -> None:
        self._is_stuck = False
        self.put(1, _END)
        self._is_stuck = True

    def heal(self) -> None:
        """Let both ends find out about a half-open connection."""
        if self._is_stuck:
            self._is_stuck = False
            for side in (0, 1):
                self.put(side, _END)
            self._is_stuck = True
