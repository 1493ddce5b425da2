"""Check files that other programs read: systemd units, launchd plists, tasks of Windows' Task Scheduler.

Each check returns what is wrong, in sentences; an empty list is a file that its program will take, as far as that can
be known on this machine.
"""

from __future__ import annotations

import configparser
import plistlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError

TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
PROGRAM = re.compile(r"^(Exec\w+=[-@:+!]*)(/\S+)", re.MULTILINE)
HOME = re.compile(r"YOUR_USERNAME")


def unit_problems(text: str, name: str = "guide.service") -> list[str]:
    """Check a systemd unit: its structure, and by systemd's own eyes where it is installed."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
    except configparser.Error as e:
        return [f"it cannot be read: {e}"]
    found = [f"there is no [{each}]" for each in ("Unit", "Install") if not parser.has_section(each)]
    if name.endswith(".service"):
        program = parser.get("Service", "ExecStart", fallback="")
        if not program.lstrip("-@:+!").startswith("/"):
            found.append(f"ExecStart needs an absolute path, not {program!r}")
    return found or _verified(text, name)


def _verified(text: str, name: str) -> list[str]:
    """Ask `systemd-analyze verify`; programs and users of another machine are stood in for."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return []
    true = shutil.which("true") or "/bin/true"
    text = PROGRAM.sub(
        lambda found: f"{found[1]}{found[2] if Path(found[2]).exists() else true}", HOME.sub("root", text)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(text)
        done = subprocess.run([analyze, "verify", "--man=no", str(path)], capture_output=True, text=True, timeout=30)
    return [line for line in done.stderr.splitlines() if name in line and "not found" not in line]


def plist_problems(text: str) -> list[str]:
    """Check a launchd property list."""
    try:
        content = plistlib.loads(text.encode())
    except (plistlib.InvalidFileException, ValueError, ExpatError) as e:
        return [f"it is no property list: {e}"]
    found = [f"there is no {name}" for name in ("Label", "ProgramArguments") if not content.get(name)]
    arguments = content.get("ProgramArguments", [])
    if arguments and not str(arguments[0]).startswith("/"):
        found.append(f"the program needs an absolute path, not {arguments[0]!r}")
    return found


def task_problems(text: str) -> list[str]:
    """Check a task of Windows' Task Scheduler: version, a trigger, and a program to start."""
    try:
        root = ElementTree.fromstring(text.encode("utf-16") if "UTF-16" in text[:60] else text)
    except ElementTree.ParseError as e:
        return [f"it is no XML: {e}"]
    found = [] if root.tag == f"{TASK}Task" and root.get("version") else ["it is no Task with a version"]
    for path, what in (("Triggers/", "a trigger"), ("Actions/Exec/Command", "a program to start")):
        steps = "/".join(f"{TASK}{step}" if step else "*" for step in path.split("/"))
        if root.find(steps) is None:
            found.append(f"there is no {what.removeprefix('a ')}")
    return found


def xml_problems(text: str) -> list[str]:
    """Check an XML file of either kind."""
    return plist_problems(text) if "<plist" in text else task_problems(text)
