"""`cq init`, `cq new strategy`, `cq run` as a new user types them: it trades, takes an edit, and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.local.test_demo import processes_with
from tests.support import ROOT, Spawner, clean_environment, eventually_sync

pytestmark = [pytest.mark.process, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes by their environment")
@pytest.mark.long
def test_a_new_strategy_trades_is_edited_and_stops_with_ctrl_c(spawn: Spawner, tmp_path: Path) -> None:
    marker, folder = f"cq-trial-{os.getpid()}", tmp_path / "tmp"
    folder.mkdir()
    for words in (("init", "desk"), ("new", "strategy", "dip")):
        where = tmp_path if words[0] == "init" else tmp_path / "desk"
        command = [sys.executable, "-m", "copilot_quant.cli", *words]
        subprocess.run(command, cwd=where, env=clean_environment(), check=True, capture_output=True, timeout=60)
    desk = tmp_path / "desk"
    before = sorted(desk.rglob("*"))
    env = {"CQ_TEST_MARKER": marker, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    spawn.directory = desk.parent
    launch = f"import os; os.chdir({str(desk)!r}); from copilot_quant.cli import main; main()"
    run = spawn.command([sys.executable, "-c", launch, "run", "strategies/dip.py"], env=env, name="run")
    run.wait_for_output("dip/AAPL: running", 90)
    run.wait_for_output("filled    BUY 5 AAPL", 60)
    code = desk / "strategies" / "dip.py"
    code.write_text(code.read_text().replace('falling bars"', 'falling bars, edited"'))
    run.wait_for_output("dip.py was saved", 20)
    run.wait_for_output("falling bars, edited)", 60)
    code.write_text(code.read_text().replace('reason="a rising bar"', "reason=1 / 0"))
    run.wait_for_output("ZeroDivisionError: division by zero at", 60)
    run.signal(signal.SIGINT)
    assert run.wait(60) == 0
    assert "nothing is left behind" in run.output
    eventually_sync(lambda: not processes_with(marker), 30)
    assert not list(folder.glob("cq-*"))
    assert [path for path in sorted(desk.rglob("*")) if "__pycache__" not in str(path)] == before
