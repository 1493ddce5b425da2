"""The place where a guide is followed: a folder as a fresh clone has it, and two simulated TWS.

Everything that the guide's reader changes (`.env`, logs, what a deployment knows) is in the folder and goes with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support import ROOT, Spawner, clean_environment, free_port

SHARED_FILES = (
    ".env.example",
    "README.md",
    "deploy",
    "docs",
    "examples",
    "requirements",
    "requirements.txt",
    "strategies",
)
PAPER, LIVE = "DUB267514", "U1234567"
PAPER_PORT, LIVE_PORT = 7497, 7496
STOP_LIMIT_S = 40.0
RUN_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended; `status` is None where it had to be killed."""

    status: int | None
    output: str
    seconds: float


class Place:
    """A folder and the two exchanges.

    Args:
        has_free_ports: any ports instead of 7497 and 7496, for machines on which other tests run.
    """

    def __init__(self, *, has_free_ports: bool = False) -> None:
        self.has_free_ports = has_free_ports
        self.ports = (free_port(), free_port()) if has_free_ports else (PAPER_PORT, LIVE_PORT)
        self.folder = Path(tempfile.mkdtemp(prefix="cq-guide-"))
        self.work = self.folder / "copilot_quant"
        self.work.mkdir()
        for name in SHARED_FILES:
            (self.work / name).symlink_to(ROOT / name)
        (self.work / ".venv").symlink_to(Path(sys.prefix))
        self._spawner = Spawner(self.folder)

    def open(self) -> None:
        """Start both exchanges.

        Raises:
            OSError: something listens on one of the ports already.
        """
        for port, account in zip(self.ports, (PAPER, LIVE), strict=True):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
            env = {
                "SIM_ACCOUNTS": account,
                "SIM_PORT": str(port),
                "SIM_HTTP_PORT": str(free_port()),
                "SIM_TICK_RATE": "3",
            }
            exchange = self._spawner("services.simulator", env=env, name=f"tws-{account}")
            exchange.wait_for_output("exchange.opened", 120)

    def write_settings(self) -> None:
        """Write the `.env` that the quick start ends with."""
        (self.work / ".env").write_text(f"IB_PAPER_ACCOUNT={PAPER}\nIB_LIVE_ACCOUNT={LIVE}\n")

    def close(self) -> None:
        """Stop the exchanges and remove the folder."""
        for process in self._spawner.processes:
            process.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def env(self) -> dict[str, str]:
        """Return the environment of a shell in the folder; settings come from its `.env`."""
        env = clean_environment()
        del env["CQ_ENV_FILE"]
        if self.has_free_ports:
            env |= {"IB_PAPER_PORT": str(self.ports[0]), "IB_LIVE_PORT": str(self.ports[1])}
        return {**env, "PATH": f"{Path(sys.prefix) / 'bin'}:{env['PATH']}", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def here(self, code: str) -> str:
        """Return code with the ports of this place."""
        return code.replace("7497", str(self.ports[0])).replace("7496", str(self.ports[1]))

    @property
    def is_left_clean(self) -> bool:
        """Say whether no system runs here any more."""
        return not (self.work / ".cq" / "run.json").exists()

    def run(
        self, command: list[str], *, said: str = "", until: str | None = None, limit_s: float = RUN_LIMIT_S,
        env: Mapping[str, str] | None = None,
    ) -> Ended:  # fmt: skip
        """Run a program to its end; with `until` it gets a Ctrl-C three seconds after it printed that."""
        began = time.monotonic()
        log = (self.folder / "output.log").open("w+b")
        process = subprocess.Popen(
            command, cwd=self.work, env={**self.env, **(env or {})}, stdin=subprocess.PIPE, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        if until is not None:
            threading.Thread(target=self._interrupt, args=(process, until), daemon=True).start()
        try:
            process.communicate(said.encode(), timeout=limit_s)
            status: int | None = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = None
        log.seek(0)
        with log:
            return Ended(status, log.read().decode(errors="replace"), round(time.monotonic() - began, 1))

    def _interrupt(self, process: subprocess.Popen[bytes], until: str) -> None:
        deadline = time.monotonic() + RUN_LIMIT_S - STOP_LIMIT_S
        while process.poll() is None and time.monotonic() < deadline:
            if until in (self.folder / "output.log").read_text(errors="replace"):
                break
            time.sleep(0.2)
        time.sleep(3.0)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
