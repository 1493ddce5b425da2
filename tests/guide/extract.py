"""Read a guide: its fenced blocks by section, and what each line of a shell block is.

A section is what stands under one heading of the second level; its Python blocks share one namespace. A fence may be
indented, as in a list. Pure: text in, blocks out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w+-]*) *$")
HEADING = re.compile(r"^(?P<marks>#{2,4}) +(?P<title>.+?) *$")
SETTING = re.compile(r"^[A-Z][A-Z0-9_]*=")
PLACEHOLDER = re.compile(r"/path/to/[\w-]+")


class Kind(StrEnum):
    """What a line of a shell block is."""

    RUN = "run"
    ENDLESS = "endless"
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: language, code without its indent, the line of its fence, and where it stands."""

    number: int
    language: str
    code: str
    line: int
    section: str
    title: str
    lead: str = ""
    """The last line of text above it."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a shell block and what is done with it."""

    text: str
    line: int
    section: str
    title: str
    kind: Kind


def blocks_of(text: str) -> list[Block]:
    """Return every fenced block in order.

    Raises:
        ValueError: a fence is not closed.
    """
    found: list[Block] = []
    section = title = lead = ""
    lines = iter(enumerate(text.splitlines(), start=1))
    for number, line in lines:
        heading, fence = HEADING.match(line), FENCE.match(line)
        if heading is not None:
            title = heading["title"]
            section = title if heading["marks"] == "##" else section
        elif fence is not None:
            code = _until_closed(lines, fence["indent"], number)
            found.append(Block(len(found) + 1, fence["language"].lower(), code, number, section, title, lead))
        lead = line.strip() or lead
    return found


def _until_closed(lines: Iterable[tuple[int, str]], indent: str, opened: int) -> str:
    code: list[str] = []
    for _, line in lines:
        if line.strip() == "```":
            return "".join(f"{one}\n" for one in code)
        code.append(line.removeprefix(indent))
    raise ValueError(f"the block that opens in line {opened} is not closed")


def settings_of(block: Block) -> str:
    """Return the lines `NAME=value` of a shell block, as a piece of an .env file."""
    return "".join(f"{line}\n" for line in block.code.splitlines() if SETTING.match(line))


def commands_of(block: Block) -> list[Command]:
    """Return the commands of a shell block; comments and settings are none."""
    found = []
    for offset, line in enumerate(block.code.splitlines(), start=1):
        text = line.strip()
        if text and not text.startswith("#") and not SETTING.match(text):
            found.append(Command(text, block.line + offset, block.section, block.title, kind_of(text)))
    return found


def kind_of(command: str) -> Kind:
    """Say whether a command is run, run until it gets a SIGINT, or only looked at.

    Looked at: what changes the machine outside the folder, needs another operating system, a desktop or a container
    engine, or only shows the machine's state.
    """
    words = command.split()
    if words[0] in {"sudo", "launchctl", "netstat", "schtasks", "systemctl", "docker", "wsl", "make"}:
        return Kind.CHECK
    if command.startswith("tail -f") or "run_live_strategy.py" in command:
        return Kind.ENDLESS
    if words[:2] in (["cq", "up"], ["cq", "demo"]) or (words[:1] == [".venv/bin/cq"] and words[1] in {"up", "demo"}):
        return Kind.ENDLESS if "--for" not in words else Kind.RUN
    return Kind.RUN


# --------------------------------------------------------------------------------------------- Python blocks


def endless_lines(code: str) -> range | None:
    """Return the lines of a `while True` that nothing in the loop ends; None where there is none."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value:
            inner = [each for part in node.body for each in ast.walk(part)]
            if not any(isinstance(each, ast.Break | ast.Return) for each in inner):
                return range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return None


def is_live(code: str) -> bool:
    """Say whether a block asks for the live account."""
    return re.search(r"paper_trading\s*=\s*False", code) is not None


def imports_of(code: str) -> dict[str, str]:
    """Return what a block imports: the bound name and the statement that binds it."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = (alias.asname or alias.name).partition(".")[0]
                found[name] = f"import {alias.name}" + (f" as {alias.asname}" if alias.asname else "")
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                renamed = f" as {alias.asname}" if alias.asname else ""
                found[alias.asname or alias.name] = f"from {node.module} import {alias.name}{renamed}"
    return found


def borrowed(blocks: Iterable[Block]) -> dict[int, list[str]]:
    """Return for each Python block the imports of earlier sections that it needs, by the block's number.

    A reader goes through the guide in one session, so a class that a section above imported is still there.
    """
    by_section: dict[str, set[str]] = {}
    earlier: dict[str, str] = {}
    found: dict[int, list[str]] = {}
    for block in blocks:
        if block.language != "python":
            continue
        here = by_section.setdefault(block.section, set())
        names = [node for node in ast.walk(ast.parse(block.code)) if isinstance(node, ast.Name)]
        bound = here | imports_of(block.code).keys() | {one.id for one in names if isinstance(one.ctx, ast.Store)}
        used = dict.fromkeys(one.id for one in names if isinstance(one.ctx, ast.Load))
        found[block.number] = [earlier[name] for name in used if name not in bound and name in earlier]
        here |= bound
        earlier |= imports_of(block.code)
    return found
