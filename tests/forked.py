"""Start services from a process that has imported them already: the same program, without a second of imports each.

The tests of one run start some three hundred services; importing is most of what that costs. Each is a process of its
own all the same, with its own session, environment, folder and output, and ends by its own exit or a signal. Only on
Linux: elsewhere a process that was forked cannot be relied on.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

SERVICES = ("simulator", "gateway", "risk", "strategy", "marketdata", "guard", "monitoring")


def service_of(command: Sequence[str]) -> str:
    """Return the module of a service that `command` runs and that can be forked here, else ""."""
    is_module = sys.platform == "linux" and list(command[:2]) == [sys.executable, "-m"]
    return command[2] if is_module and command[2] in [f"services.{name}" for name in SERVICES] else ""


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", *(f"services.{name}.app" for name in SERVICES)])
    return context


def _be(module: str, arguments: Sequence[str], env: Mapping[str, str], directory: Path, log_path: Path) -> None:
    os.setsid()
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    for path, flags, numbers in ((os.devnull, os.O_RDONLY, (0,)), (log_path, os.O_WRONLY | os.O_APPEND, (1, 2))):
        opened = os.open(path, flags)
        for number in numbers:
            os.dup2(opened, number)
        os.close(opened)
    sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
    sys.argv[1:] = arguments
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()


class Forked:
    """A service of which `subprocess.Popen`'s words are understood that tests use."""

    def __init__(
        self, module: str, arguments: Sequence[str], env: Mapping[str, str], directory: Path, log_path: Path
    ) -> None:
        log_path.touch()
        self._process = _context().Process(
            target=_be, args=(module, list(arguments), dict(env), directory, log_path), daemon=True
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit status (negative: the signal that ended it), or None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout or 0.0)
        return status
