"""Take over: make the book complete before the first decision of an epoch.

Order, which must not be changed (architecture §4, fencing):
1. the fence is raised: no predecessor can write a decision or command any more;
2. the book is read to the end of every stream, from the first entry unless a warm standby's book is of this
   incarnation;
3. intents are read. Approvals still wait for the gateway's RECONCILED, by the rule RISK_NOT_READY.
"""

from __future__ import annotations

from services.risk.metrics import RESTORE_TIME
from services.risk.shell.feed import Feed
from shared.bus.ports import FIRST, Bus, LeaseToken
from shared.clock import NS_PER_S, Clock
from shared.logs import get_logger


async def restore(feed: Feed, bus: Bus, token: LeaseToken, clock: Clock, *, is_warm: bool) -> None:
    """Make the feed's book complete for the holder of `token`, whose fence stands already."""
    started_ns = clock.monotonic_ns()
    is_kept = is_warm and feed.book.incarnation == token.incarnation
    if is_kept:
        feed.book.epoch = token.epoch
    else:
        await feed.rebuild(token.incarnation, token.epoch)
    entries = await feed.catch_up()
    if await bus.gap_after(bus.keys.fills, FIRST) is not None:
        # What trimmed entries held cannot be told apart by strategy any more: the broker's total is what counts.
        feed.book.rebase(clock.wall_ns())
        get_logger().warning("book.history_trimmed", stream=bus.keys.fills)
    took_s = (clock.monotonic_ns() - started_ns) / NS_PER_S
    RESTORE_TIME.set(took_s)
    get_logger().info(
        "book.restored", entries=entries, took_s=round(took_s, 3), warm=is_kept, open_orders=feed.book.open_orders
    )
