"""`cq strategies`: show units; pause, resume, move, reload and reset them."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import Annotated, Any

import typer

from copilot_quant.cli.output import JsonOption, console, print_json, print_table
from copilot_quant.cli.session import until, with_desk
from copilot_quant.desk import Desk
from copilot_quant.local.unit_profits import profit_text
from copilot_quant.local.unit_rows import rows_of, rows_with_profits
from shared.clock import random_token
from shared.errors import BadInput
from shared.messages.control import ControlAction
from shared.settings import BrokerSettings

strategies_app = typer.Typer(help="Show strategy units; pause, resume, move, reload and reset them.")
ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the audit stream `control`.")]
NameArgument = Annotated[str, typer.Argument(help="The strategy's name in its TOML file.")]
COLUMNS = ["unit", "state", "owner", "positions", "pnl", "lag", "errors", "error", "paused"]
WAIT_S = 10.0


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(strategies_app, name="strategies")


@strategies_app.callback(invoke_without_command=True)
def show(context: typer.Context, as_json: JsonOption = False) -> None:
    """List strategy units: state, owner, positions, profit and loss, lag, errors with the last one, why it is paused.

    The profit is the unit's own since it began: realised, open at the last price, less commissions; `--json` has each.
    """
    if context.invoked_subcommand is not None:
        return
    rows = with_desk(lambda desk, _: rows_with_profits(desk))
    if as_json:
        print_json(rows)
        return
    cells = [[_cell(name, row) for name in COLUMNS] for row in rows]
    print_table("strategy units", COLUMNS, cells, empty="no unit yet")


def _cell(name: str, row: dict[str, Any]) -> object:
    value = row.get(name)
    if name == "pnl":
        return profit_text(row["pnl"])
    if name == "positions":
        held = [f"{one.get('position')} {contract}" for contract, one in (value or {}).items()]
        return ", ".join(held) or ", ".join(str(part) for part in row.get("names") or ())
    if name == "paused" and value == row.get("error"):
        return ""  # what stopped it is what keeps it from trading: said once
    return value


@strategies_app.command("pause")
def pause(name: NameArgument, reason: ReasonOption = "by hand", as_json: JsonOption = False) -> None:
    """Let a strategy make no further orders; its working orders stay, cancels pass. Survives restarts."""
    with_desk(lambda desk, _: _control(desk, ControlAction.PAUSE_STRATEGY, name, reason))
    told = {"strategy": name, "paused": True, "reason": reason}
    _tell(told, f"{name} is paused: {reason}", as_json=as_json, style="bold yellow")


@strategies_app.command("resume")
def resume(name: NameArgument, reason: ReasonOption = "by hand", as_json: JsonOption = False) -> None:
    """Let a paused strategy order again, and one that blocked a worker run again; its errors count anew."""

    async def act(desk: Desk, _: BrokerSettings) -> None:
        held = await desk.bus.hash_get_all(desk.keys.strategy_quarantine)
        ours = [row["unit"] for row in await rows_of(desk) if row["strategy"] == name and row["unit"] in held]
        if ours:
            await desk.bus.hash_delete(desk.keys.strategy_quarantine, ours)
        await _control(desk, ControlAction.RESUME_STRATEGY, name, reason)

    with_desk(act)
    told = {"strategy": name, "paused": False, "reason": reason}
    _tell(told, f"{name} orders again: {reason}", as_json=as_json, style="bold green")


def _tell(told: dict[str, object], text: str, *, as_json: bool, style: str = "") -> None:
    if as_json:
        print_json(told)
    else:
        console.print(text, style=style or None, highlight=False)


async def _control(desk: Desk, action: ControlAction, name: str, reason: str) -> None:
    units = [row["unit"] for row in await rows_of(desk) if row["strategy"] == name]
    if not units:
        known = sorted({str(row["strategy"]) for row in await rows_of(desk)})
        raise BadInput(f"there is no strategy {name!r}: {', '.join(known) or 'none runs'}")
    await desk.control(action, who=getpass.getuser(), reason=reason, scope=f"strategy:{name}")
    wants_pause = action is ControlAction.PAUSE_STRATEGY

    def confirmed(row: dict[str, Any]) -> bool:
        return row["unit"] not in units or row["state"] != "running" or bool(row["paused"]) == wants_pause

    await _until(desk, f"the units of {name} did not confirm", confirmed)


@strategies_app.command("move")
def move(
    unit: Annotated[str, typer.Argument(help="A unit as `cq strategies` shows it.")],
    worker: Annotated[str, typer.Argument(help="The worker it shall run on, `-` to let the workers share again.")],
    as_json: JsonOption = False,
) -> None:
    """Move a unit to a worker and keep it there while that one lives; it commits, is given up, and goes on there."""

    async def act(desk: Desk, _: BrokerSettings) -> None:
        rows = {row["unit"]: row for row in await rows_of(desk)}
        if unit not in rows:
            raise BadInput(f"there is no unit {unit!r}: `cq strategies` lists them")
        if worker == "-":
            await desk.bus.hash_delete(desk.keys.strategy_directives, [f"pin:{unit}"])
            return
        workers = sorted(await desk.bus.hash_get_all(desk.keys.strategy_workers))
        if worker not in workers:
            raise BadInput(f"there is no worker {worker!r}: {', '.join(workers) or 'none lives'}")
        await desk.bus.hash_set(desk.keys.strategy_directives, {f"pin:{unit}": worker})

        def has_come(row: dict[str, Any]) -> bool:
            return bool(row["unit"] != unit or (row["owner"] == worker and row["state"] == "running"))

        await _until(desk, f"{unit} did not come to {worker}", has_come)

    with_desk(act)
    text = f"{unit} runs where the workers' shares say" if worker == "-" else f"{unit} runs on {worker}"
    _tell({"unit": unit, "worker": None if worker == "-" else worker}, text, as_json=as_json)


@strategies_app.command("reload")
def reload(as_json: JsonOption = False) -> None:
    """Let every worker read the strategies file and its Python files again; only what changed begins anew."""

    async def act(desk: Desk, _: BrokerSettings) -> None:
        await desk.bus.hash_set(desk.keys.strategy_directives, {"reload": random_token(12)})

    with_desk(act)
    _tell({"asked": True}, "asked for; `cq strategies` shows mistakes, and each unit's state", as_json=as_json)


@strategies_app.command("reset")
def reset(
    unit: Annotated[str, typer.Argument(help="A unit as `cq strategies` shows it.")], as_json: JsonOption = False
) -> None:
    """Let a unit begin with an empty state of its own, as after an edit that the saved one does not fit.

    What it holds and what works for it is kept: that is the platform's book, not the strategy's state.
    """

    async def act(desk: Desk, _: BrokerSettings) -> None:
        rows = {row["unit"]: row for row in await rows_of(desk)}
        if unit not in rows:
            raise BadInput(f"there is no unit {unit!r}: `cq strategies` lists them")
        if rows[unit]["state"] == "running":
            raise BadInput(f"{unit} runs with the state it has; only one that does not can begin anew")
        wish = random_token(12)
        await desk.bus.hash_set(desk.keys.strategy_directives, {f"fresh:{unit}": wish, "reload": wish})

        def has_begun(row: dict[str, Any]) -> bool:
            return bool(row["unit"] != unit or row["state"] == "running")

        await _until(desk, f"{unit} did not begin", has_begun)

    with_desk(act)
    _tell({"unit": unit, "reset": True}, f"{unit} runs, with an empty state", as_json=as_json)


async def _until(desk: Desk, otherwise: str, holds: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until something holds of every row.

    Raises:
        TimedOut: it does not within ten seconds.
    """

    async def all_hold() -> bool:
        return all(holds(row) for row in await rows_of(desk))

    await until(all_hold, WAIT_S, f"{otherwise} within {WAIT_S:g} s: `cq strategies` shows what they do")
