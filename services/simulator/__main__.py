"""Run the simulator, and command a running one: `cq simulator --port 4002 --accounts DU123456 --seed 7`.

Every option of the run is also a setting `SIM_…`; the option wins.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer

from services.simulator.app import build
from services.simulator.core.config import ExchangeConfig
from services.simulator.core.engine import Engine
from services.simulator.settings import SimulatorSettings
from services.simulator.shell.files import read_scenario
from services.simulator.shell.remote import Remote, parameters_of
from shared import runtime
from shared.clock import SYSTEM_CLOCK
from shared.errors import CLICK_USAGE, CqError, ExitCode

EPILOG = """Examples

cq simulator --port 4002 --accounts DU123456 --seed 7

cq simulator --replay IBM_20131008.csv.gz --replay BAC_20131008.csv.gz --speed 60

cq simulator --scenario nightly.toml --state-dir ~/.simulator --calendar

cq simulator do nightly_reset seconds=3 · cq simulator list · cq simulator truth · cq simulator ledger
"""
app = typer.Typer(
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog=EPILOG,
)
HttpPort = Annotated[int, typer.Option(help="Control port of the running simulator.", envvar="SIM_HTTP_PORT")]
HttpHost = Annotated[str, typer.Option(help="Where it runs.", envvar="SIM_HTTP_HOST")]


async def main(settings: SimulatorSettings) -> None:
    """Open the exchange and run it until told to stop."""
    async with AsyncExitStack() as resources:
        await runtime.serve(await build(settings, resources), settings)


@app.callback()
def run(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(help="TWS port: 4002 and 7497 are IB's paper ports.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Control port: truth, ledger, commands.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen at.")] = None,
    accounts: Annotated[str | None, typer.Option(help="Accounts, comma separated: DUSIM0001, DU123456.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the synthetic prices.")] = None,
    cash: Annotated[str | None, typer.Option(help="Starting US dollars of each account.")] = None,
    replay: Annotated[
        list[str] | None, typer.Option(help="Recorded day SYMBOL_….csv(.gz) or .parquet; may be repeated.")
    ] = None,
    speed: Annotated[float | None, typer.Option(help="Speed of the replay; 60 plays an hour in a minute.")] = None,
    scenario: Annotated[str | None, typer.Option(help="TOML file of commands that come at their times.")] = None,
    tick_rate: Annotated[float | None, typer.Option(help="Synthetic events per second and contract.")] = None,
    state_dir: Annotated[str | None, typer.Option(help="Directory that keeps the books over a restart.")] = None,
    commissions: Annotated[str | None, typer.Option(help="IB's price list: fixed or tiered.")] = None,
    *,
    loop: Annotated[bool | None, typer.Option("--loop/--once", help="Begin a replay again at its end.")] = None,
    calendar: Annotated[bool, typer.Option("--calendar", help="Trade in exchange hours only.")] = False,
) -> None:
    """Run a paper exchange that speaks the TWS socket protocol, for every IB client, without an account.

    Point a client at the port as if it were TWS: AAPL, MSFT, SPY, EUR.USD, ES, options and more have prices, orders
    fill, accounts move. Then break it: `list` shows the commands, `do` carries one out, a scenario file has them come
    by themselves. `truth` and `ledger` show what really happened, whatever the clients were told. More options are
    settings `SIM_…`: docs/reference/settings.md.
    """
    if context.invoked_subcommand is not None:
        return
    given = {
        "SIM_PORT": port, "SIM_HTTP_PORT": http_port, "SIM_HOST": host, "SIM_ACCOUNTS": accounts, "SIM_SEED": seed,
        "SIM_CASH": cash, "SIM_REPLAY": ",".join(replay) if replay else None, "SIM_SPEED": speed,
        "SIM_SCENARIO": scenario, "SIM_TICK_RATE": tick_rate, "SIM_STATE_DIR": state_dir,
        "SIM_COMMISSIONS": commissions, "SIM_LOOP": loop, "SIM_CALENDAR": "true" if calendar else None,
    }  # fmt: skip
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    runtime.run("simulator", SimulatorSettings, main)


@app.command("do", epilog="cq simulator do outage seconds=30 code=1101 · cq simulator do split symbol=AAPL new=4")
def do(
    name: Annotated[str, typer.Argument(help="The command: `cq simulator list` shows all.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Its parameters.")] = None,
    http_port: HttpPort = 4103,
    http_host: HttpHost = "127.0.0.1",
) -> None:
    """Carry out a command in a running simulator: break something, pay a dividend, halt a stock."""
    Remote(http_host, http_port).text(f"/commands/{name}", parameters_of(words or []))
    typer.echo(f"done: {name}")


@app.command("list")
def list_commands(name: Annotated[str, typer.Argument(help="Only this command.")] = "") -> None:
    """Show every command with its parameters; no simulator needs to run."""
    group = ""
    for each in _empty_engine().commands.help():
        if name and each.name != name:
            continue
        if each.group != group:
            group = each.group
            typer.secho(f"\n{group}", bold=True)
        given = " ".join(f"{key}={value}" for key, value in each.parameters.items())
        typer.echo(f"  {each.name} {given}\n      {each.text}")


@app.command("check")
def check(file: Annotated[Path, typer.Argument(help="A scenario file.")]) -> None:
    """Check a scenario file without running it."""
    scenario = read_scenario(str(file), _empty_engine().commands.check)
    typer.echo(f"{file}: {len(scenario.steps)} steps, all of them possible")


@app.command("truth")
def truth(
    http_port: HttpPort = 4103,
    http_host: HttpHost = "127.0.0.1",
    *,
    orders: Annotated[bool, typer.Option(help="With every order and execution.")] = True,
) -> None:
    """Print the broker's own books of a running simulator, as JSON."""
    typer.echo(Remote(http_host, http_port).text("/truth" if orders else "/truth?orders=no"))


@app.command("ledger")
def ledger(
    after: Annotated[int, typer.Option(help="Only entries after this number.")] = 0,
    http_port: HttpPort = 4103,
    http_host: HttpHost = "127.0.0.1",
) -> None:
    """Print everything that really happened in a running simulator, as JSON lines."""
    typer.echo(Remote(http_host, http_port).text(f"/truth/ledger?after={after}"), nl=False)


def _empty_engine() -> Engine:
    return Engine(ExchangeConfig(), SYSTEM_CLOCK.wall_ns())


def start() -> None:
    """Run the command line; a mistake is one sentence, and its exit status one of ours."""
    try:
        app(prog_name="cq simulator")
    except SystemExit as e:
        raise SystemExit(ExitCode.USAGE if e.code == CLICK_USAGE else e.code) from e
    except CqError as e:
        typer.echo(f"simulator: {e}", err=True)
        raise SystemExit(e.exit_code) from e


if __name__ == "__main__":
    start()
