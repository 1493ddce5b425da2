"""Run a gateway: `python -m services.gateway`; a second one with another client id stands by."""

from __future__ import annotations

from contextlib import AsyncExitStack

from services.gateway.app import build
from services.gateway.settings import GatewaySettings
from shared import runtime


async def main(settings: GatewaySettings) -> None:
    """Open what the gateway owns, run it until told to stop, close in reverse order."""
    async with AsyncExitStack() as resources:
        await runtime.serve(await build(settings, resources), settings)


if __name__ == "__main__":
    runtime.run("gateway", GatewaySettings, main)
