"""What a Redis server would hold, in memory, and its consumer groups."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.bus.ports import FIRST, Claimed, Entry, LeaseView, LedgerRow, UnitRecord, entry_order
from shared.clock import NS_PER_MS, SYSTEM_CLOCK, Clock
from shared.errors import BusUnavailable, GroupMissing


@dataclass
class Pending:
    """One delivered and unacknowledged entry."""

    consumer: str
    since_ns: int


@dataclass
class MemoryGroup:
    """One consumer group: the last entry delivered, and what is pending."""

    last: str = FIRST
    pending: dict[str, Pending] = field(default_factory=dict)


@dataclass
class MemoryServer:
    """What a Redis server would hold."""

    clock: Clock = SYSTEM_CLOCK
    streams: dict[str, list[Entry]] = field(default_factory=dict)
    hashes: dict[str, dict[str, bytes]] = field(default_factory=dict)
    texts: dict[str, tuple[bytes, int | None]] = field(default_factory=dict)
    leases: dict[str, LeaseView] = field(default_factory=dict)
    fences: dict[str, int] = field(default_factory=dict)
    units: dict[str, UnitRecord] = field(default_factory=dict)
    ledgers: dict[str, dict[int, LedgerRow]] = field(default_factory=dict)
    trimmed: dict[str, str] = field(default_factory=dict)
    last_ids: dict[str, str] = field(default_factory=dict)
    groups: dict[tuple[str, str], MemoryGroup] = field(default_factory=dict)
    life: int = 1
    is_away: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _last: tuple[int, int] = (0, 0)

    def restart(self) -> None:
        """Begin another incarnation with the same data."""
        self.life += 1

    def next_id(self) -> str:
        """Return the next entry id of the server."""
        milliseconds = max(self.clock.wall_ns() // NS_PER_MS, self._last[0])
        sequence = self._last[1] + 1 if milliseconds == self._last[0] else 0
        self._last = (milliseconds, sequence)
        return f"{milliseconds}-{sequence}"

    def add(self, stream: str, fields: Mapping[str, bytes]) -> str:
        """Append an entry and wake readers."""
        entry_id = self.next_id()
        content = {name.encode(): value for name, value in fields.items()}
        self.streams.setdefault(stream, []).append(Entry(stream, entry_id, content))
        self.last_ids[stream] = entry_id
        self.changed.set()
        self.changed = asyncio.Event()
        return entry_id


class MemoryGroups:
    """The part of `MemoryBus` that reads and acknowledges in consumer groups."""

    _server: MemoryServer

    def _group(self, stream: str, group: str) -> MemoryGroup:
        if self._server.is_away:
            raise BusUnavailable("the memory bus is away")
        found = self._server.groups.get((stream, group))
        if found is None:
            raise GroupMissing(f"no group {group} on {stream}")
        return found

    def _stored(self, stream: str, entry_id: str) -> Entry:
        for entry in self._server.streams.get(stream, []):
            if entry.entry_id == entry_id:
                return entry
        return Entry(stream, entry_id, {})

    async def group_ensure(self, stream: str, group: str) -> None:
        """Create the group if missing; a new group starts at the first retained entry."""
        self._server.groups.setdefault((stream, group), MemoryGroup())

    async def group_pending(self, stream: str, group: str, consumer: str, *, after: str, count: int) -> list[Entry]:
        """Return entries delivered to this consumer and not acknowledged, after an id."""
        pending = self._group(stream, group).pending
        mine = [entry_id for entry_id, one in pending.items() if one.consumer == consumer]
        mine = sorted((one for one in mine if entry_order(one) > entry_order(after)), key=entry_order)
        return [self._stored(stream, entry_id) for entry_id in mine[:count]]

    async def group_new(
        self, stream: str, group: str, consumer: str, *, count: int, block_ms: int | None
    ) -> list[Entry]:
        """Return entries never delivered before, and note them as pending."""
        state = self._group(stream, group)
        if block_ms is not None and entry_order(self._server.last_ids.get(stream, FIRST)) <= entry_order(state.last):
            try:
                async with asyncio.timeout(block_ms / 1000):
                    await self._server.changed.wait()
            except TimeoutError:
                return []
        after = entry_order(state.last)
        new = [one for one in self._server.streams.get(stream, []) if entry_order(one.entry_id) > after][:count]
        for entry in new:
            state.last = entry.entry_id
            state.pending[entry.entry_id] = Pending(consumer, self._server.clock.monotonic_ns())
        return new

    async def group_claim(
        self, stream: str, group: str, consumer: str, *, idle_ms: int, start: str, count: int
    ) -> Claimed:
        """Take over entries that have been pending with any consumer for `idle_ms`."""
        pending = self._group(stream, group).pending
        now_ns = self._server.clock.monotonic_ns()
        ids = sorted((one for one in pending if entry_order(one) >= entry_order(start)), key=entry_order)
        idle = [one for one in ids if now_ns - pending[one].since_ns >= idle_ms * NS_PER_MS]
        entries, trimmed = [], []
        for entry_id in idle[:count]:
            entry = self._stored(stream, entry_id)
            if entry.fields:
                pending[entry_id] = Pending(consumer, now_ns)
                entries.append(entry)
            else:
                del pending[entry_id]
                trimmed.append(entry_id)
        return Claimed(tuple(entries), tuple(trimmed), idle[count] if len(idle) > count else FIRST)

    async def group_ack(self, stream: str, group: str, entry_ids: Sequence[str]) -> None:
        """Acknowledge entries."""
        for entry_id in entry_ids:
            self._group(stream, group).pending.pop(entry_id, None)
