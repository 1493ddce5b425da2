"""Publish what the leader has to say, in order, fenced; repeat until it is on the bus or we lead no more.

Order events and snapshots go in the order they were made; executions through their index, so that a repeat is none.
A repeated order event (its first reply was lost) says the same again: readers take the last word per order.

Invariants:
1. Nothing is written without the lease, asked right before; a Fenced reply ends the leadership.
2. At most `limit` items wait; above it the leadership is given up, for a Redis that slow cannot carry orders.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from services.gateway import metrics
from services.gateway.core.book import OrderBook
from shared.bus.ports import Bus, LeaseToken
from shared.clock import SYSTEM_CLOCK, Clock
from shared.errors import Fenced, OutcomeUnknown, TransientError
from shared.logs import get_logger
from shared.messages.base import Message
from shared.messages.codec import encode_body
from shared.messages.orders import Commission, Fill, OrderEvent

BATCH = 500
RETRY_S = 0.05


@dataclass(frozen=True, slots=True)
class _Set:
    key: str
    values: Mapping[str, bytes | str]


@dataclass(frozen=True, slots=True)
class _Delete:
    key: str
    fields: Sequence[str]


_Item = tuple[str, Message] | Fill | Commission | _Set | _Delete


class Outbox:
    """The leader's queue to the bus; empty and closed while standing by."""

    def __init__(self, bus: Bus, source: str, *, clock: Clock = SYSTEM_CLOCK, limit: int = 200_000) -> None:
        self._bus = bus
        self._source = source
        self._clock = clock
        self._limit = limit
        self._items: deque[_Item] = deque()
        self._more = asyncio.Event()
        self._done = 0
        self._progress = asyncio.Event()
        self._is_open = False
        self._has_overflowed = False

    @property
    def waiting(self) -> int:
        """Return how many items wait."""
        return len(self._items)

    def open(self) -> None:
        """Begin to take items: the fence stands."""
        self._items.clear()
        self._done = 0
        self._has_overflowed = False
        self._is_open = True

    def close(self) -> None:
        """Drop what waits: a successor finds it out from the broker."""
        self._is_open = False
        self._items.clear()
        self._progress.set()

    def _put(self, item: _Item) -> None:
        if not self._is_open:
            return
        if len(self._items) >= self._limit:
            self._has_overflowed = True
            self._more.set()
            return
        self._items.append(item)
        self._more.set()

    def put(self, stream: str, message: Message) -> None:
        """Queue one message for a stream."""
        self._put((stream, message))

    def put_orders(self, events: Sequence[OrderEvent]) -> None:
        """Queue order events, and keep the `open-orders` hash along with them."""
        keys = self._bus.keys
        for event in events:
            self._put((keys.orders, event))
            metrics.ORDER_EVENTS.labels(str(event.state)).inc()
            key = event.order_ref or str(event.perm_id)
            if event.state.is_final:
                self._put(_Delete(keys.open_orders, [key]))
            else:
                self._put(_Set(keys.open_orders, {key: encode_body(event)}))

    def put_fill(self, fill: Fill | Commission) -> None:
        """Queue an execution or a commission."""
        self._put(fill)

    def put_hash(self, key: str, values: Mapping[str, bytes | str]) -> None:
        """Queue a snapshot."""
        if values:
            self._put(_Set(key, values))

    def delete_fields(self, key: str, fields: Sequence[str]) -> None:
        """Queue the deletion of snapshot fields."""
        if fields:
            self._put(_Delete(key, fields))

    async def flushed(self) -> None:
        """Wait until everything queued so far is on the bus; returns at once when closed."""
        mark = self._done + len(self._items)
        while self._is_open and self._done < mark:
            self._progress.clear()
            await self._progress.wait()

    async def run(self, token: LeaseToken, has_lease: Callable[[], bool]) -> None:
        """Publish until cancelled.

        Raises:
            Fenced: we lead no more.
        """
        while True:
            if not self._items:
                self._more.clear()
                await self._more.wait()
            if self._has_overflowed:
                raise Fenced(f"more than {self._limit} entries wait for Redis: the leadership is given up")
            if not has_lease():
                raise Fenced("the lease ran out")
            taken = self._take()
            if taken:
                await self._publish(token, taken, has_lease)

    def _take(self) -> list[_Item]:
        """Return what goes out in one turn, oldest first, without removing it."""
        return list(islice(self._items, BATCH))

    async def _publish(self, token: LeaseToken, batch: list[_Item], has_lease: Callable[[], bool]) -> None:
        while True:
            try:
                await self._send(token, batch)
            except (TransientError, OutcomeUnknown) as e:
                if not has_lease():
                    raise Fenced("the lease ran out while Redis was away") from e
                get_logger().warning("publish.retried", items=len(batch), error=str(e))
                await self._clock.sleep(RETRY_S)
                continue
            for _ in range(min(len(batch), len(self._items))):
                self._items.popleft()
            self._done += len(batch)
            self._progress.set()
            return

    async def _send(self, token: LeaseToken, batch: list[_Item]) -> None:
        """Write executions first, then the other streams, then the snapshots that follow from them."""
        fills = [item for item in batch if isinstance(item, Fill | Commission)]
        if fills:
            await self._send_fills(token, fills)
        entries = [item for item in batch if isinstance(item, tuple)]
        if entries:
            await self._bus.publish(token, entries, source=self._source)
        for key, values in _merged(batch).items():
            kept = {name: value for name, value in values.items() if value is not None}
            if kept:
                await self._bus.hash_set(key, kept)
            if len(kept) < len(values):
                await self._bus.hash_delete(key, [name for name, value in values.items() if value is None])

    async def _send_fills(self, token: LeaseToken, fills: list[Fill | Commission]) -> None:
        new = await self._bus.publish_fills(token, fills, source=self._source)
        for fill, is_new in zip(fills, new, strict=True):
            if not is_new or not isinstance(fill, Fill):
                continue
            metrics.FILLS.labels("late" if fill.is_late else "live").inc()
            get_logger().info(
                "fill.published", exec_id=fill.exec_id, order_ref=fill.order_ref, perm_id=fill.perm_id,
                side=str(fill.side), quantity=str(fill.quantity), price=str(fill.price), is_late=fill.is_late,
            )  # fmt: skip


def _merged(batch: Sequence[_Item]) -> dict[str, dict[str, bytes | str | None]]:
    """Return the last word per snapshot field; None deletes it."""
    merged: dict[str, dict[str, bytes | str | None]] = {}
    for item in batch:
        if isinstance(item, _Set):
            merged.setdefault(item.key, {}).update(item.values)
        elif isinstance(item, _Delete):
            merged.setdefault(item.key, {}).update(dict.fromkeys(item.fields))
    return merged


async def tidy_open_orders(bus: Bus, outbox: Outbox, book: OrderBook, now_ns: int) -> None:
    """Make the `open-orders` hash what the book says: a predecessor may have died between stream and hash."""
    stored = await bus.hash_get_all(bus.keys.open_orders)
    current = {track.key: encode_body(track.event(now_ns)) for track in book.open_tracks()}
    outbox.delete_fields(bus.keys.open_orders, [name for name in stored if name not in current])
    outbox.put_hash(bus.keys.open_orders, current)
