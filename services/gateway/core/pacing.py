"""Spend the broker's message budget by priority; queue what exceeds it, refuse what exceeds the queue.

Cancels go first, then orders that reduce, then other orders, then subscriptions, then history. Lower lanes leave a
part of the window free, so that a burst of data requests never delays a cancel.

Limits (ib-facts A.11): 50 messages a second and session, of which a margin is kept; historical data: 60 requests in
ten minutes (BID_ASK counts twice), not the same within 15 s, at most 5 of one contract within 2 s.
All times are nanoseconds on the monotonic clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TypeVar

from shared.errors import PacingRefused

T = TypeVar("T")
SECOND_NS = 1_000_000_000


class Lane(IntEnum):
    """Priorities, most urgent first."""

    CANCEL = 0
    REDUCING = 1
    ORDER = 2
    SUBSCRIPTION = 3
    HISTORY = 4


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of a second's window each lane may fill, and how long its queue may become.

    `shares[lane]` counts messages of the last second, of all lanes: SUBSCRIPTION waits once 30 are out, while a cancel
    may still take the 45th.
    """

    window_ns: int = SECOND_NS
    shares: tuple[int, ...] = (45, 43, 40, 30, 25)
    queues: tuple[int, ...] = (1000, 500, 500, 2000, 200)


@dataclass(slots=True)
class _Waiting(Generic[T]):
    item: T
    cost: int
    lane: Lane = field(default=Lane.ORDER)


class Pacer(Generic[T]):
    """One session's budget; items are whatever the shell wants to be told to send."""

    def __init__(self, budget: Budget | None = None) -> None:
        self._budget = budget or Budget()
        self._sent: deque[int] = deque()
        self._queues: dict[Lane, deque[_Waiting[T]]] = {lane: deque() for lane in Lane}

    def submit(self, lane: Lane, item: T, *, cost: int = 1) -> None:
        """Queue an item that costs `cost` messages, to be sent together.

        Raises:
            PacingRefused: the lane's queue is full, or the item alone exceeds the lane's share.
        """
        queue = self._queues[lane]
        if len(queue) >= self._budget.queues[lane]:
            raise PacingRefused(
                "PACING_QUEUE_FULL",
                f"{len(queue)} messages wait in lane {lane.name.lower()} already: try again later",
            )
        if cost > self._budget.shares[lane]:
            raise PacingRefused("PACING_TOO_LARGE", f"{cost} messages at once exceed the {self._budget.shares[lane]}")
        queue.append(_Waiting(item, cost, lane))

    def take(self, now_ns: int) -> list[T]:
        """Return what may be sent now, most urgent first; it counts as sent."""
        self._expire(now_ns)
        ready: list[T] = []
        for lane in Lane:
            queue = self._queues[lane]
            share = self._budget.shares[lane]
            while queue and len(self._sent) + queue[0].cost <= share:
                waiting = queue.popleft()
                self._sent.extend([now_ns] * waiting.cost)
                ready.append(waiting.item)
            if queue and lane <= Lane.ORDER:
                break  # a waiting order is not overtaken by data
        return ready

    def _expire(self, now_ns: int) -> None:
        while self._sent and now_ns - self._sent[0] >= self._budget.window_ns:
            self._sent.popleft()

    def deadline_ns(self) -> int | None:
        """Return when to take again, None when nothing waits."""
        for lane in Lane:
            queue = self._queues[lane]
            if queue:
                excess = len(self._sent) + queue[0].cost - self._budget.shares[lane]
                if excess <= 0:
                    return 0
                return self._sent[excess - 1] + self._budget.window_ns
        return None

    def drain(self) -> list[T]:
        """Return everything that waits, and forget it: the session is gone, and nothing is sent late."""
        dropped = [waiting.item for queue in self._queues.values() for waiting in queue]
        for queue in self._queues.values():
            queue.clear()
        return dropped

    @property
    def waiting(self) -> int:
        """Return how many items wait."""
        return sum(len(queue) for queue in self._queues.values())


class HistoryPacer:
    """IB's finer rules for historical data.

    The broker counts when requests arrive, we when they leave: `MARGIN_NS` covers what the way adds to the first and
    not to the last of a window.
    """

    MARGIN_NS = SECOND_NS // 2
    LONG_NS = 600 * SECOND_NS + MARGIN_NS
    LONG_COUNT = 58
    SAME_NS = 15 * SECOND_NS + MARGIN_NS
    BURST_NS = 2 * SECOND_NS + MARGIN_NS
    BURST_COUNT = 5

    def __init__(self) -> None:
        self._recent: deque[tuple[int, int]] = deque()
        self._last_same: dict[str, int] = {}
        self._bursts: dict[str, deque[int]] = {}

    def ready_ns(self, identity: str, burst_key: str, *, cost: int, now_ns: int) -> int:
        """Return when this request may go out; at most `now_ns` means now.

        Args:
            identity: everything of the request: an equal one waits 15 s.
            burst_key: contract, exchange and kind: at most 5 in 2 s.
            cost: 2 for BID_ASK, else 1.
            now_ns: the time.
        """
        while self._recent and now_ns - self._recent[0][0] >= self.LONG_NS:
            self._recent.popleft()
        ready = now_ns
        spent = sum(each for _, each in self._recent)
        for when, each in self._recent:
            if spent + cost <= self.LONG_COUNT:
                break
            spent -= each
            ready = max(ready, when + self.LONG_NS)
        if identity in self._last_same:
            ready = max(ready, self._last_same[identity] + self.SAME_NS)
        burst = self._bursts.get(burst_key)
        if burst and len(burst) >= self.BURST_COUNT:
            ready = max(ready, burst[-self.BURST_COUNT] + self.BURST_NS)
        return ready

    def sent(self, identity: str, burst_key: str, *, cost: int, now_ns: int) -> None:
        """Note a request that went out."""
        self._recent.append((now_ns, cost))
        self._last_same[identity] = now_ns
        burst = self._bursts.setdefault(burst_key, deque(maxlen=self.BURST_COUNT))
        burst.append(now_ns)
        if len(self._last_same) > 1000:
            self._last_same = {key: at for key, at in self._last_same.items() if now_ns - at < self.SAME_NS}
            self._bursts = {key: at for key, at in self._bursts.items() if now_ns - at[-1] < self.BURST_NS}
