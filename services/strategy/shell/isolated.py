"""Run the units of isolated strategies in processes of their own, each beside the worker that the unit belongs to.

Such a process is a worker like any other, with a lease of its own (`<worker>+<unit>`), but it takes part in no sharing:
it runs its one unit. So a unit is never with two, also when its worker dies and another worker starts a process for it:
the unit's record stays the old process's until that one's lease is gone.

The process ends in an orderly way when its worker wants it to, or is gone; what ends by itself is started again, ever
more rarely.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.clock import NS_PER_S, Clock
from shared.logs import get_logger

SEPARATOR = "+"
"""Between worker and unit in the name of such a process; no worker of the sharing has it in its name."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
CALM_S = 60.0
END_LIMIT_S = 6.0


def instance_of(worker: str, unit_id: str) -> str:
    """Return the name of a unit's own process."""
    return f"{worker}{SEPARATOR}{re.sub(r'[^A-Za-z0-9_.-]', '-', unit_id)}"


def is_isolated_instance(instance: str) -> bool:
    """Return whether a worker's name is that of a unit's own process."""
    return SEPARATOR in instance


@dataclass
class _Own:
    process: asyncio.subprocess.Process | None = None
    started_ns: int = 0
    wait_s: float = FIRST_WAIT_S
    not_before_ns: int = 0


class Isolated:
    """The processes beside one worker.

    Args:
        worker: its name.
        clock: for the waits.
        command: what starts a worker; settings are in the environment.
    """

    def __init__(self, worker: str, clock: Clock, command: tuple[str, ...] = ()) -> None:
        self._worker = worker
        self._clock = clock
        self._command = command or (sys.executable, "-m", "services.strategy")
        self._own: dict[str, _Own] = {}

    @property
    def units(self) -> list[str]:
        """Return the units that have a process, or wait for its next start."""
        return list(self._own)

    def processes(self) -> Mapping[str, int]:
        """Return unit → process id of those that run."""
        return {unit: own.process.pid for unit, own in self._own.items() if own.process is not None}

    async def ensure(self, unit_id: str) -> None:
        """Start a unit's process if it does not run and its wait is over; may be called at every turn."""
        own = self._own.setdefault(unit_id, _Own())
        now_ns = self._clock.monotonic_ns()
        if own.process is not None:
            if own.process.returncode is None:
                return
            if now_ns - own.started_ns > CALM_S * NS_PER_S:
                own.wait_s = FIRST_WAIT_S
            get_logger().warning(
                "isolated.ended", unit=unit_id, status=own.process.returncode, again_in_s=round(own.wait_s, 1)
            )
            own.process = None
            own.not_before_ns = now_ns + int(own.wait_s * NS_PER_S)
            own.wait_s = min(LONGEST_WAIT_S, 2 * own.wait_s)
        if now_ns < own.not_before_ns:
            return
        env = {**os.environ, "CQ_INSTANCE": instance_of(self._worker, unit_id), "STRATEGY_ONLY_UNIT": unit_id}
        own.process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.DEVNULL, env={**env, "CQ_HTTP_PORT": "0"}
        )
        own.started_ns = now_ns
        get_logger().info("isolated.started", unit=unit_id, pid=own.process.pid)

    async def end(self, unit_id: str) -> None:
        """End a unit's process: it commits and gives its unit up; one that does not end is killed."""
        own = self._own.pop(unit_id, None)
        if own is None or own.process is None or own.process.returncode is not None:
            return
        own.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_LIMIT_S):
                await own.process.wait()
        except TimeoutError:
            own.process.kill()
            await own.process.wait()
        get_logger().info("isolated.stopped", unit=unit_id)

    async def end_all(self) -> None:
        """End every process, all at once."""
        async with asyncio.TaskGroup() as group:
            for unit_id in self.units:
                group.create_task(self.end(unit_id))

    async def follow(self, wanted: Sequence[str]) -> None:
        """Have a process for each of these units and for no other; call it at every turn."""
        for unit_id in [one for one in self._own if one not in wanted]:
            await self.end(unit_id)
        for unit_id in wanted:
            await self.ensure(unit_id)


async def end_with_parent(clock: Clock, every_s: float = 0.2) -> None:
    """Stop this process in an orderly way once the worker that started it is gone."""
    parent = os.getppid()
    while os.getppid() == parent:
        await clock.sleep(every_s)
    get_logger().warning("isolated.orphaned", parent=parent)
    os.kill(os.getpid(), signal.SIGTERM)
    while True:
        await clock.sleep(every_s)
