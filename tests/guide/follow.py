"""Follow a guide from its first line to its last: every setting, command, file and Python block.

What stands in the guide is done in its order; a section's Python blocks are run last, in one namespace. Each piece
becomes a row: what it is, what came of it, how long it took, and remarks.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from dotenv import dotenv_values
from pydantic import ValidationError

from shared.errors import ExitCode
from shared.settings import BrokerSettings, Mode
from tests.guide import files, section
from tests.guide.extract import (
    PLACEHOLDER,
    Block,
    Command,
    Kind,
    blocks_of,
    borrowed,
    commands_of,
    endless_lines,
    is_live,
    settings_of,
)
from tests.guide.place import LIVE, Place
from tests.support import ROOT

SHELLS = frozenset({"bash", "sh", "shell", "console"})
SETTING_LINE = re.compile(r"^#? ?(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>[^#]*)")
ENDLESS_SAYS = {"run_live_strategy.py": "started:", "cq up": "status page", "cq demo": "status page"}
INTERRUPTED = (0, 130, -2)
EXAMINERS = {"cq doctor": (0, 69), "cq preflight": (0, 69)}
"""Commands whose exit status says that they found something."""


@dataclass(frozen=True, slots=True)
class Row:
    """One piece of the guide and what came of it; `kind` is block, command, settings, file or P8."""

    kind: str
    line: int
    section: str
    what: str
    outcome: str
    is_ok: bool
    seconds: float = 0.0
    remark: str = ""
    output: str = ""


class Follower:
    """Follow the blocks of one guide in a place."""

    def __init__(self, place: Place, text: str) -> None:
        self._place = place
        self._blocks = blocks_of(text)
        self._borrowed = borrowed(self._blocks)
        self._outputs: dict[str, str] = {}

    def follow(self, only: str = "") -> Iterator[Row]:
        """Yield a row per piece; `only` sections whose title contains that."""
        for title, group in groupby(self._blocks, key=lambda block: block.section):
            blocks = list(group)
            if only.lower() in title.lower():
                for block in blocks:
                    yield from self._piece(block)
                yield from self._python([block for block in blocks if block.language == "python"])

    def _piece(self, block: Block) -> Iterator[Row]:
        if block.language in SHELLS:
            if settings := settings_of(block):
                yield self._settings(block, settings)
            for command in commands_of(block):
                yield self._command(command)
        elif block.language in {"ini", "systemd"}:
            name = Path(re.sub(r"[`:]", "", block.lead.split()[-1])).name if block.lead else "guide.service"
            name = name if name.endswith((".service", ".timer", ".target")) else "guide.service"
            yield _checked("file", block, f"systemd unit {name}", files.unit_problems(block.code, name))
        elif block.language in {"xml", "plist"}:
            yield _checked("file", block, "launchd plist or task", files.xml_problems(block.code))
        elif block.language in {"toml", "env"}:
            yield _checked("file", block, f"{block.language} file", [])
        elif not block.language and "output" in block.lead.lower():
            got = self._outputs.get(block.section, "").strip()
            problems = [] if got == block.code.strip() else [f"it printed {got!r}"]
            yield _checked("output", block, "expected output", problems)

    # -- settings and commands

    def _settings(self, block: Block, text: str) -> Row:
        """Edit `.env` as a person would, and read it as every program does."""
        path = self._place.work / ".env"
        wanted = {
            found["name"]: found["value"].strip() for line in text.splitlines() if (found := SETTING_LINE.match(line))
        }
        lines = path.read_text().splitlines() if path.exists() else []
        names = [found["name"] if (found := SETTING_LINE.match(line)) else "" for line in lines]
        for line in text.splitlines():
            name = line.partition("=")[0]
            if name in names:
                lines[names.index(name)] = line
            else:
                lines.append(line)
                names.append(name)
        if path.is_symlink():
            path.unlink()
        path.write_text("\n".join(lines) + "\n")
        read = dotenv_values(path)
        problems = [f"{name} is read as {read.get(name)!r}" for name in wanted if read.get(name) != wanted[name]]
        mode = (
            Mode.LIVE
            if any(name.startswith("IB_LIVE") for name in wanted) and read.get("IB_LIVE_ACCOUNT")
            else Mode.PAPER
        )
        try:
            BrokerSettings(_env_file=path, CQ_MODE=mode.value)  # type: ignore[call-arg]
        except ValidationError as e:
            problems += [error["msg"] for error in e.errors()]
        return _checked("settings", block, ", ".join(wanted), problems)

    def _command(self, command: Command) -> Row:
        text = PLACEHOLDER.sub(str(self._place.work), command.text)
        if command.kind is Kind.CHECK:
            return _row(command, "checked", self._why_not(text), remark="not run")
        before = {path.name for path in self._place.work.iterdir()}
        until = None
        if command.kind is Kind.ENDLESS:
            until = next((mark for name, mark in ENDLESS_SAYS.items() if name in text), "")
        ended = self._place.run(["bash", "-c", text], until=until)
        self._outputs[command.section] = ended.output
        fine = (
            next((status for name, status in EXAMINERS.items() if name in text), (0,)) if until is None else INTERRUPTED
        )
        problems = [] if ended.status in fine else [f"exit status {ended.status}"]
        if not self._place.is_left_clean:
            problems.append("a system is left running")
        odd = sorted(
            path.name for path in self._place.work.iterdir() if path.name.startswith("=") and path.name not in before
        )
        remark = f"the shell takes > for a redirection and wrote a file {odd[0]!r}: quote it" if odd else ""
        done = "ran" if until is None else "ran until Ctrl-C, stopped cleanly"
        if ended.status == UNAVAILABLE:
            remark = "it found what is missing, and said so (69)"
        return _row(command, done, problems, seconds=ended.seconds, remark=remark, output=ended.output)

    def _why_not(self, text: str) -> list[str]:
        """Say what is wrong with a command that is not run: its syntax, or files that are not there."""
        ended = self._place.run(["bash", "-n", "-c", text])
        problems = [ended.output] if ended.status else []
        units = {block.lead.rstrip(":").strip("`*").rpartition("/")[2] for block in self._blocks}
        units |= {path.name for path in (self._place.work / "deploy").rglob("*.*")}
        if text.startswith("make ") and f"\n{text.split()[1]}:" not in (ROOT / "Makefile").read_text():
            problems.append(f"the Makefile has no {text.split()[1]}")
        for word in re.findall(r"[\w.@/~-]+", text):
            name = word.rpartition("/")[2]
            if word.startswith("deploy/") and not list(self._place.work.glob(word)):
                problems.append(f"there is no {word}")
            elif name.endswith((".plist", ".service")) and name not in units:
                problems.append(f"the guide does not say what {name} is")
            elif "systemctl" in text and word not in ("sudo", "systemctl") and not word.startswith("-"):
                known = {unit.removesuffix(".service").removesuffix(".target") for unit in units}
                if word not in SYSTEMCTL and name.removesuffix(".service").removesuffix(".target") not in known:
                    problems.append(f"there is no unit {word} in the guide or in deploy/")
        return problems

    # -- Python

    def _python(self, blocks: list[Block]) -> Iterator[Row]:
        if not blocks:
            return
        asked = [
            {
                "number": block.number,
                "line": block.line,
                "code": self._place.here(block.code) if self._place.has_free_ports else block.code,
                "endless": [lines.start, lines.stop] if (lines := endless_lines(block.code)) else None,
                "borrowed": self._borrowed[block.number],
            }
            for block in blocks
        ]
        ended = self._place.run([sys.executable, "-m", "tests.guide.section"], said=json.dumps(asked), limit_s=900)
        marked = [line[len(section.MARK) :] for line in ended.output.splitlines() if line.startswith(section.MARK)]
        told = {one["number"]: one for one in map(json.loads, marked)}
        for block in blocks:
            yield self._block_row(block, told.get(block.number), ended.output)
        if ended.status != 0 or not self._place.is_left_clean:
            problems = (
                [f"the session ended with status {ended.status}"] if ended.status else ["a system is left running"]
            )
            yield _checked("block", blocks[-1], "end of the section", problems)

    def _block_row(self, block: Block, told: dict[str, object] | None, log: str) -> Row:
        remarks = []
        if self._borrowed[block.number]:
            remarks.append("with the imports of sections above")
        if is_live(block.code):
            remarks.append(f"live: looks at {LIVE}, orders are refused (P8)")
        if told is None:
            return Row("block", block.line, block.section, block.title, "did not end", False, output=log[-4000:])
        outcome, is_endless = str(told["outcome"]), endless_lines(block.code) is not None
        is_ok = outcome in ("ran", "exit 0") or (is_endless and outcome == "interrupted")
        if is_endless and is_ok:
            outcome = f"{outcome.replace('ran', 'interrupted')}, stopped cleanly"
        output = str(told["output"])
        if "✗" in output or "Failed to connect" in output:
            is_ok, outcome = False, f"{outcome}, but says ✗"
        return Row(
            "block", block.line, block.section, block.title, outcome, is_ok, float(str(told["seconds"])),
            "; ".join(remarks), output if is_ok else f"{output}\n{log[-4000:]}",
        )  # fmt: skip

    def modes(self) -> Iterator[Row]:
        """Ask what P8 promises."""
        ports = [str(port) for port in self._place.ports]
        ended = self._place.run([sys.executable, "-m", "tests.guide.modes", *ports], limit_s=120)
        for line in ended.output.splitlines():
            if line.startswith("{"):
                told = json.loads(line)
                answer = told["refusal"]
                yield Row(
                    "P8", 0, "", told["question"], "refused" if answer else "ALLOWED", bool(answer), remark=answer
                )
        if ended.status != 0:
            yield Row("P8", 0, "", "all of them", f"exit status {ended.status}", False, output=ended.output[-4000:])


UNAVAILABLE = ExitCode.UNAVAILABLE
SYSTEMCTL = frozenset({"enable", "start", "stop", "restart", "status", "disable", "daemon-reload"})


def _checked(kind: str, block: Block, what: str, problems: list[str]) -> Row:
    return Row(kind, block.line, block.section, what, "; ".join(problems) or "valid", not problems)


def _row(
    command: Command, done: str, problems: list[str], *, seconds: float = 0.0, remark: str = "", output: str = ""
) -> Row:
    return Row(
        "command", command.line, command.section, command.text, "; ".join(problems) or done, not problems, seconds,
        remark, output,
    )  # fmt: skip
