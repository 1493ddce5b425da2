"""Run the risk service: `python -m services.risk`."""

from __future__ import annotations

from contextlib import AsyncExitStack

from services.risk.app import build
from services.risk.settings import RiskSettings
from shared import runtime


async def main(settings: RiskSettings) -> None:
    """Open what the service owns, run it until told to stop, close in reverse order."""
    async with AsyncExitStack() as resources:
        await runtime.serve(await build(settings, resources), settings)


if __name__ == "__main__":
    runtime.run("risk", RiskSettings, main)
