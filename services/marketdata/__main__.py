"""Run the marketdata service: `python -m services.marketdata`."""

from __future__ import annotations

from contextlib import AsyncExitStack

from services.marketdata.app import build
from services.marketdata.settings import MarketdataSettings
from shared import runtime


async def main(settings: MarketdataSettings) -> None:
    """Open what the service owns, run it until told to stop, close in reverse order."""
    async with AsyncExitStack() as resources:
        await runtime.serve(await build(settings, resources), settings)


if __name__ == "__main__":
    runtime.run("marketdata", MarketdataSettings, main)
