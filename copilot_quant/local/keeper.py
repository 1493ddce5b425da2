"""Run supervisord for a local system and outlive both: nothing stays behind when the system's own process is killed.

`python -m copilot_quant.local.keeper` leads a session of its own, with supervisord and every process under it as
members, and holds the reading end of a pipe whose other end only the system's process has. So it learns

1. of that process's death, SIGKILL included (the kernel closes the pipe): it stops supervisord in an orderly way, kills
   what is left and removes the directory of the run, passwords included;
2. of supervisord's death: it kills what supervisord leaves, so that no service goes on unsupervised;
3. of an orderly stop (SIGTERM): the same without removing files, which the system may want to keep.

Works by sessions and pipes alone, so on Linux and macOS alike. Known limit: if the keeper and the system's process are
both killed with SIGKILL, supervisord goes on; a process that starts a session of its own is not found.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from copilot_quant.local.run_file import remove_run_file
from shared.clock import NS_PER_S, SYSTEM_CLOCK

ORDERLY_STOP_S = 30.0
KILLING_S = 3.0


def members(session: int) -> list[int]:
    """Return the process ids of a session, without this process."""
    if Path("/proc/self/stat").exists():
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    else:
        listed = subprocess.run(["/bin/ps", "-A", "-o", "pid="], capture_output=True, text=True, check=True)
        pids = [int(word) for word in listed.stdout.split()]
    return [pid for pid in pids if pid != os.getpid() and _session_of(pid) == session]


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1  # gone meanwhile, or not ours to ask about


def kill_session(session: int) -> None:
    """Kill every other process of a session; ask again until none is left, since the dying may still start others."""
    deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(KILLING_S * NS_PER_S)
    while (left := members(session)) and SYSTEM_CLOCK.monotonic_ns() < deadline_ns:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended meanwhile
        SYSTEM_CLOCK.block(0.05)


class Keeper:
    """One supervisord, started at once and watched by `run`."""

    def __init__(self, config: Path) -> None:
        self._wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write)
        self._asked_to_stop = False
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake the waiting below
        command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-n", "-c", str(config)]
        self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def _ask_to_stop(self, *_: object) -> None:
        self._asked_to_stop = True

    def run(self) -> bool:
        """Wait for a reason to end, end everything, and say whether the system's process is dead."""
        is_orphaned = False
        while not (is_orphaned or self._asked_to_stop or self._child.poll() is not None):
            ready, _, _ = select.select([sys.stdin, self._wake_read], [], [])
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
            is_orphaned = sys.stdin in ready
        self._stop()
        return is_orphaned

    def _stop(self) -> None:
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(ORDERLY_STOP_S)
            except subprocess.TimeoutExpired:
                self._child.kill()  # it hangs
                self._child.wait()
        kill_session(os.getsid(0))


def main(arguments: list[str] | None = None) -> int:
    """Keep supervisord until somebody ends; return its exit status."""
    parser = argparse.ArgumentParser(prog="keeper", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, help="remove this directory if the system's process dies")
    parser.add_argument("--directory", type=Path, default=Path(), help="where the run file is")
    options = parser.parse_args(arguments)
    keeper = Keeper(options.config)
    if keeper.run() and options.run_dir is not None:
        remove_run_file(options.directory, options.run_dir)
        shutil.rmtree(options.run_dir, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
