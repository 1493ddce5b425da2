"""`cq replay`: give a recorded session to strategies again and compare what they order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from copilot_quant.cli.output import JsonOption, console, print_json, print_table
from copilot_quant.replay import TO_THE_END, replay
from services.strategy.shell.offline import Result
from shared.clock import iso_utc, parse_iso_utc
from shared.errors import BadInput, ExitCode


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("replay")(replay_command)


def replay_command(
    recording: Annotated[Path, typer.Argument(help="The folder that MARKETDATA_RECORD_DIR named.")],
    strategies: Annotated[Path, typer.Option("--strategies", help="The TOML file that names the strategies.")] = Path(
        "strategies/strategies.toml"
    ),
    first: Annotated[
        str, typer.Option("--from", help="Begin at this time, ISO 8601; the units begin anew there.")
    ] = "",
    last: Annotated[str, typer.Option("--to", help="End before this time, ISO 8601.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Exit status 1 unless every unit orders what it did.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Give a recorded session to strategies: offline, as fast as it goes, the same each time."""
    from_ns, to_ns = _time(first, "--from", 0), _time(last, "--to", TO_THE_END)
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), transient=True, console=console) as progress:
        task = progress.add_task("reading")
        results = replay(
            recording, strategies, from_ns=from_ns, to_ns=to_ns,
            tell=lambda at_ns: progress.update(task, description=iso_utc(at_ns)),
        )  # fmt: skip
    if as_json:
        print_json([result_row(result, with_intents=True) for result in results])
    else:
        columns = ["unit", "events", "intents", "recorded", "errors", "difference"]
        rows = [[result_row(result)[name] for name in columns] for result in results]
        print_table(f"replay of {recording}", columns, rows, empty="the file names no strategy")
        for result in results:
            if result.error:
                console.print(f"{result.unit}: {result.error}", style="red", highlight=False)
    if check and any(result.difference for result in results):
        raise typer.Exit(ExitCode.FAILED)


def result_row(result: Result, *, with_intents: bool = False) -> dict[str, object]:
    """Return a unit's result as plain values."""
    row: dict[str, object] = {
        "unit": result.unit,
        "events": result.events,
        "intents": len(result.intents),
        "recorded": len(result.recorded),
        "errors": result.errors,
        "difference": result.difference,
        "error": result.error,
        "paused": result.paused,
    }
    if with_intents:
        row["made"] = [intent.model_dump(mode="json") for intent in result.intents]
    return row


def _time(text: str, name: str, default: int) -> int:
    try:
        return parse_iso_utc(text) if text else default
    except ValueError as e:
        raise BadInput(f"{name}: {text!r} is not an ISO 8601 time such as 2026-11-23 or 2026-11-23T14:30") from e
