"""Read as one of a consumer group: work that any of several may take, at least once, acknowledged last.

The order of taking, which must not be changed:
1. own pending entries: what this consumer was given before it crashed, was cancelled, or lost a reply;
2. entries of consumers that stopped: pending longer than `idle_ms`;
3. new entries.

Invariants:
1. An entry is acknowledged only by `ack`, which the caller calls after its effects.
2. After any failed or cancelled read, the next one begins again with own pending entries: a read whose reply was lost
   may have left entries pending that nobody saw.
3. Entries that were trimmed while pending are acknowledged and reported in `trimmed`, never handed out empty.
4. A group that is gone (a server that came back empty) is made again, from the first retained entry on.

Known limit: handling is at least once. A consumer slower than `idle_ms` on one batch shares its entries with another;
effects must be idempotent by the ids in the messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.bus.ports import FIRST, Bus, Entry
from shared.errors import GroupMissing


@dataclass(frozen=True, slots=True)
class GroupBatch:
    """Entries to handle and then `ack`, and ids that were trimmed before anyone could."""

    entries: tuple[Entry, ...] = ()
    trimmed: tuple[str, ...] = ()


class GroupReader:
    """One consumer of a group on one stream.

    Args:
        bus: where to read.
        stream: what to read.
        group: the group's name, the same for all consumers.
        consumer: this consumer's name: stable over restarts, so that it finds its own pending entries again.
        idle_ms: how long an entry may be pending with another consumer before it is taken over; longer than the
            slowest batch.
        claim_every: takes a look at others' pending entries before every so many reads of new ones.
    """

    def __init__(
        self, bus: Bus, stream: str, group: str, consumer: str, *, idle_ms: int = 30_000, claim_every: int = 20
    ) -> None:
        self.stream = stream
        self._bus = bus
        self._group = group
        self._consumer = consumer
        self._idle_ms = idle_ms
        self._claim_every = claim_every
        self._own_after: str | None = FIRST
        self._claim_start: str | None = FIRST
        self._new_reads = 0

    async def read(self, *, count: int = 100, block_ms: int | None = 200) -> GroupBatch:
        """Return the next entries to handle; waits one slice of `block_ms` at most, and may return none.

        Raises:
            BusUnavailable: the server is away; call again.
        """
        is_done = False
        try:
            batch = await self._next(count, block_ms)
            is_done = True
            return batch
        except GroupMissing:
            await self._bus.group_ensure(self.stream, self._group)
            return GroupBatch()
        finally:
            if not is_done:
                self._own_after = FIRST

    async def _next(self, count: int, block_ms: int | None) -> GroupBatch:
        if self._own_after is not None:
            batch = await self._read_own(self._own_after, count)
            if batch is not None:
                return batch
        if self._claim_start is not None:
            batch = await self._claim(self._claim_start, count)
            if batch.entries or batch.trimmed:
                return batch
        self._new_reads += 1
        if self._new_reads % self._claim_every == 0:
            self._claim_start = FIRST
        new = await self._bus.group_new(self.stream, self._group, self._consumer, count=count, block_ms=block_ms)
        return GroupBatch(tuple(new))

    async def _read_own(self, after: str, count: int) -> GroupBatch | None:
        found = await self._bus.group_pending(self.stream, self._group, self._consumer, after=after, count=count)
        if not found:
            self._own_after = None
            return None
        trimmed = tuple(entry.entry_id for entry in found if not entry.fields)
        await self._bus.group_ack(self.stream, self._group, trimmed)
        self._own_after = found[-1].entry_id
        return GroupBatch(tuple(entry for entry in found if entry.fields), trimmed)

    async def _claim(self, start: str, count: int) -> GroupBatch:
        claimed = await self._bus.group_claim(
            self.stream, self._group, self._consumer, idle_ms=self._idle_ms, start=start, count=count
        )
        self._claim_start = None if claimed.next_start == FIRST else claimed.next_start
        return GroupBatch(claimed.entries, claimed.trimmed)

    async def ack(self, entries: Sequence[Entry]) -> None:
        """Acknowledge entries whose effects are done.

        Raises:
            BusUnavailable: not known to be acknowledged; they come back as own pending entries.
        """
        is_done = False
        try:
            await self._bus.group_ack(self.stream, self._group, [entry.entry_id for entry in entries])
            is_done = True
        finally:
            if not is_done:
                self._own_after = FIRST
