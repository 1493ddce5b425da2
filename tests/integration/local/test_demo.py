"""`cq demo` as a person runs it: it ends well by itself, and nothing of it stays when it is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from copilot_quant.local.run_file import read_run_file
from tests.support import ROOT, SpawnedProcess, Spawner, eventually_sync

STRATEGIES = str(ROOT / "strategies" / "strategies.toml")


def processes_with(marker: str) -> list[str]:
    """Return the command lines of the living processes whose environment or arguments hold a text."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            content = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            if folder.name != str(os.getpid()) and marker.encode() in content:
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # no process, or it ended meanwhile; a zombie has an empty environment
    return found


def start_demo(spawn: Spawner, folder: Path, marker: str) -> SpawnedProcess:
    env = {"CQ_TEST_MARKER": marker, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    arguments = ("demo", "--for", "300", "--strategies", STRATEGIES)
    demo = spawn("copilot_quant.cli", *arguments, env=env)
    demo.wait_for_output("leads, link READY", 45)
    return demo


@pytest.mark.process
@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes by their environment")
def test_a_killed_demo_leaves_no_process_and_no_file(spawn: Spawner, tmp_path: Path) -> None:
    marker, folder = f"cq-test-{os.getpid()}", tmp_path / "tmp"
    folder.mkdir()
    demo = start_demo(spawn, folder, marker)
    system = read_run_file(tmp_path)
    assert system is not None and Path(system.run_dir).is_dir()
    assert len(processes_with(marker)) >= 12, processes_with(marker)
    demo.signal(signal.SIGKILL)
    eventually_sync(lambda: not processes_with(marker), 60)
    eventually_sync(lambda: not Path(system.run_dir).exists(), 10)
    assert not (tmp_path / ".cq").exists()
    assert not list(folder.glob("cq-*[!k]")), "only the lock file of the ports is left"


@pytest.mark.process
@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_demo_without_its_supervisor_says_so_and_ends(spawn: Spawner, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    demo = start_demo(spawn, tmp_path / "tmp", f"cq-test-{os.getpid()}-s")
    system = read_run_file(tmp_path)
    assert system is not None
    os.kill(int((Path(system.run_dir) / "supervisord.pid").read_text()), signal.SIGKILL)
    assert demo.wait(60) == 1
    assert "process supervisor ended" in demo.output and "Traceback" not in demo.output
    assert not Path(system.run_dir).exists()
