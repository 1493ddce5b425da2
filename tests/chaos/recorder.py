"""Read every stream of the order path all the time and keep what was ever there: a Redis that loses its end takes with
it what was written, but not what was read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.bus.ports import FIRST, Bus, Entry, entry_order
from shared.errors import BadInput, CqError
from shared.messages.base import Message
from shared.messages.codec import decode_fields

PIECE = 500
BACK_MS = 30_000
"""How far a change of the server sets cursors back: an old master's entries may be newer than the new one's first."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One entry: its stream and id, who wrote it under which epoch, and what it says."""

    stream: str
    entry_id: str
    source: str
    epoch: int
    message: Message


@dataclass
class Recorder:
    """Every entry of some streams, once, in the order it was seen; `told` hears of each."""

    bus: Bus
    streams: tuple[str, ...]
    told: Callable[[Seen], None] = lambda _: None
    seen: list[Seen] = field(default_factory=list)
    unreadable: int = 0
    incarnations: list[str] = field(default_factory=list)
    _known: set[tuple[str, str, bytes]] = field(default_factory=set)

    async def run(self) -> None:
        """Read until cancelled."""
        cursors = dict.fromkeys(self.streams, FIRST)
        while True:
            try:
                await self._look_for_another_server(cursors)
                found = await self.bus.read(cursors, block_ms=200, count=500)
            except CqError:
                await asyncio.sleep(0.1)
                continue
            for stream, entries in found.items():
                for entry in entries:
                    cursors[stream] = entry.entry_id
                    self._keep(stream, entry)

    async def _look_for_another_server(self, cursors: dict[str, str]) -> None:
        incarnation = await self.bus.incarnation()
        if self.incarnations and incarnation == self.incarnations[-1]:
            return
        self.incarnations.append(incarnation)
        for stream, cursor in cursors.items():
            last = await self.bus.last_id(stream)
            earliest = min(entry_order(cursor), entry_order(last))[0] - BACK_MS
            cursors[stream] = f"{max(0, earliest)}-0"

    def _keep(self, stream: str, entry: Entry) -> None:
        key = (stream, entry.entry_id, entry.fields.get(b"body", b""))
        if key in self._known:
            return
        self._known.add(key)
        seen = read_entry(stream, entry)
        if seen is None:
            self.unreadable += 1
            return
        self.seen.append(seen)
        self.told(seen)


def read_entry(stream: str, entry: Entry) -> Seen | None:
    """Return what an entry says, None where it cannot be read."""
    try:
        envelope = decode_fields(entry.fields, entry_id=entry.entry_id, stream=stream)
    except BadInput:
        return None
    return Seen(stream, entry.entry_id, envelope.source, envelope.epoch, envelope.message)


async def read_all(bus: Bus, streams: tuple[str, ...]) -> list[Seen]:
    """Return every entry of some streams as they are now, stream by stream; in pieces, so that Redis serves others."""
    found = []
    for stream in streams:
        first = "-"
        while entries := await bus.read_range(stream, first=first, count=PIECE):
            found += [seen for entry in entries if (seen := read_entry(stream, entry)) is not None]
            at_ms, number = entry_order(entries[-1].entry_id)
            first = f"{at_ms}-{number + 1}"
    return found
