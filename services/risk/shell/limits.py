"""Change limits at run time: through `control` only, audited, never above the ceiling, and not lost by a restart.

Invariants:
1. Every process, leader or standby, takes a change in the stream's order; one that has mistakes or is above the ceiling
   changes nothing anywhere.
2. The leader writes what is in force to the `limits` hash, and the answer to the last change: applied, or refused and
   why.
3. A start takes the file, unless a change was applied since the file was last edited: then the change, which stands in
   the hash with the digest of the file it replaced. Whoever edits the file and restarts gets the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from services.risk.core.ceiling import above_ceiling, differences
from services.risk.core.limits import Limits
from services.risk.core.limits_file import parse_limits
from services.risk.core.profiles import staged
from shared.bus.ports import Bus
from shared.clock import NS_PER_S, Clock, iso_utc
from shared.errors import BadInput, ConfigError, OutcomeUnknown, TransientError
from shared.logs import get_logger
from shared.messages import decode_fields
from shared.messages.control import Control, ControlAction

BLOCK_MS = 500
RETRY_S = 0.5


class LimitsKeeper:
    """Keeps the limits in force.

    Args:
        in_force: those of the file.
        file_text: the file's content, "" where there is none.
        environment: the guide's variables, which win over any file.
        ceiling: what no change may exceed.
        has_lease: only the leader answers.
    """

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        in_force: Limits,
        *,
        file_text: str,
        environment: Mapping[str, str],
        ceiling: Mapping[str, object],
        has_lease: Callable[[], bool],
        use: Callable[[Limits], None],
    ) -> None:
        self.in_force = in_force
        self._bus = bus
        self._clock = clock
        self._text = file_text
        self._digest = hashlib.sha256(file_text.encode()).hexdigest()
        self._environment = environment
        self._ceiling = ceiling
        self._has_lease = has_lease
        self._use = use
        self._cursor = ""
        self._is_stored = False
        self._told: dict[str, str] = {"source": "file"}

    async def run(self) -> None:
        """Take changes for ever; a bus that is away only delays them."""
        while True:
            try:
                if not self._cursor:
                    await self.start()
                await self.step(block_ms=BLOCK_MS)
            except (TransientError, OutcomeUnknown):
                await self._clock.sleep(RETRY_S)

    async def start(self) -> None:
        """Begin with the stream's present end, and with a change that is newer than the file."""
        cursor = await self._bus.last_id(self._bus.keys.control)
        stored = {name: value.decode() for name, value in (await self._bus.hash_get_all(self._bus.keys.limits)).items()}
        if stored.get("source") == "control" and stored.get("file_digest") == self._digest:
            limits, mistakes = self._read(stored.get("text", ""))
            if limits is not None and not mistakes:
                self._take(limits, stored["text"], {name: stored.get(name, "") for name in ("source", "who", "reason")})
                get_logger().info("limits.kept", who=stored.get("who", ""), profile=limits.profile)
        self._cursor = cursor

    async def step(self, *, block_ms: int | None) -> None:
        """Take the changes that are there, and see that the hash shows what is in force."""
        stream = self._bus.keys.control
        found = await self._bus.read({stream: self._cursor}, count=100, block_ms=block_ms)
        for entry in found.get(stream, []):
            try:
                message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
            except BadInput:
                message = None  # the feed dead-letters it and stops entries
            if isinstance(message, Control) and message.action is ControlAction.LIMITS:
                await self._change(message)
            self._cursor = entry.entry_id
        if not self._has_lease():
            self._is_stored = False
        elif not self._is_stored:
            await self._store({})
            self._is_stored = True

    async def _change(self, control: Control) -> None:
        limits, mistakes = self._read(control.text)
        if limits is not None and limits.base.trading_day != self.in_force.base.trading_day:
            mistakes.append("trading_day changes with a restart only: the day's counts belong to it")
        changes = [] if limits is None else differences(self.in_force, limits)
        if mistakes or limits is None:
            get_logger().warning("limits.refused", who=control.who, reason=control.reason, mistakes=mistakes)
        else:
            self._take(limits, control.text, {"source": "control", "who": control.who, "reason": control.reason})
            get_logger().warning("limits.changed", who=control.who, reason=control.reason, changes=changes)
        if self._has_lease():
            answer = {"control_id": control.control_id, "answer": "refused" if mistakes else "applied"}
            await self._store({**answer, "mistakes": "\n".join(mistakes), "changes": "\n".join(changes)})

    def _read(self, text: str) -> tuple[Limits | None, list[str]]:
        try:
            limits = parse_limits(text, source="limits", environment=self._environment)
        except ConfigError as e:
            return None, list(e.mistakes)
        return staged(limits, self.in_force.stage), above_ceiling(limits, self._ceiling)

    def _take(self, limits: Limits, text: str, told: dict[str, str]) -> None:
        self.in_force = limits
        self._text = text
        self._told = told
        self._use(limits)

    async def _store(self, answer: Mapping[str, str]) -> None:
        now_ns = self._clock.wall_ns()
        fields = {
            "text": self._text,
            "profile": self.in_force.profile,
            "file_digest": self._digest,
            "ts": iso_utc(now_ns // NS_PER_S * NS_PER_S),
            **{name: self._told.get(name, "") for name in ("source", "who", "reason")},
            **answer,
        }
        await self._bus.hash_set(self._bus.keys.limits, fields)
