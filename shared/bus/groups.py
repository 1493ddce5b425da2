"""Consumer groups on Redis: the raw commands behind `shared.bus.consumer.GroupReader`."""

from __future__ import annotations

from collections.abc import Sequence

from shared.bus.ports import FIRST, Claimed, Entry
from shared.bus.redis_link import REPLY_LIMIT_S, RedisLink
from shared.bus.replies import as_text, entries_of


class GroupCommands:
    """The part of `RedisBus` that reads and acknowledges in consumer groups."""

    def _link_of(self, stream: str) -> RedisLink:
        raise NotImplementedError  # the bus knows which server holds a stream

    async def group_ensure(self, stream: str, group: str) -> None:
        """Create the group (and the stream) if missing; a new group starts at the first retained entry."""
        link = self._link_of(stream)
        if await link.call("EXISTS", stream, writes=False):
            rows = await link.call("XINFO", "GROUPS", stream, writes=False)
            if any(as_text(row[1]) == group for row in rows):
                return
        await link.call("XGROUP", "CREATE", stream, group, FIRST, "MKSTREAM", ignore="BUSYGROUP")

    async def group_pending(self, stream: str, group: str, consumer: str, *, after: str, count: int) -> list[Entry]:
        """Return entries delivered to this consumer and not acknowledged, after an id."""
        read = ("XREADGROUP", "GROUP", group, consumer, "COUNT", count, "STREAMS", stream, after)
        reply = await self._link_of(stream).call(*read, writes=False)
        return entries_of(stream, reply[0][1]) if reply else []

    async def group_new(
        self, stream: str, group: str, consumer: str, *, count: int, block_ms: int | None
    ) -> list[Entry]:
        """Return entries never delivered before, and note them as pending."""
        block = () if block_ms is None else ("BLOCK", max(1, block_ms))
        read = ("XREADGROUP", "GROUP", group, consumer, "COUNT", count, *block, "STREAMS", stream, ">")
        # A lost reply leaves entries pending that nobody saw, which the reader's next look at its own pending finds:
        # so this is "away", never an unknown outcome.
        limit_s = REPLY_LIMIT_S + (block_ms or 0) / 1000
        reply = await self._link_of(stream).call(*read, limit_s=limit_s, writes=False, blocks=block_ms is not None)
        return entries_of(stream, reply[0][1]) if reply else []

    async def group_claim(
        self, stream: str, group: str, consumer: str, *, idle_ms: int, start: str, count: int
    ) -> Claimed:
        """Take over entries that have been pending with any consumer for `idle_ms`."""
        claim = ("XAUTOCLAIM", stream, group, consumer, idle_ms, start, "COUNT", count)
        reply = await self._link_of(stream).call(*claim, writes=False)
        entries = tuple(entry for entry in entries_of(stream, reply[1]) if entry.fields)
        return Claimed(entries, tuple(as_text(entry_id) for entry_id in reply[2]), as_text(reply[0]))

    async def group_ack(self, stream: str, group: str, entry_ids: Sequence[str]) -> None:
        """Acknowledge entries. Repeating it is harmless, so a lost reply is only "away"."""
        if entry_ids:
            await self._link_of(stream).call("XACK", stream, group, *entry_ids, writes=False)
