"""Follow what is on the bus into the order book, while standing by and once more after the fence is raised."""

from __future__ import annotations

import asyncio

from services.gateway.core.book import OrderBook
from shared.bus.ports import FIRST
from shared.bus.redis_client import RedisBus
from shared.clock import SYSTEM_CLOCK
from shared.errors import BadInput
from shared.logs import get_logger
from shared.messages.codec import decode_fields
from shared.messages.orders import Commission, Fill, OrderEvent

PAGE = 500


class Follower:
    """Follows `orders` and `fills` into the book, up to wherever they were read."""

    def __init__(self, bus: RedisBus, book: OrderBook) -> None:
        self._bus = bus
        self._book = book
        self._cursors = {bus.keys.orders: FIRST, bus.keys.fills: FIRST}
        self._lock = asyncio.Lock()
        self.unreadable = 0

    async def read_to_end(self) -> None:
        """Read everything up to the streams' ends."""
        async with self._lock:
            for stream in self._cursors:
                while await self._read_page(stream) == PAGE:
                    await SYSTEM_CLOCK.sleep(0)  # a long history does not stop the rest

    async def _read_page(self, stream: str) -> int:
        entries = (await self._bus.read({stream: self._cursors[stream]}, count=PAGE)).get(stream, [])
        for entry in entries:
            self._cursors[stream] = entry.entry_id
            try:
                message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=stream).message
            except BadInput as e:
                self.unreadable += 1  # what it said is found out from the broker
                get_logger().error("entry.unreadable", stream=stream, entry_id=entry.entry_id, error=str(e))
                continue
            if isinstance(message, OrderEvent):
                self._book.restore(message)
            elif isinstance(message, Fill | Commission):
                self._book.restore_fill(message)
        return len(entries)
