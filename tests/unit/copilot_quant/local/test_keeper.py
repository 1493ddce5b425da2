"""Real processes, really killed: whoever dies, nothing of a local system is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from copilot_quant.local.keeper import members
from copilot_quant.local.processes import Process
from copilot_quant.local.run_file import RunningSystem, read_run_file, remove_run_file, write_run_file
from copilot_quant.local.supervision import Supervisor
from tests.support import ROOT, Spawner, eventually_sync

SYSTEM = """
import os, sys, time
from pathlib import Path
from copilot_quant.local.processes import Process
from copilot_quant.local.run_file import RunningSystem, write_run_file
from copilot_quant.local.supervision import Supervisor
run_dir, directory, keep = Path(sys.argv[1]), Path(sys.argv[2]), len(sys.argv) > 3
two = Process("two", ("sh", str(run_dir / "two.sh")), 2, {}, 1)
supervisor = Supervisor(run_dir, [Process("one", ("sleep", "300"), 1), two], directory, keep_files=keep)
supervisor.start()
write_run_file(RunningSystem(os.getpid(), str(run_dir), "sim", "", "", "", {}), directory)
print("session", supervisor._child.pid, flush=True)
time.sleep(300)
"""
STUBBORN = "trap '' TERM\nsleep 300 &\nwhile true; do wait; done\n"


@pytest.fixture
def start(spawn: Spawner, tmp_path: Path) -> Callable[..., tuple[int, int]]:
    """Start a system of two processes, one of which has a child and ignores SIGTERM; return its pid and session."""

    def started(*more: str) -> tuple[int, int]:
        run_dir = tmp_path / "run"
        run_dir.mkdir()
        (run_dir / "two.sh").write_text(STUBBORN)
        process = spawn.command(
            [sys.executable, "-c", SYSTEM, str(run_dir), str(tmp_path), *more], env={"PYTHONPATH": str(ROOT)}
        )
        output = process.wait_for_output("session ", 30)
        session = int(output.split("session ")[1].split()[0])
        eventually_sync(lambda: len(living(session)) >= 5)  # keeper, supervisord, one, two, its child
        return process.pid, session

    return started


def living(session: int) -> list[int]:
    """Return the members that are no zombies: without an init process, as in some containers, orphans stay as those."""
    found = []
    for pid in members(session):
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
        if state.strip() and not state.strip().startswith("Z"):
            found.append(pid)
    return found


def supervisord_of(session: int) -> int:
    for pid in living(session):
        command = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True).stdout
        if "supervisor.supervisord" in command:
            return pid
    raise AssertionError("no supervisord")


@pytest.mark.process
def test_a_system_whose_own_process_is_killed_leaves_no_process_and_no_file(
    start: Callable[..., tuple[int, int]], tmp_path: Path
) -> None:
    pid, session = start()
    assert read_run_file(tmp_path) is not None
    os.kill(pid, signal.SIGKILL)
    eventually_sync(lambda: not living(session), 30)
    eventually_sync(lambda: not (tmp_path / "run").exists())
    assert not (tmp_path / ".cq").exists()


@pytest.mark.process
def test_files_that_are_to_be_kept_are_kept(start: Callable[..., tuple[int, int]], tmp_path: Path) -> None:
    pid, session = start("keep")
    os.kill(pid, signal.SIGKILL)
    eventually_sync(lambda: not living(session), 30)
    assert (tmp_path / "run" / "supervisord.log").exists()


@pytest.mark.process
def test_nothing_goes_on_without_supervisord(start: Callable[..., tuple[int, int]], tmp_path: Path) -> None:
    _, session = start()
    os.kill(supervisord_of(session), signal.SIGKILL)
    eventually_sync(lambda: not living(session), 10)
    assert (tmp_path / "run").exists(), "the system's process lives: the files are its own"


@pytest.mark.process
def test_an_orderly_stop_ends_what_a_killed_keeper_left(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, [Process("one", ("sleep", "300"), 1)], ROOT)
    supervisor.start()
    assert supervisor._child is not None
    session = supervisor._child.pid
    eventually_sync(lambda: len(living(session)) == 3)
    os.kill(session, signal.SIGKILL)
    eventually_sync(lambda: not supervisor.is_running)
    assert living(session), "supervisord is still there: only both killed at once would leave it"
    supervisor.stop()
    eventually_sync(lambda: not living(session))


@pytest.mark.process
def test_a_hanging_supervisord_is_killed_with_all_it_started(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, [Process("one", ("sleep", "300"), 1)], ROOT)
    supervisor.start()
    assert supervisor._child is not None
    session = supervisor._child.pid
    os.kill(supervisord_of(session), signal.SIGSTOP)
    began = time.monotonic()
    supervisor.stop(limit_s=1.0)
    eventually_sync(lambda: not living(session))
    assert time.monotonic() - began < 8


def test_the_run_file_of_another_run_is_left_alone(tmp_path: Path) -> None:
    path = write_run_file(RunningSystem(os.getpid(), "/new", "sim", "", "", "", {}), tmp_path)
    remove_run_file(tmp_path, Path("/old"))
    assert path.exists()
    remove_run_file(tmp_path, Path("/new"))
    assert not path.parent.exists()
