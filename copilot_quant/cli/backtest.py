"""`cq backtest`: run a strategy over past data, show the figures, write JSON and a page with charts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from copilot_quant.cli.output import JsonOption, console, print_table
from shared.clock import iso_utc
from shared.errors import BadInput, ExitCode

COMMISSION = "0.001"
SLIPPAGE = 0.0005


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("backtest")(backtest_command)


def backtest_command(
    strategy: Annotated[Path, typer.Argument(help="Python file with a strategy class, or a strategies file (TOML).")],
    data: Annotated[Path, typer.Option("--data", help="Folder with a file per symbol, or a recording.")],
    symbols: Annotated[str, typer.Option("--symbols", help="Contract names, comma separated: IBM,BAC.")] = "",
    first: Annotated[str, typer.Option("--from", help="Begin at this date or time; what is before warms up.")] = "",
    last: Annotated[str, typer.Option("--to", help="End at this time, or after this date.")] = "",
    bars: Annotated[str, typer.Option("--bars", help="Bars that on_bar gets: 1s,5s,1m,1d.")] = "",
    daily: Annotated[bool | None, typer.Option("--daily/--ticks", help="Play daily bars, or ticks.")] = None,
    per: Annotated[str, typer.Option("--per", help="One unit per contract, or one for all.")] = "",
    session: Annotated[str, typer.Option("--session", help="Trade only then: rth, extended, overnight.")] = "",
    last_entry: Annotated[str, typer.Option("--last-entry", help="No entries after it: 15:45, or 15 min.")] = "",
    flat_by: Annotated[str, typer.Option("--flat-by", help="Flat by then, with --session rth.")] = "",
    class_name: Annotated[str, typer.Option("--class", help="Which class, if the file has several.")] = "",
    params: Annotated[list[str] | None, typer.Option("--param", "-p", help="name=value, as in the TOML file.")] = None,
    lookback: Annotated[int, typer.Option("--lookback", help="Bars that the guide's on_data is given.", min=1)] = 30,
    cash: Annotated[float, typer.Option("--cash", help="US dollars to begin with.", min=1)] = 100_000.0,
    commission: Annotated[
        str, typer.Option("--commission", help="Fraction of each trade's value; or fixed or tiered, IB's price lists.")
    ] = COMMISSION,
    slippage: Annotated[float, typer.Option("--slippage", help="Fraction of the price.")] = SLIPPAGE,
    latency_ms: Annotated[
        float, typer.Option("--latency-ms", help="From an order until it trades; half of it until the exchange has it.")
    ] = 10.0,
    limits: Annotated[str, typer.Option("--limits", help="A profile of risk, or a limits file.")] = "",
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with charts to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a strategy over past data: the code that runs live, one process, the same result each time."""
    from copilot_quant.backtest.runner import Costs, run_backtest  # numpy and pandas: only who asks for it waits

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, console=console, disable=as_json) as progress:
        task = progress.add_task("reading data", total=None)

        def tell(played: int, total: int, at_ns: int) -> None:
            progress.update(task, description=iso_utc(at_ns)[:19], completed=played, total=total)

        result = run_backtest(
            strategy, symbols=symbols.split(","), data=data, first=first or None, last=last or None,
            bars=_list(bars), daily=daily, per=per, session=session, last_entry=last_entry, flat_by=flat_by,
            lookback=lookback, class_name=class_name, params=_params(params or []), cash=cash,
            costs=Costs(commission=_commission(commission), slippage=slippage, latency_ms=latency_ms),
            limits=limits or None, tell=tell,
        )  # fmt: skip
    if html is not None:
        _write(html, result.to_html())
    if as_json:
        typer.echo(result.to_json(), nl=False)
    else:
        _show(result, html)
    if any(unit.paused for unit in result.units):
        raise typer.Exit(ExitCode.FAILED)


def _show(result: Any, html: Path | None) -> None:
    from copilot_quant.backtest.report import FACTS, shown

    rows = [[words, shown(name, result.statistics.get(name))] for name, words in FACTS]
    print_table(f"{result.events:,} events from {result.first} to {result.last}", ["figure", "value"], rows, empty="")
    counts = ", ".join(f"{count} {name}" for name, count in result.orders.items())
    console.print(counts, highlight=False)
    for code, count in result.rejected.items():
        console.print(f"{count} times {code}: {result.refusals.get(code, '')}", style="yellow", highlight=False)
    for unit in result.units:
        for error in unit.last_errors[-1:]:
            console.print(f"{unit.unit}: {unit.errors} errors, the last: {error}", style="red", highlight=False)
        if unit.paused:
            console.print(f"{unit.unit} stopped: {unit.paused}", style="red", highlight=False)
    if html is not None:
        console.print(f"report: {html}", highlight=False)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as e:
        raise BadInput(f"--html: {path} cannot be written ({e.strerror or e})") from e


def _list(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _commission(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _params(pairs: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise BadInput(f"--param {pair!r}: write name=value, such as --param quantity=10")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
