"""Strategy workers as real processes that start in milliseconds: forked from a server that has imported everything.

Each is the service's own main with settings of its own; it can be killed, stopped and drained like any other process.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["services.strategy.__main__", "tests.chaos.witness"])


def _main(env: Mapping[str, str], log: str) -> None:
    """Be a worker until told to stop; what it says goes to a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the drill's: it drains the workers itself
    os.environ.clear()
    os.environ.update(env)
    from services.strategy.__main__ import run

    run()


class WorkerPool:
    """The workers of one drill, by name.

    Args:
        env: settings of every worker; `CQ_INSTANCE` is added.
        logs: folder of one file per worker.
    """

    def __init__(self, env: Mapping[str, str], logs: Path) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._env = {**kept, **env, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._logs = logs
        self._running: dict[str, BaseProcess] = {}
        self._stopped: set[str] = set()

    @property
    def names(self) -> list[str]:
        """Return the workers that were started and not ended."""
        return list(self._running)

    def start(self, name: str) -> None:
        """Start a worker, a dead one of that name anew."""
        env = {**self._env, "CQ_INSTANCE": name}
        process = _CONTEXT.Process(target=_main, args=(env, str(self._logs / f"{name}.log")))
        process.start()
        self._running[name] = process

    def kill(self, name: str) -> None:
        """Kill a worker at once (SIGKILL)."""
        process = self._running.pop(name)
        process.kill()
        process.join(10)
        self._stopped.discard(name)

    def stop(self, name: str) -> None:
        """Stop a worker in its tracks (SIGSTOP): its connections stay, it does nothing."""
        self._signal(name, signal.SIGSTOP)
        self._stopped.add(name)

    def go_on(self, name: str) -> None:
        """Let a stopped worker go on as if nothing had happened (SIGCONT)."""
        if name in self._stopped:
            self._signal(name, signal.SIGCONT)
            self._stopped.discard(name)

    def drain(self, name: str, limit_s: float = 20.0) -> None:
        """Scale down: ask a worker to give up its units and end (SIGTERM).

        Raises:
            TimeoutError: it does not end.
        """
        self.go_on(name)
        process = self._running.pop(name)
        process.terminate()
        process.join(limit_s)
        if process.exitcode is None:
            process.kill()
            process.join(10)
            raise TimeoutError(f"{name} did not end within {limit_s:g} s of SIGTERM")

    def dead(self) -> dict[str, int]:
        """Return the workers that ended by themselves, with their exit status."""
        return {name: one.exitcode for name, one in self._running.items() if one.exitcode is not None}

    def _signal(self, name: str, number: signal.Signals) -> None:
        pid = self._running[name].pid
        if pid is not None:
            os.kill(pid, number)

    def end(self) -> None:
        """Kill whatever still runs."""
        for name in list(self._running):
            self.kill(name)
