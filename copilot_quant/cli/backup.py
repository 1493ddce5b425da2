"""`cq backup`, `cq restore`: a deployment's order flow and halts in one file, and back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from copilot_quant.archive import read_archive
from copilot_quant.cli.output import JsonOption, console, print_json
from copilot_quant.cli.session import operator_settings, running_system
from copilot_quant.local.backup import restore_backup, take_backup
from shared.clock import iso_utc
from shared.errors import ConfigError
from shared.settings import BrokerSettings, load_settings

StateOption = Annotated[
    str, typer.Option("--state-dir", help="Directory of gateway's and guard's state; default .cq/<deployment>.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("backup")(backup)
    app.command("restore")(restore)


def _state_dir(named: str, settings: BrokerSettings) -> Path:
    if named:
        return Path(named)
    usual = Path.cwd() / ".cq" / settings.deployment
    system = running_system()
    return usual if usual.is_dir() or system is None else Path(system.run_dir)


def backup(
    file: Annotated[str, typer.Argument(help="The archive to write, such as backup.tar.gz.")],
    state_dir: StateOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write one file with what Redis knows of the order flow and what gateway and guard keep on disk; it may run on."""
    settings = operator_settings()
    path = Path(file)
    if path.exists():
        raise ConfigError(f"{file} is there already: a backup never overwrites another")
    archive = asyncio.run(take_backup(settings, _state_dir(state_dir, settings), path))
    if as_json:
        print_json(
            {"file": file, "taken": iso_utc(archive.taken_ns), "keys": len(archive.redis), "epoch": archive.epoch}
        )
    else:
        console.print(f"{file}: {archive.text}", highlight=False)


def restore(
    file: Annotated[str, typer.Argument(help="An archive that `cq backup` wrote.")],
    state_dir: StateOption = "",
    as_json: JsonOption = False,
) -> None:
    """Put a backup in the place of this deployment's data, while it is stopped; it then starts halted.

    Before anything is sent the gateway reconciles with the broker; look at the account, then `cq resume`. The data of
    before are moved aside.
    """
    if running_system() is not None:
        raise ConfigError("a system runs in this directory: stop it first")
    settings = load_settings(BrokerSettings)
    directory = Path(state_dir) if state_dir else Path.cwd() / ".cq" / settings.deployment
    archive = read_archive(Path(file))
    done = asyncio.run(restore_backup(archive, settings, directory))
    if as_json:
        print_json({"file": file, "before": str(done.before or ""), "epoch": done.epoch})
        return
    console.print(f"restored: {archive.text}", highlight=False)
    if done.before is not None:
        console.print(f"what was there before is in {done.before}", highlight=False)
    console.print("it starts HALTED and reconciles first: cq up, look at the account, then cq resume", style="bold")
