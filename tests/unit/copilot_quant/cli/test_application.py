from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import typer.main

from copilot_quant.cli.application import PARTS, build_app
from tests.unit.copilot_quant.cli.conftest import Typed

COMMANDS = {
    *("demo", "up", "status", "connect", "tail", "orders", "positions", "fills", "account", "contract", "order"),
    *("cancel", "close", "halt", "resume", "strategies", "simulator", "doctor"),
    *("init", "new", "run"),
}
WITHOUT_JSON = {"demo", "up", "run", "simulator"}
"""They run until stopped; what they show is read with `cq status --json`."""


def commands() -> dict[str, Any]:
    """Return every command by the words that name it."""
    found = {}
    top: Any = typer.main.get_command(build_app())
    for name, command in top.commands.items():
        for word, below in getattr(command, "commands", {"": command}).items():
            found[f"{name} {word}".strip()] = below
    return found


def test_a_command_line_loads_only_the_part_that_it_needs() -> None:
    for _, heading, names in PARTS:
        for name in names:
            loaded: Any = typer.main.get_command(build_app([name, "--json"]))
            assert tuple(sorted(loaded.commands)) == tuple(sorted(names)), "the table names what the module has"
            assert loaded.commands[name].rich_help_panel == heading
    everything: Any = typer.main.get_command(build_app())
    for typed in ([], ["--help"], ["nonsense"]):
        one: Any = typer.main.get_command(build_app(typed))
        assert list(one.commands) == list(everything.commands)


def test_every_command_that_was_promised_is_there() -> None:
    assert {name.split()[0] for name in commands()} >= COMMANDS
    assert {"order buy", "order sell", "contract find", "contract show"} <= set(commands())


@pytest.mark.parametrize("name", sorted(set(commands()) - WITHOUT_JSON))
def test_every_command_has_json(name: str) -> None:
    options = {option for one in commands()[name].params for option in one.opts}
    assert "--json" in options


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_says_in_one_line_what_it_does(name: str) -> None:
    text = (commands()[name].help or "").strip()
    assert text and len(text.splitlines()[0]) <= 120


def test_help_is_no_error_and_no_command_is_a_wrong_use(cq: Callable[..., Typed]) -> None:
    assert cq("--help").status == 0
    assert cq().status == 64
    done = cq("nonsense")
    assert done.status == 64 and "No such command" in done.err
