"""Run the monitoring service: `python -m services.monitoring`."""

from __future__ import annotations

from contextlib import AsyncExitStack

from services.monitoring.app import build
from services.monitoring.settings import MonitoringSettings
from shared import runtime


async def main(settings: MonitoringSettings) -> None:
    """Open what the service owns, run it until told to stop, close in reverse order."""
    async with AsyncExitStack() as resources:
        await runtime.serve(await build(settings, resources), settings)


if __name__ == "__main__":
    runtime.run("monitoring", MonitoringSettings, main)
