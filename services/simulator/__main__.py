"""Run the simulator: `python -m services.simulator --port 4002 --accounts DU123456 --seed 7`.

Every option is also a setting `SIM_…`; the option wins.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import Annotated

import typer

from services.simulator.app import build
from services.simulator.settings import SimulatorSettings
from shared import runtime


async def main(settings: SimulatorSettings) -> None:
    """Open the exchange and run it until told to stop."""
    async with AsyncExitStack() as resources:
        await runtime.serve(await build(settings, resources), settings)


def command(
    port: Annotated[int | None, typer.Option(help="TWS port: 4002 and 7497 are IB's paper ports.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Control port: truth, ledger, faults.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen at.")] = None,
    accounts: Annotated[str | None, typer.Option(help="Accounts, comma separated: DUSIM0001, DU123456.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the synthetic prices.")] = None,
    cash: Annotated[str | None, typer.Option(help="Starting US dollars of each account.")] = None,
    replay: Annotated[list[str] | None, typer.Option(help="Recorded day SYMBOL_….csv(.gz); may be repeated.")] = None,
    speed: Annotated[float | None, typer.Option(help="Speed of the replay; 60 plays an hour in a minute.")] = None,
    tick_rate: Annotated[float | None, typer.Option(help="Synthetic events per second and contract.")] = None,
    state_dir: Annotated[str | None, typer.Option(help="Directory that keeps the books over a restart.")] = None,
    *,
    calendar: Annotated[bool, typer.Option("--calendar", help="Trade in exchange hours only.")] = False,
) -> None:
    """A paper exchange that speaks the TWS socket protocol, for every IB client, without an account.

    Point a client at the port as if it were TWS. GET /truth on the control port shows the broker's own books,
    GET /faults what can be broken: curl -X POST localhost:4103/faults/nightly_reset -d '{"seconds": 3}'
    """
    given = {
        "SIM_PORT": port, "SIM_HTTP_PORT": http_port, "SIM_HOST": host, "SIM_ACCOUNTS": accounts, "SIM_SEED": seed,
        "SIM_CASH": cash, "SIM_REPLAY": ",".join(replay) if replay else None, "SIM_SPEED": speed,
        "SIM_TICK_RATE": tick_rate, "SIM_STATE_DIR": state_dir, "SIM_CALENDAR": "true" if calendar else None,
    }  # fmt: skip
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    runtime.run("simulator", SimulatorSettings, main)


if __name__ == "__main__":
    typer.run(command)
