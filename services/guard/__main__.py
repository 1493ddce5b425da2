"""Run the guard: `python -m services.guard`."""

from __future__ import annotations

from contextlib import AsyncExitStack

from services.guard.app import build
from services.guard.settings import GuardSettings
from shared import runtime


async def main(settings: GuardSettings) -> None:
    """Open the guard and run it until told to stop."""
    async with AsyncExitStack() as resources:
        await runtime.serve(await build(settings, resources), settings)


if __name__ == "__main__":
    runtime.run("guard", GuardSettings, main)
