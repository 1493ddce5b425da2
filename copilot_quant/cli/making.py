"""`cq init` and `cq new strategy`: files to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from copilot_quant.cli.output import JsonOption, console, print_json
from copilot_quant.local.scaffold import add_strategy, make_desk

new_app = typer.Typer(help="Write a new strategy with its test.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("init")(init)
    app.add_typer(new_app, name="new")


def init(
    name: Annotated[Path, typer.Argument(help="The directory to make.")],
    profile: Annotated[str, typer.Option("--profile", help="Limits: small-paper or tiny-live.")] = "small-paper",
    as_json: JsonOption = False,
) -> None:
    """Make a directory for strategies: their TOML file, limits, .env, a compose file. Never writes over anything."""
    _tell(make_desk(name, profile=profile), as_json=as_json)
    if not as_json:
        console.print(f"next: cd {name} && cq new strategy dip && cq run", highlight=False)


@new_app.command("strategy")
def new_strategy(
    name: Annotated[str, typer.Argument(help="Lower-case; on every order, fill and position.")],
    symbols: Annotated[str, typer.Option("--symbols", help="What it trades, comma separated.")] = "AAPL",
    as_json: JsonOption = False,
) -> None:
    """Write a strategy that trades in sim, and its test; register it in strategies/strategies.toml."""
    contracts = [word.strip() for word in symbols.split(",") if word.strip()]
    _tell(add_strategy(Path(), name, contracts), as_json=as_json)
    if not as_json:
        console.print("next: python -m pytest, then cq run", highlight=False)


def _tell(paths: list[Path], *, as_json: bool) -> None:
    if as_json:
        print_json({"written": [str(path) for path in paths]})
        return
    for path in paths:
        console.print(f"wrote {path}", highlight=False)
