"""Read the strategies file again when an operator asks: in a thread, so that the units of this worker go on meanwhile.

What is read takes effect in the worker's next turn: units that are gone or changed are given up after a last commit,
and begin anew from their saved state; the others are not touched. A file that cannot be read changes nothing.

Known limit: of what a strategy imports only its own file is read again; for other modules restart the workers.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from services.strategy.shell.loader import Loaded, load_strategies
from services.strategy.shell.membership import Membership
from shared.clock import Clock
from shared.errors import ConfigError
from shared.logs import get_logger

POLL_S = 0.1


class Reloading:
    """Watches for the operator's wish and holds what was read until the worker takes it."""

    def __init__(self, path: Path, membership: Membership, clock: Clock) -> None:
        self._path = path
        self._membership = membership
        self._clock = clock
        self._done: str | None = None
        self._fresh: Loaded | None = None

    def take(self) -> Loaded | None:
        """Return what was read since the last time, once."""
        fresh, self._fresh = self._fresh, None
        return fresh

    async def run(self) -> None:
        """Read when asked, for ever; a wish from before this worker began is fulfilled already."""
        while True:
            await self.step()
            await self._clock.sleep(POLL_S)

    async def step(self) -> None:
        """Read the file if a new wish was seen."""
        wish = self._membership.reload_wish
        if wish is None or wish == self._done:
            return
        is_first = self._done is None
        self._done = wish
        if is_first:
            return
        try:
            self._fresh = await asyncio.to_thread(load_strategies, self._path, fresh=True)
        except ConfigError as e:
            get_logger().error("strategies.not_reloaded", error=str(e))
            return
        for name, mistake in self._fresh.mistakes.items():
            get_logger().error("strategy.refused", strategy=name, mistake=mistake)
        get_logger().info("strategies.reloaded", units=list(self._fresh.units))
