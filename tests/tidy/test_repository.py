"""Rules about the repository itself: what a review would otherwise have to notice every time."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.support import ROOT

PACKAGES = ("shared", "services", "copilot_quant")
RATCHET = ROOT / "tests" / "tidy" / "untested.txt"
MAX_LINES = 400
# A longer file needs a line here with the reason why it has one reason to change all the same.
LONG_FILES = ROOT / "tests" / "tidy" / "long_files.txt"
# Wiring and entry points, run by integration tests; package markers; a service's own numbers.
WITHOUT_TEST = {"__init__", "__main__", "app", "metrics"}


@cache
def tracked() -> tuple[str, ...]:
    """Return every file of the repository that exists: tracked, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return tuple(sorted(name for name in names if (ROOT / name).is_file()))


def python_files(*folders: str) -> list[str]:
    return [name for name in tracked() if name.endswith(".py") and name.startswith(tuple(f"{f}/" for f in folders))]


def listed(path: Path) -> dict[str, str]:
    """Read lines of `path  # reason`."""
    rows = (line.partition("#") for line in path.read_text().splitlines() if line.strip() and not line.startswith("#"))
    return {name.strip(): reason.strip() for name, _, reason in rows}


def text_of(name: str) -> str:
    try:
        return (ROOT / name).read_text()
    except UnicodeDecodeError:
        return ""  # a picture or a font


@cache
def imported_by_tests() -> frozenset[str]:
    """Return every module that a test file names in an import."""
    found: set[str] = set()
    for name in python_files("tests"):
        for node in ast.walk(ast.parse(text_of(name), name)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def modules_without_test() -> list[str]:
    """Return modules that no test imports and no test file is named after."""
    tests = [Path(name) for name in python_files("tests")]
    found = []
    for name in python_files(*PACKAGES):
        path = Path(name)
        if path.stem in WITHOUT_TEST or ".".join(path.with_suffix("").parts) in imported_by_tests():
            continue
        # test_bars.py of another service proves nothing about this one: the folder has to fit, too.
        owner = path.parts[1] if path.parts[0] == "services" else path.parts[0]
        if not any(test.name == f"test_{path.stem}.py" and owner in test.parts for test in tests):
            found.append(name)
    return found


def test_every_module_has_a_test_file() -> None:
    known = listed(RATCHET)
    new = [name for name in modules_without_test() if name not in known]
    assert not new, f"modules without a test (tests/unit/<same path>/test_<module>.py): {new}"


def test_the_list_of_untested_modules_only_shrinks() -> None:
    stale = sorted(set(listed(RATCHET)) - set(modules_without_test()))
    assert not stale, f"tested or gone by now: take them out of {RATCHET.relative_to(ROOT)}: {stale}"


def test_long_files_have_a_reason() -> None:
    reasons = listed(LONG_FILES)
    for name in python_files(*PACKAGES, "tests", "tools", "bench"):
        lines = len(text_of(name).splitlines())
        assert lines <= MAX_LINES or reasons.get(name), f"{name} has {lines} lines: split it, or give a reason"


def test_no_reason_is_kept_for_a_short_file() -> None:
    for name in listed(LONG_FILES):
        path = ROOT / name
        assert path.exists(), f"{name} is gone: take it out of long_files.txt"
        assert len(path.read_text().splitlines()) > MAX_LINES, f"{name} is short now: take it out of long_files.txt"


def test_no_package_registry_is_named() -> None:
    hosts = ["pypi" + ".org", "python" + "hosted", "registry.npm" + "js", "--index" + "-url", "--extra-index" + "-url"]
    hosts += ["--find" + "-links", "--trusted" + "-host"]
    allowed = {"tools/lock.py"}  # tells pip-tools not to write any of them
    for name in tracked():
        if name not in allowed:
            seen = [host for host in hosts if host in text_of(name)]
            assert not seen, f"{name} names {seen}: a lock says what, never from where"


def test_nothing_listens_on_every_interface_outside_containers() -> None:
    everywhere = "0.0.0" + ".0"
    inside_containers = re.compile(r"(^|/)(docker-compose[^/]*\.yml|Dockerfile[^/]*)$|^deploy/|^docs/.*\.md$|\.md$")
    for name in tracked():
        if not inside_containers.search(name) and not name.startswith("tests/"):
            assert everywhere not in text_of(name), f"{name} listens on every interface"


@pytest.mark.parametrize("name", python_files(*PACKAGES, "tools", "bench"))
def test_nothing_runs_what_it_reads(name: str) -> None:
    tree = ast.parse(text_of(name), name)
    for node in ast.walk(tree):
        modules: set[str] = set()
        if isinstance(node, ast.Import):
            modules = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules = {node.module or ""}
        assert not {"pickle", "marshal", "shelve", "dill"} & modules, f"{name} can run what it reads: {modules}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec"), f"{name}:{node.lineno} runs text"


def test_no_test_folder_is_a_package() -> None:
    found = {name for name in python_files("tests") if name.endswith("__init__.py")}
    # The top is one: eventkit installs a `tests` of its own, and a package wins over a folder.
    assert found == {"tests/__init__.py"}, f"tests are found by path (importmode=importlib): {found}"


def test_every_make_target_has_a_help_line() -> None:
    text = text_of("Makefile")
    targets = set(re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE))
    helped = set(re.findall(r"^([a-z][a-z-]*):.*## \S", text, re.MULTILINE))
    phony = set(" ".join(re.findall(r"^\.PHONY:(.*)$", text, re.MULTILINE)).split())
    assert targets == helped, f"without help: {sorted(targets - helped)}"
    assert targets == phony, f"not in .PHONY: {sorted(targets ^ phony)}"


def test_make_prints_one_line_per_target() -> None:
    done = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    targets = set(re.findall(r"^([a-z][a-z-]*):", text_of("Makefile"), re.MULTILINE))
    assert {line.split()[1] for line in done.stdout.splitlines()} == targets


def fake_python(folder: Path, name: str, answer: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)


@pytest.mark.process
@pytest.mark.parametrize(
    "answer, expected",
    [
        ("exit 1", "Python 3.11, 3.12 or 3.13 is needed"),
        (
            'case "$2" in *print*version_info*) echo python3.11-venv;; *ensurepip*) exit 1;; esac',
            "lacks the venv module",
        ),
    ],
    ids=["too old", "without venv"],
)
def test_setup_says_in_one_line_what_to_type(tmp_path: Path, answer: str, expected: str) -> None:
    # A copy, so that no .venv of this checkout can answer for the machine.
    home, programs = tmp_path / "clone", tmp_path / "bin"
    programs.mkdir()
    for name in ("pyproject.toml", "tools/setup.sh", "requirements/demo.txt", "requirements/dev.txt"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes((ROOT / name).read_bytes())
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        fake_python(programs, name, answer)
    env = {"PATH": f"{programs}:{os.defpath}"}
    command = ["/bin/sh", "tools/setup.sh", "demo"]
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert not done.stdout
    (line,) = done.stderr.splitlines()
    assert expected in line
    assert "type: sudo apt install python3" in line or "type: brew install python@" in line
    assert not (home / ".venv").exists()
