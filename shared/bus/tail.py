"""Follow streams with cursors of one's own: every entry in order, resumed where it stopped, gaps said aloud.

Invariants:
1. An entry is handed out once per reader unless the server lost its newest entries: then what is written again is read
   again, and consumers are idempotent by the ids in the messages.
2. A cursor ahead of the server's last entry (a failover to older data) would read nothing, silently: after every
   change of incarnation each cursor is compared with the last entry and set back.
3. Entries trimmed before they were read are reported as a `GapEvent`, before the entry that follows the gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.bus.ports import FIRST, Bus, Entry, entry_order
from shared.errors import BusUnavailable
from shared.messages.control import GapEvent

GAP_CHECK_EVERY = 64
"""Reads between two looks for a gap: a reader that keeps up cannot have one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read brought: entries by stream, gaps found before them, and whether the server is another
    incarnation.
    """

    entries: Mapping[str, list[Entry]]
    gaps: tuple[GapEvent, ...] = ()
    is_new_incarnation: bool = False


class TailReader:
    """Reads several streams from its own cursors.

    Args:
        bus: where to read.
        cursors: stream → last entry taken; `FIRST` reads what is retained.
    """

    def __init__(self, bus: Bus, cursors: Mapping[str, str]) -> None:
        self._bus = bus
        self.cursors = dict(cursors)
        self._incarnation = ""
        self._reads = 0
        self._needs_check = True

    def add(self, stream: str, cursor: str = FIRST) -> None:
        """Follow another stream."""
        self.cursors.setdefault(stream, cursor)
        self._needs_check = True

    def drop(self, stream: str) -> None:
        """Stop following a stream."""
        self.cursors.pop(stream, None)

    async def read(self, *, count: int = 500, block_ms: int | None = 200) -> Batch:
        """Return what came since; waits one slice of `block_ms` at most.

        Raises:
            BusUnavailable: the server is away; call again, the cursors are kept.
        """
        is_new = False
        gaps: list[GapEvent] = []
        self._reads += 1
        if self._needs_check or self._reads % GAP_CHECK_EVERY == 0:
            is_new = await self._check_incarnation()
            gaps = await self._find_gaps()
            self._needs_check = False
        try:
            found = await self._bus.read(self.cursors, count=count, block_ms=block_ms)
        except BusUnavailable:
            self._needs_check = True
            raise
        for stream, entries in found.items():
            if entries:
                self.cursors[stream] = entries[-1].entry_id
        return Batch(found, tuple(gaps), is_new)

    async def _check_incarnation(self) -> bool:
        incarnation = await self._bus.incarnation()
        if incarnation == self._incarnation:
            return False
        is_first = not self._incarnation
        self._incarnation = incarnation
        for stream, cursor in self.cursors.items():
            last = await self._bus.last_id(stream)
            if entry_order(cursor) > entry_order(last):
                self.cursors[stream] = last
        return not is_first

    async def _find_gaps(self) -> list[GapEvent]:
        gaps = []
        for stream, cursor in self.cursors.items():
            if cursor == FIRST:
                continue  # a reader that starts has nothing to miss
            gap = await self._bus.gap_after(stream, cursor)
            if gap is not None:
                gaps.append(gap)
        return gaps
