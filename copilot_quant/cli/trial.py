"""`cq run`: strategies in a system of their own, told line by line."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from copilot_quant.cli.output import console
from copilot_quant.local.run_file import refuse_second
from copilot_quant.local.scaffold import STRATEGIES
from copilot_quant.local.trial import TrialOptions, run_trial
from shared.errors import BadInput
from shared.settings import Mode


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("run")(run)


def run(
    file: Annotated[Path, typer.Argument(help="A strategy (Python) or a strategies file (TOML).")] = STRATEGIES,
    sim: Annotated[bool, typer.Option("--sim", help="At the simulator; the default.")] = False,
    paper: Annotated[bool, typer.Option("--paper", help="With the paper account that .env names.")] = False,
    seconds: Annotated[float, typer.Option("--for", min=0, help="End after so many seconds.")] = 0.0,
    symbols: Annotated[str, typer.Option("--symbols", help="Trade these instead, comma separated.")] = "",
    debug: Annotated[
        bool, typer.Option("--debug", help="The worker has this terminal: breakpoint() in a strategy stops there.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep logs and data of this run.")] = False,
) -> None:
    """Run strategies: Redis, gateway, guard and risk included; shows intents, answers and fills; Ctrl-C ends all.

    At the simulator a saved edit is taken at once. On paper, trade as with `cq up`: what the deployment knows stays in
    .cq/paper, and a new one starts halted until `cq resume`.
    """
    refuse_second(Path.cwd())
    if debug and paper:
        raise BadInput("--debug is for the simulator: on paper a handler that stands still is interrupted")
    if sim and paper:
        raise BadInput("--sim or --paper: a deployment has one mode")
    mode = Mode.PAPER if paper else Mode.SIM
    os.environ["CQ_MODE"] = mode.value
    options = TrialOptions(
        chosen=file,
        mode=mode,
        seconds=seconds,
        symbols=tuple(word.strip() for word in symbols.split(",") if word.strip()),
        keep_files=keep,
        is_debugged=debug,
    )
    say = _say
    console.rule(Text("SIMULATED", "bold yellow") if mode is Mode.SIM else Text("PAPER", "bold"))
    sys.exit(asyncio.run(run_trial(options, Path.cwd(), say)))


def _say(line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)
