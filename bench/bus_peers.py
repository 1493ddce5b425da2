"""Typed quotes through Redis in programs that ours is measured beside, each in a process and an environment of its own.

`python -m tools.peers --bench` installs them; what is not there is left out and said.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.measuring import Spent
from bench.server import BenchServer
from tools.peers import CACHE, is_installed

HERE = Path(__file__).parent
PROGRAMS = {"faststream": "peer_bus_faststream.py", "nautilus_trader": "peer_bus_nautilus.py"}
TICKS = 20_000
"""Fewer than ours is given: they are slower, and their rates do not depend on how many there are."""
LIMIT_S = 300.0


def installed() -> list[str]:
    """Return the programs that can be measured here; say which cannot."""
    for name in PROGRAMS:
        if not is_installed(name):
            print(f"  without {name}: `python -m tools.peers --bench` installs it", file=sys.stderr)
    return [name for name in PROGRAMS if is_installed(name)]


def run(name: str, server: BenchServer) -> tuple[Spent, Spent, str]:
    """Return what publishing and consuming `TICKS` quotes took, and the program's version."""
    server.flush()
    paths = f"{HERE.parent}{os.pathsep}{CACHE / name}"
    done = subprocess.run(
        [sys.executable, str(HERE / PROGRAMS[name]), str(server.port), str(TICKS)],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False, timeout=LIMIT_S,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip()[-500:]}")
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    out, back = (Spent(said[f"{way}_s"], said[f"{way}_cpu_s"]) for way in ("publish", "consume"))
    return out, back, said["version"]
