"""Run a strategy worker: `python -m services.strategy`."""

from __future__ import annotations

from contextlib import AsyncExitStack

from services.strategy.app import build
from services.strategy.settings import StrategySettings
from shared import runtime


async def main(settings: StrategySettings) -> None:
    """Open what the worker owns, run it until told to stop, close in reverse order."""
    async with AsyncExitStack() as resources:
        await runtime.serve(await build(settings, resources), settings)


if __name__ == "__main__":
    runtime.run("strategy", StrategySettings, main)
