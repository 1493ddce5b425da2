"""`cq replay-event`: run what made a handler raise again, with a debugger if wanted."""

from __future__ import annotations

import pdb
from pathlib import Path
from typing import Annotated

import typer

from copilot_quant.cli.output import JsonOption, console, print_json
from copilot_quant.cli.session import with_desk
from copilot_quant.desk import Desk
from copilot_quant.local.lines import leg_text
from services.strategy.shell.failures import Failure
from services.strategy.shell.loader import forget_imports
from services.strategy.shell.rerun import Rerun, Run, rerun
from shared.clock import iso_utc
from shared.errors import BadInput, ExitCode
from shared.settings import BrokerSettings

LAST = "last"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("replay-event")(replay_event)


async def kept_failures(desk: Desk, unit: str) -> list[Failure]:
    """Return the failures of a unit that are kept, oldest first."""
    stored = await desk.bus.hash_get_all(desk.keys.strategy_failures)
    found = [Failure.unpack(content) for slot, content in stored.items() if slot.rpartition(" ")[0] == unit]
    return sorted(found, key=lambda failure: failure.at_ns)


def replay_event(
    unit: Annotated[str, typer.Argument(help="A unit as `cq strategies` shows it.")],
    event: Annotated[str, typer.Argument(help="The event's id, shown with the error; `last` for the newest.")] = LAST,
    with_pdb: Annotated[bool, typer.Option("--pdb", help="Stop in the handler, at its first line.")] = False,
    save: Annotated[Path | None, typer.Option("--save", help="Write the failure into a file too.")] = None,
    source: Annotated[Path | None, typer.Option("--from", help="Read it from such a file; nothing has to run.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a failed event again from recorded input and saved state, outside the bus: nothing is ordered.

    The code is read as it is now, so a mended handler shows that it is. Exit status 1 while it raises.
    """
    forget_imports()
    failure = _chosen(unit, event, source)
    if save is not None:
        save.write_bytes(failure.pack())
    result = rerun(failure, _debugger() if with_pdb else None)
    if as_json:
        print_json(_row(result, failure))
    else:
        _print(result, failure)
    if result.raised:
        raise typer.Exit(ExitCode.FAILED)


def _debugger() -> Run:
    return pdb.Pdb().runcall


def _chosen(unit: str, event: str, source: Path | None) -> Failure:
    if source is not None:
        try:
            return Failure.unpack(source.read_bytes())
        except OSError as e:
            raise BadInput(f"{source} cannot be read ({e.strerror})") from e

    async def ask(desk: Desk, _: BrokerSettings) -> list[Failure]:
        return await kept_failures(desk, unit)

    kept = with_desk(ask)
    if not kept:
        raise BadInput(f"no failure of {unit!r} is kept: `cq strategies` shows units and their errors")
    found = [failure for failure in kept if event in (LAST, failure.event_id)]
    if not found:
        raise BadInput(f"{event!r} is no failed event of {unit}: {', '.join(one.event_id for one in kept)}")
    return found[-1]


def _row(result: Rerun, failure: Failure) -> dict[str, object]:
    return {
        "unit": result.unit,
        "event": result.event_id,
        "handler": result.handler,
        "at": iso_utc(failure.at_ns),
        "was": f"{failure.error} at {failure.where}",
        "raised": result.raised,
        "trace": result.trace,
        "calls": result.calls,
        "intents": [intent.model_dump(mode="json") for intent in result.intents],
    }


def _print(result: Rerun, failure: Failure) -> None:
    console.print(f"{result.unit}: {result.handler} at {iso_utc(failure.at_ns)}, event {result.event_id}", style="bold")
    console.print(f"it raised then: {failure.error} at {failure.where}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"replayed {len(failure.entries)} entries, {result.calls} calls", highlight=False)
    if result.raised:
        console.print(result.trace.rstrip(), style="red", highlight=False, markup=False, soft_wrap=True)
        return
    if not result.call:
        console.print("the event no longer comes to this handler", style="yellow")
        return
    console.print("it does not raise now", style="green")
    for intent in result.intents:
        legs = " + ".join(leg_text(leg) for leg in intent.legs)
        console.print(f"would order: {legs} {intent.contract} ({intent.reason})", highlight=False, markup=False)
