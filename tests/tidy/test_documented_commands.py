"""Each `cq …` and `make …` that documentation, messages and comments name must exist, with the options it is given."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import typer.main

from copilot_quant.cli.application import build_app
from services.simulator.__main__ import app as simulator_app
from tests.support import ROOT

PAGES = sorted(
    str(page.relative_to(ROOT)) for pattern in ("*.md", "docs/**/*.md", "examples/*.md") for page in ROOT.glob(pattern)
)
SOURCES = sorted(
    str(path.relative_to(ROOT))
    for part in ("copilot_quant", "services", "shared", "strategies", "examples")
    for path in (ROOT / part).glob("**/*.py")
)
CODE = re.compile(r"`([^`\n]+)`")
SHELL_LINE = re.compile(r"^\s*(?:\$ |> )?(?=(?:\.venv/bin/)?cq |make )")
COMMAND = re.compile(
    r"(?:^|[;&|(] *)(?:docker compose (?:run|exec)[\w -]* )?(?:\S*/)?(?P<tool>cq|make)(?P<rest>( [^;&|`#]+)?)"
)


def spoken_of(text: str, *, has_blocks: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield the tool and the words of each command in inline code and, in a page, in its shell blocks."""
    pieces = CODE.findall(text)
    if has_blocks:
        blocks = re.findall(r"^ *```[^\n]*\n(.*?)^ *```", text, flags=re.MULTILINE | re.DOTALL)
        pieces += [
            SHELL_LINE.sub("", line) for block in blocks for line in block.splitlines() if SHELL_LINE.match(line)
        ]
    for piece in pieces:
        for found in COMMAND.finditer(piece):
            yield found["tool"], found["rest"].split()


@cache
def tree() -> Any:
    """Return every command of ours, the simulator's under its name."""
    top: Any = typer.main.get_command(build_app())
    top.commands["simulator"] = typer.main.get_command(simulator_app)
    return top


@cache
def targets() -> frozenset[str]:
    """Return the targets of the Makefile and the variables that their help names."""
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = re.findall(r"^\s+make (\S+)", shown, flags=re.MULTILINE)
    return frozenset([*names, *re.findall(r"([A-Z]+)=", shown), "GUIDE", "JOBS", "PYTHON"])


def wrong_with(tool: str, words: list[str]) -> str:
    """Return what does not exist of a command; "" if all of it does."""
    words = [word.strip("'\".,:)") for word in words]
    if tool == "make":
        named = [word.partition("=")[0] for word in words if re.match(r"[a-zA-Z-]+(=|$)", word)]
        return next((name for name in named if name not in targets()), "")
    command = tree()
    for word in words:
        below = getattr(command, "commands", None)
        if below is None or word.startswith("-") or word in ("…", "..."):
            break
        if "|" in word or word not in below:
            return "" if "|" in word or getattr(command, "invoke_without_command", False) else word
        command = below[word]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    named = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return next((name for name in named if name not in known), "")


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    wrong = [
        f"{tool} {' '.join(words)}: {what}"
        for tool, words in spoken_of(text, has_blocks=True)
        if (what := wrong_with(tool, words))
    ]
    assert not wrong, wrong


def test_commands_that_messages_and_comments_name_exist() -> None:
    wrong = [
        f"{path}: {tool} {' '.join(words)}: {what}"
        for path in SOURCES
        for tool, words in spoken_of((ROOT / path).read_text(), has_blocks=False)
        if (what := wrong_with(tool, words))
    ]
    assert not wrong, wrong


@pytest.mark.parametrize(
    "command, what",
    [
        ("cq status --json", ""),
        ("cq order buy AAPL 5 --limit 3", ""),
        ("cq demo --for 5", ""),
        ("cq simulator do nightly_reset seconds=3", ""),
        ("cq nonsense", "nonsense"),
        ("cq order lend AAPL", "lend"),
        ("cq status --jsn", "--jsn"),
        ("make demo FOR=60", ""),
        ("make coffee", "coffee"),
        ("make demo SUGAR=2", "SUGAR"),
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, what: str) -> None:
    ((tool, words),) = spoken_of(f"`{command}`", has_blocks=False)
    assert wrong_with(tool, words) == what
