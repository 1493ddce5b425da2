"""Let commands in another terminal find a local system that is running.

The system writes `.cq/run.json` (mode 0600) into the directory it was started in; `cq status`, `cq order` and the
others read it when the environment names no Redis. It is removed at the stop and ignored when its process is gone.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from shared.errors import Refused

RUN_FILE = Path(".cq") / "run.json"
PROBE_S = 1.0


@dataclass(frozen=True, slots=True)
class RunningSystem:
    """Where a running local system is; `env` are the settings an operator's command needs.

    These lead to the guard; `broker` is the address of TWS or IB Gateway behind it, as `host:port`.
    """

    pid: int
    run_dir: str
    mode: str
    status_page: str
    simulator_http: str
    guard_http: str
    env: Mapping[str, str]
    broker: str = ""


def write_run_file(system: RunningSystem, directory: Path) -> Path:
    """Write the run file of `directory` and return its path."""
    path = directory / RUN_FILE
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(system), file, indent=1)
    return path


def read_run_file(directory: Path) -> RunningSystem | None:
    """Return the system running in `directory` or one of its parents, None if there is none."""
    for folder in (directory, *directory.parents):
        path = folder / RUN_FILE
        try:
            content = json.loads(path.read_text())
            system = RunningSystem(**content)
            os.kill(system.pid, 0)
        except (OSError, ValueError, TypeError):
            continue
        return system
    return None


def refuse_second(directory: Path) -> None:
    """Let nobody start a system where commands lead to another one: they would lose sight of that.

    Its guard has to answer: after a crash of the machine the number of its process may be another program's.

    Raises:
        Refused: a system runs in `directory` itself; one in a parent directory may.
    """
    system = read_run_file(directory) if (directory / RUN_FILE).is_file() else None
    if system is not None and _answers(system.guard_http):
        raise Refused(
            "ANOTHER_SYSTEM",
            f"a system in {system.mode} mode (process {system.pid}) runs in this directory, and `cq` leads to it: stop "
            "it, or start this one in a directory of its own",
        )


def _answers(address: str) -> bool:
    host, _, port = address.rpartition("//")[2].partition(":")
    try:
        socket.create_connection((host, int(port)), PROBE_S).close()
    except (OSError, ValueError):
        return False
    return True


def remove_run_file(directory: Path, run_dir: Path) -> None:
    """Remove the run file of `directory` if it is that of `run_dir`, and its folder if that leaves it empty."""
    path = directory / RUN_FILE
    try:
        if json.loads(path.read_text())["run_dir"] != str(run_dir):
            return  # another system was started here meanwhile
        path.unlink()
        path.parent.rmdir()
    except (OSError, ValueError, LookupError):
        pass  # it is gone already, or somebody keeps other files there
