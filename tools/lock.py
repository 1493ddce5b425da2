"""Write the lock files: every package pinned, with the hashes of all its files, for every Python we support.

`requirements/<set>.txt` for each set of `SETS`. pip-tools resolves the largest set once per Python; the answers are
merged into one file, in which a pin that not every Python wants carries an environment marker. Wheels of all platforms
are in the hashes, so that one file serves Linux and macOS on both processors. The smaller sets are what their
requirements reach within the largest, so that all sets agree.

No line names a package index or a path of this machine: a lock must say what, never from where. After writing,
every requirement of every pinned package is checked for Linux and macOS on each Python (a marker may ask for more
there than on the machine that resolved).

Usage: .venv/bin/python tools/lock.py [--upgrade]
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "lock"
TARGET = ROOT / "requirements"
PYTHONS = ("3.11", "3.12", "3.13")
# name -> (extras of the project, what it is for). The first is resolved and holds the others.
SETS = {
    "dev": (("dev",), "everything: tests, lint, types, and what the demo needs (make test)"),
    "demo": (("demo", "build"), "the system with its simulator and an embedded Valkey (make demo)"),
    "runtime": ((), "what a worker needs, and no more (the container images)"),
}
# Wanted only where no machine that resolves is: on early patch releases, such as Debian 12's 3.11.2, and on macOS.
ELSEWHERE: dict[str, tuple[str, tuple[str, ...]]] = {
    "async-timeout": ('python_full_version < "3.11.3"', ("3.11",)),
    "appnope": ('platform_system == "Darwin"', PYTHONS),
}
Pins = dict[str, tuple[str, ...]]  # "name==version" -> hashes


def wanted(extras: tuple[str, ...]) -> list[str]:
    """Return the requirements of the project with `extras`, its references to itself resolved."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = list(project["dependencies"])
    todo = list(extras)
    while todo:
        for line in project["optional-dependencies"][todo.pop()]:
            requirement = Requirement(line)
            if canonicalize_name(requirement.name) == canonicalize_name(project["name"]):
                todo += sorted(requirement.extras)
            else:
                found.append(line)
    return sorted(set(found))


def resolver(version: str) -> Path:
    """Return a pip-compile that runs on this Python, made on first use."""
    home = CACHE / version
    program = home / "bin" / "pip-compile"
    if not program.exists():
        python = shutil.which(f"python{version}")
        if python is None:
            sys.exit(f"make lock needs python{version} on the PATH: a lock file is resolved on every Python we support")
        subprocess.run([python, "-m", "venv", "--clear", str(home)], check=True)
        pinned = f"pip-tools=={metadata.version('pip-tools')}"
        subprocess.run([str(home / "bin" / "pip"), "install", "-q", pinned], check=True)
    return program


def resolve(version: str, *, upgrade: bool) -> Pins:
    """Return the pins of the dev set on one Python."""
    source, answer, seed = CACHE / f"dev-{version}.in", CACHE / f"dev-{version}.txt", TARGET / "dev.txt"
    more_packages = [name for name, (_, pythons) in ELSEWHERE.items() if version in pythons]
    source.write_text("\n".join([*wanted(SETS["dev"][0]), *more_packages]) + "\n")
    if not answer.exists() and seed.exists():
        answer.write_text("\n".join(lines_for(seed, version)) + "\n")
    flags = ["--generate-hashes", "--allow-unsafe", "--strip-extras", "--no-header", "--no-annotate", "-q"]
    quiet = ["--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links"]
    more = ["--upgrade"] if upgrade else []
    print(f"resolving on Python {version} …", flush=True)
    command = [str(resolver(version)), *flags, *quiet, *more, "--output-file", str(answer), str(source)]
    subprocess.run(command, check=True)
    return parse(answer.read_text())


def environments() -> Iterator[dict[str, str]]:
    """Yield what markers are asked about: every Python, early and late, on every system and processor."""
    systems = [("Linux", "linux", "x86_64"), ("Linux", "linux", "aarch64")]
    systems += [("Darwin", "darwin", "x86_64"), ("Darwin", "darwin", "arm64")]
    for version in PYTHONS:
        for patch in ("0", "9"):
            for system, platform, machine in systems:
                yield {
                    "python_version": version,
                    "python_full_version": f"{version}.{patch}",
                    "platform_system": system,
                    "sys_platform": platform,
                    "platform_machine": machine,
                    "implementation_name": "cpython",
                    "platform_python_implementation": "CPython",
                    "os_name": "posix",
                    "extra": "",
                }


def reached(roots: list[str]) -> set[str]:
    """Return the names of all packages that `roots` need on any platform and Python."""
    todo = [Requirement(root) for root in roots]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            everywhere = [{**env, "extra": extra} for env in environments()]
            todo += [r for r in requires(name) if r.marker is None or any(map(r.marker.evaluate, everywhere))]
    return {name for name, _ in seen}


def subset(text: str, roots: list[str]) -> str:
    """Return the blocks of a lock that `roots` reach."""
    names = reached(roots)
    blocks = re.findall(r"^[a-z].*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    return "".join(block for block in blocks if canonicalize_name(block.split("==", 1)[0]) in names)


def lines_for(lock: Path, version: str) -> list[str]:
    """Return the pins of a lock file that hold on this Python, without hashes: where a new resolution starts."""
    found = []
    for line in re.findall(r"^[a-z][^\\\n]*", lock.read_text(), re.MULTILINE):
        requirement = Requirement(line.strip())
        if requirement.marker is None or requirement.marker.evaluate({"python_version": version}):
            found.append(f"{requirement.name}{requirement.specifier}")
    return found


def parse(text: str) -> Pins:
    """Read pip-compile's output."""
    pins: dict[str, tuple[str, ...]] = {}
    for block in re.findall(r"^[a-zA-Z].*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL):
        head = block.split("\\", 1)[0].split(";", 1)[0].strip()
        pins[head] = tuple(sorted(set(re.findall(r"--hash=(sha256:[0-9a-f]{64})", block))))
    return pins


def merge(answers: dict[str, Pins]) -> str:
    """Return one text for all Pythons; markers where they differ."""
    blocks = []
    for pin in sorted({pin for pins in answers.values() for pin in pins}):
        having = [version for version in PYTHONS if pin in answers[version]]
        marker = "" if len(having) == len(PYTHONS) else " or ".join(f'python_version == "{v}"' for v in having)
        elsewhere = ELSEWHERE.get(pin.split("==", 1)[0])
        marker = elsewhere[0] if elsewhere else marker
        hashes = sorted({h for version in having for h in answers[version][pin]})
        if not hashes:
            sys.exit(f"{pin} came without a hash: is it a local file?")
        head = f"{pin} ; {marker}" if marker else pin
        blocks.append(" \\\n".join([head, *(f"    --hash={h}" for h in hashes)]))
    return "\n".join(blocks) + "\n"


def missing(lock: str) -> list[str]:
    """Return what a pinned package asks for on some platform and Python and the lock does not have there."""
    pins = [Requirement(line.strip()) for line in re.findall(r"^[a-z][^\\\n]*", lock, re.MULTILINE)]
    complaints = set()
    for env in environments():
        here = {canonicalize_name(r.name) for r in pins if r.marker is None or r.marker.evaluate(env)}
        where = f"{env['sys_platform']} {env['platform_machine']}, Python {env['python_full_version']}"
        for name in here:
            for needed in requires(name):
                wanted_here = needed.marker is None or needed.marker.evaluate(env)
                if wanted_here and canonicalize_name(needed.name) not in here:
                    complaints.add(f"{name} wants {needed.name} on {where}")
    return sorted(complaints)


@cache
def requires(name: str) -> tuple[Requirement, ...]:
    """Return what the installed package asks for, markers included."""
    try:
        return tuple(Requirement(line) for line in metadata.requires(name) or [])
    except metadata.PackageNotFoundError:
        return ()  # wanted on another Python only


def install_if_newer(text: str) -> None:
    """Bring `.venv` to the new lock, because the requirements of its packages are read from there."""
    for name, version in re.findall(r"^([a-z0-9.-]+)==(\S+)", text, re.MULTILINE):
        try:
            if metadata.version(name) == version:
                continue
        except metadata.PackageNotFoundError:
            continue
        subprocess.run([str(ROOT / "tools" / "setup.sh"), "dev"], check=True)
        return


def main() -> None:
    """Resolve, merge, write, check."""
    CACHE.mkdir(parents=True, exist_ok=True)
    TARGET.mkdir(exist_ok=True)
    everything = merge({version: resolve(version, upgrade="--upgrade" in sys.argv[1:]) for version in PYTHONS})
    for name, (extras, purpose) in SETS.items():
        text = everything if name == "dev" else subset(everything, wanted(extras))
        header = f"# {name}: {purpose}.\n# Written by `make lock` for Python {', '.join(PYTHONS)}, Linux and macOS.\n"
        (TARGET / f"{name}.txt").write_text(header + text)
        if name == "dev":
            install_if_newer(text)
        complaints = missing(text)
        if complaints:
            sys.exit("\n".join([f"requirements/{name}.txt is incomplete:", *complaints]))
        print(f"requirements/{name}.txt: {len(re.findall('^[a-z]', text, re.MULTILINE))} packages")


if __name__ == "__main__":
    main()
