"""Store risk's book with the cursors it is true for, and read it again: a restart needs the streams' tail only.

The snapshot is one string on the order-flow Redis, so it belongs to the same data as the streams: a server that comes
back with older data comes back with an older snapshot. A snapshot whose cursors are ahead of the streams, which another
release wrote or which cannot be read is left alone, and the book is read from the streams' first entry.

Only a leader that decides writes, and only while the stream has shown every approval that its book holds: an approval
that was never written would work for ever after. It needs no fence: an old snapshot of a former leader is as true as a
new one, with more to read after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgpack

from services.risk.core.exposure import Book
from services.risk.core.snapshot import load_snapshot, snapshot_of
from shared.bus.ports import Bus, entry_order
from shared.clock import NS_PER_S, Clock
from shared.errors import OutcomeUnknown, Refused, TransientError
from shared.logs import get_logger

if TYPE_CHECKING:
    from services.risk.shell.feed import Feed

PERIOD_S = 300.0
"""A book of 40,000 ended orders takes some 50 ms to pack (5 MB), in which nothing else is decided: rarely, then."""
RETRY_S = 0.25
UNWRITTEN_MAX_NS = 30 * NS_PER_S
"""An approval that the stream did not show for this long counts as working, in the snapshot too."""


async def load_book(bus: Bus, book: Book) -> dict[str, str]:
    """Fill an empty book from the snapshot; return the cursors to read on from, none when there is none to use."""
    packed = await bus.get_text(bus.keys.risk_book)
    if packed is None:
        return {}
    filled = Book(book.account)
    try:
        data = msgpack.unpackb(packed, strict_map_key=False)
        cursors = {str(stream): str(cursor) for stream, cursor in data["cursors"].items()}
        load_snapshot(filled, data)
        for stream, cursor in cursors.items():
            if entry_order(cursor) > entry_order(await bus.last_id(stream)):
                raise ValueError(f"the cursor of {stream} is ahead of the stream")
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, msgpack.UnpackException) as e:
        get_logger().warning("snapshot.refused", error=f"{type(e).__name__}: {e}")
        return {}
    load_snapshot(book, data)
    get_logger().info("snapshot.loaded", orders=book.open_orders, contracts=len(book.contracts), ended=len(book.ended))
    return cursors


class Snapshots:
    """Writes the snapshot every five minutes, and once more at the end.

    Args:
        is_deciding: whether this process leads and its book is complete.
    """

    def __init__(self, bus: Bus, clock: Clock, feed: Feed, *, is_deciding: Callable[[], bool]) -> None:
        self._bus = bus
        self._clock = clock
        self._feed = feed
        self._is_deciding = is_deciding
        self._written: dict[str, str] = {}

    async def run(self) -> None:
        """Write for ever; a bus that is away only delays it."""
        while True:
            await self._clock.sleep(PERIOD_S)
            while not await self.write():
                await self._clock.sleep(RETRY_S)

    async def write(self) -> bool:
        """Write the book as it stands; return False if it cannot be written now and should be tried again soon."""
        feed, keys = self._feed, self._bus.keys
        if not self._is_deciding() or feed.cursors == self._written:
            return True
        now_ns = self._clock.wall_ns()
        if any(now_ns - since_ns < UNWRITTEN_MAX_NS for since_ns in feed.book.unwritten.values()):
            return False
        cursors = dict(feed.cursors)
        packed = msgpack.packb({**snapshot_of(feed.book), "cursors": cursors, "made_ns": now_ns})
        try:
            await self._bus.set_text(keys.risk_book, packed)
        except (TransientError, OutcomeUnknown):
            return False
        except Refused as e:
            # A Redis user of an older release: said each time, since a restart reads the whole streams meanwhile.
            get_logger().error("snapshot.not_allowed", error=str(e))
            return True
        self._written = cursors
        return True
