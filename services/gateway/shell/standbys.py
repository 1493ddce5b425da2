"""Know how the other gateways do: each says its name in one hash, and its heartbeat says how it does.

A hand-over asks this while nothing may be sent: it must not search the whole server for heartbeats, which takes as many
round trips as the server has thousands of keys. Who is of an older release, or has a Redis user of before, is not on
the list: only then the heartbeats are searched for. What the list shows, the leader says on `broker-status`, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from services.gateway.core.standbys import Heartbeats, StandbyNews
from services.gateway.shell.outbox import Outbox
from shared.bus.ports import Bus
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.errors import OutcomeUnknown, Refused, TransientError
from shared.logs import get_logger
from shared.messages.control import LinkState

ANNOUNCE_S = 5.0
"""How often a name is written again: the list survives no loss of Redis, and the leader strikes off who is silent."""
LOOK_S = 2.0
"""How often the leader looks how the others do."""


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
            listed = await self._look()
            if listed:
                return any(self._is_ready(facts) for facts in listed.values() if facts is not None)
            found = [await self._bus.get_text(key) for key in await self._bus.scan(keys.heartbeat("gateway", "*"))]
            return any(self._is_ready(json.loads(text)) for text in found if text is not None)
        except (TransientError, OutcomeUnknown, ValueError):
            return False

    async def _look(self, followed: Sequence[str] = ()) -> Heartbeats:
        """Return the heartbeats of the others on the list, and of those `followed`; who has none is struck off."""
        keys = self._bus.keys
        found: dict[str, dict[str, Any] | None] = {}
        listed = await self._bus.hash_get_all(keys.gateways)
        for name in dict.fromkeys([*listed, *followed]):
            if name == self._instance:
                continue
            text = await self._bus.get_text(keys.heartbeat("gateway", name))
            found[name] = None if text is None else dict(json.loads(text))
            if text is None and name in listed:  # one that is not gone says its name again
                await self._bus.hash_delete(keys.gateways, [name])
        return found

    def _is_ready(self, facts: Mapping[str, Any]) -> bool:
        is_other = facts.get("instance") != self._instance
        return is_other and facts.get("role") == "standby" and facts.get("data_link") == str(LinkState.READY)

    async def tell(self, outbox: Outbox, epoch: int) -> None:
        """Say on `broker-status` how the others do, until cancelled; a bus that is away only delays it.

        The leader is on the list, too: its successor misses it then.
        """
        news = StandbyNews(epoch)
        while True:
            await self._clock.sleep(LOOK_S)  # first the leader says how it does itself
            try:
                await self.announce()
                found = await self._look([name for name, is_there in news.followed.items() if is_there])
            except (TransientError, OutcomeUnknown, ValueError):
                continue
            for status in news.changes(found, self._clock.wall_ns()):
                outbox.put(self._bus.keys.broker_status, status)
