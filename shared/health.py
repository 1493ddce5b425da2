"""Say how a process is, and beat its heart: `health_server.py` answers probes from this.

The heartbeat key `heartbeat:<service>:<instance>` expires after a few missed beats and says where metrics listen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shared.bus.ports import Bus
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.errors import OutcomeUnknown, TransientError
from shared.logs import get_logger
from shared.metrics import LOOP_STALL

Check = Callable[[], str | None]
"""Returns None when fine, else a sentence."""
HEARTBEAT_PERIOD_S = 1.0
HEARTBEAT_EXPIRY_S = 5.0


@dataclass
class Health:
    """Checks of a process, by name; `live` decides `/healthz`, `ready` decides `/readyz`.

    `facts` are shown in the heartbeat (role, epoch, lag …): plain JSON values, read at each beat.
    """

    live: dict[str, Check] = field(default_factory=dict)
    ready: dict[str, Check] = field(default_factory=dict)
    facts: Callable[[], Mapping[str, object]] = dict
    bus_trouble: str = ""
    """Why the last heartbeat was not written: nothing can be done without the bus, whatever the checks say."""

    @staticmethod
    def _failed(checks: Mapping[str, Check]) -> dict[str, str]:
        answers = {name: check() for name, check in checks.items()}
        return {name: reason for name, reason in answers.items() if reason is not None}

    def failed_live(self) -> dict[str, str]:
        """Return the failed liveness checks with their reasons."""
        return self._failed(self.live)

    def failed_ready(self) -> dict[str, str]:
        """Return the failed readiness checks with their reasons, liveness and the bus included."""
        return {**self.failed_checks(), **({"redis": self.bus_trouble} if self.bus_trouble else {})}

    def failed_checks(self) -> dict[str, str]:
        """Return the same without the bus: what a heartbeat says, which is only read where the bus is there."""
        return self._failed({**self.live, **self.ready})


async def beat(
    bus: Bus, service: str, instance: str, health: Health, *, http_port: int, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Write the heartbeat once a second for ever; a bus that is away only delays it."""
    log = get_logger()
    started_ns = clock.wall_ns()
    key = bus.keys.heartbeat(service, instance)
    while True:
        failed = health.failed_checks()
        content = {
            "service": service,
            "instance": instance,
            "pid": os.getpid(),
            "started_ns": started_ns,
            "beat_ns": clock.wall_ns(),
            "http_port": http_port,
            "ready": not failed,
            "failed": failed,
            **health.facts(),
        }
        try:
            await bus.set_text(key, json.dumps(content, default=str), expire_s=HEARTBEAT_EXPIRY_S)
            health.bus_trouble = ""
        except (TransientError, OutcomeUnknown) as e:
            if not health.bus_trouble:
                log.warning("heartbeat.missed", error=str(e))
            health.bus_trouble = str(e)
        before_ns = clock.monotonic_ns()
        await clock.sleep(HEARTBEAT_PERIOD_S)
        LOOP_STALL.set(max(0.0, (clock.monotonic_ns() - before_ns) / NS_PER_S - HEARTBEAT_PERIOD_S))
