"""Run a strategy worker: `python -m services.strategy`."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from services.strategy.app import build
from services.strategy.settings import StrategySettings
from services.strategy.shell.mark import Mark
from services.strategy.shell.sentinel import with_sentinel
from shared import runtime


async def main(mark: Mark, settings: StrategySettings) -> None:
    """Open what the worker owns, run it until told to stop, close in reverse order."""
    async with AsyncExitStack() as resources:
        await runtime.serve(await build(settings, resources, mark), settings)


def run() -> None:
    """Fork the sentinel, then be the worker."""
    runtime.run("strategy", StrategySettings, partial(main, with_sentinel()))


if __name__ == "__main__":
    run()
