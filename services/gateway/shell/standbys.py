"""Know whether another gateway stands by: each says its name in one hash, and its heartbeat says how it does.

A hand-over asks this while nothing may be sent: it must not search the whole server for heartbeats, which takes as many
round trips as the server has thousands of keys. Who is of an older release, or has a Redis user of before, is not on
the list: only then the heartbeats are searched for.
"""

from __future__ import annotations

import json
from typing import Any

from shared.bus.ports import Bus
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.errors import OutcomeUnknown, Refused, TransientError
from shared.logs import get_logger
from shared.messages.control import LinkState

ANNOUNCE_S = 5.0
"""How often a name is written again: the list survives no loss of Redis, and the leader strikes off who is silent."""


class Standbys:
    """The gateways beside this one."""

    def __init__(self, bus: Bus, instance: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._bus = bus
        self._instance = instance
        self._clock = clock
        self._due_ns = 0

    async def announce(self) -> None:
        """Put this gateway on the list, now and then; call it as often as you like."""
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._due_ns:
            return
        try:
            await self._bus.hash_set(self._bus.keys.gateways, {self._instance: str(self._clock.wall_ns())})
        except Refused as e:
            get_logger().warning("standby.not_announced", error=str(e))  # a Redis user of before this list
        self._due_ns = now_ns + int(ANNOUNCE_S * NS_PER_S)

    async def is_one_ready(self) -> bool:
        """Return whether another gateway stands by with a session that is up."""
        keys = self._bus.keys
        try:
            listed = [name for name in await self._bus.hash_get_all(keys.gateways) if name != self._instance]
            for name in listed:
                text = await self._bus.get_text(keys.heartbeat("gateway", name))
                if text is None:  # it is gone; one that is not says its name again
                    await self._bus.hash_delete(keys.gateways, [name])
                elif self._is_ready(text):
                    return True
            if listed:
                return False
            found = [await self._bus.get_text(key) for key in await self._bus.scan(keys.heartbeat("gateway", "*"))]
            return any(self._is_ready(text) for text in found if text is not None)
        except (TransientError, OutcomeUnknown, ValueError):
            return False

    def _is_ready(self, heartbeat: bytes) -> bool:
        facts: dict[str, Any] = json.loads(heartbeat)
        is_other = facts.get("instance") != self._instance
        return is_other and facts.get("role") == "standby" and facts.get("data_link") == str(LinkState.READY)
