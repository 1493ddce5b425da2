"""Take over: make the book complete before the first decision of an epoch.

Order, which must not be changed (architecture §4, fencing):
1. the fence is raised: no predecessor can write a decision or command any more;
2. the book is read to the end of every stream, from the snapshot's cursors (`snapshots.py`) or the first entry, unless
   a warm standby's book is of this incarnation;
3. what retention trimmed before anybody read it is made up from the hashes that the gateway keeps beside its streams:
   open orders, positions, account values;
4. intents are read. Approvals still wait for the gateway's RECONCILED, by the rule RISK_NOT_READY.
"""

from __future__ import annotations

from services.risk.core.exposure import Book
from services.risk.metrics import RESTORE_TIME
from services.risk.shell.feed import Feed
from shared.bus.ports import Bus, LeaseToken, entry_order
from shared.clock import NS_PER_MS, NS_PER_S, Clock
from shared.errors import BadInput
from shared.logs import get_logger
from shared.messages.account import AccountSnapshot, AccountTag, PositionReport, PositionsComplete
from shared.messages.base import Message
from shared.messages.codec import decode_body
from shared.messages.orders import OrderEvent


async def restore(feed: Feed, bus: Bus, token: LeaseToken, clock: Clock, *, is_warm: bool) -> None:
    """Make the feed's book complete for the holder of `token`, whose fence stands already."""
    started_ns = clock.monotonic_ns()
    is_kept = is_warm and feed.book.incarnation == token.incarnation
    if is_kept:
        feed.book.epoch = token.epoch
    else:
        await feed.rebuild(token.incarnation, token.epoch)
    await feed.note_gaps()
    entries = await feed.catch_up()
    await _make_up(feed, bus, clock.wall_ns())
    took_s = (clock.monotonic_ns() - started_ns) / NS_PER_S
    RESTORE_TIME.set(took_s)
    get_logger().info(
        "book.restored", entries=entries, took_s=round(took_s, 3), warm=is_kept, open_orders=feed.book.open_orders
    )


async def _make_up(feed: Feed, bus: Bus, now_ns: int) -> None:
    """Add what the book could not read because it had been trimmed: see the module."""
    keys, book, gaps = bus.keys, feed.book, feed.gaps
    if keys.orders in gaps:
        await _take_open_orders(book, bus, now_ns)
    if keys.account in gaps:
        await _take_account(book, bus, now_ns)
    if keys.fills in gaps:
        # What trimmed entries held cannot be told apart by strategy any more: the broker's total is what counts.
        book.rebase(now_ns)
        get_logger().warning("book.history_trimmed", stream=keys.fills)
    gaps.clear()


async def _take_open_orders(book: Book, bus: Bus, now_ns: int) -> None:
    keys, found = bus.keys, 0
    for order_ref, body in (await bus.hash_get_all(keys.open_orders)).items():
        event = _decoded(OrderEvent.TYPE, body, order_ref)
        if not isinstance(event, OrderEvent):
            book.readiness.unsafe = f"open order {order_ref}"  # it could work: entries wait for the gateway (P10)
        elif book.apply_open(event, now_ns):
            found += 1
    oldest = await bus.read_range(keys.orders, count=1)
    kept_since_ns = entry_order(oldest[0].entry_id)[0] * NS_PER_MS if oldest else now_ns
    forgotten = book.forget_unseen(kept_since_ns)
    get_logger().warning("book.orders_trimmed", stream=keys.orders, found=found, forgotten=len(forgotten))


async def _take_account(book: Book, bus: Bus, now_ns: int) -> None:
    keys = bus.keys
    con_ids: list[int] = []
    for name, body in (await bus.hash_get_all(keys.positions)).items():
        report = _decoded(PositionReport.TYPE, body, name)
        if not isinstance(report, PositionReport):
            continue
        con_ids.append(report.con_id)
        if book.contract(report.con_id).broker is None:
            book.apply(report, now_ns)
    if con_ids:
        book.apply(PositionsComplete(account=book.account, con_ids=tuple(con_ids)), now_ns)
    if book.buying_power is None:
        tags = await bus.hash_get_all(keys.account_values)
        values = [(*name.partition(":"), value.decode(errors="replace")) for name, value in tags.items()]
        told = tuple(AccountTag(tag=tag, value=value, currency=currency) for tag, _, currency, value in values)
        base = next((one.currency for one in told if one.tag == "BuyingPower" and one.currency), "")
        book.apply(AccountSnapshot(account=book.account, currency=base, values=told), now_ns)
    get_logger().warning("book.account_trimmed", stream=keys.account, positions=len(con_ids))


def _decoded(type_name: str, body: bytes, name: str) -> Message | None:
    try:
        return decode_body(type_name, body)
    except BadInput as e:
        get_logger().error("entry.unreadable", stream=type_name, entry_id=name, error=str(e))
        return None
