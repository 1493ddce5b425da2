"""Hold trimming back for what this worker's units have not committed, and for nothing else.

A stream that none of its units reads any more is given up at once: its registration would hold entries back for nobody,
and look like a reader that falls behind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from services.strategy.core.unit import Unit
from shared.bus.ports import Bus, entry_order
from shared.bus.retention import forget_reader, register_reader
from shared.clock import NS_PER_S, Clock

EVERY_NS = 5 * NS_PER_S


class Registration:
    """What one worker is registered for, under the name of its role."""

    def __init__(self, bus: Bus, role: str, clock: Clock) -> None:
        self._bus = bus
        self._role = role
        self._clock = clock
        self._told_ns = 0
        self._streams: frozenset[str] = frozenset()

    async def tell(self, streams: Collection[str], units: Iterable[Unit]) -> None:
        """Register how far the slowest unit is in each stream that is read; every five seconds is often enough."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._told_ns < EVERY_NS:
            return
        self._told_ns = now_ns
        slowest: dict[str, str] = {}
        for unit in units:
            for stream, cursor in unit.cursors.items():
                if stream in streams:
                    slowest[stream] = min(slowest.get(stream, cursor), cursor, key=entry_order)
        for stream in sorted(self._streams - slowest.keys()):
            await forget_reader(self._bus, stream, self._role)
        for stream, first in slowest.items():
            await register_reader(self._bus, stream, self._role, first, self._clock.wall_ns())
        self._streams = frozenset(slowest)
