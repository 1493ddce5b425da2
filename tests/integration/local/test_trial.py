"""`cq init`, `cq new strategy`, `cq run` as a new user types them: it trades, takes an edit, and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.integration.local.test_demo import processes_with
from tests.support import ROOT, Spawner, clean_environment, eventually_sync, free_port

pytestmark = [pytest.mark.process, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(900)]


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


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes by their environment")
@pytest.mark.long
def test_on_paper_it_trades_at_the_tws_of_env_once_resumed_and_remembers(spawn: Spawner, tmp_path: Path) -> None:
    """A paper TWS is played by the simulator: account DU…, at the port that `.env` names."""
    marker, folder, port, control = f"cq-paper-{os.getpid()}", tmp_path / "tmp", free_port(), free_port()
    folder.mkdir()
    tws = spawn(
        "services.simulator",
        env={
            "SIM_PORT": str(port), "SIM_HTTP_PORT": str(control), "CQ_MODE": "sim", "CQ_HTTP_PORT": "0",
            "SIM_ACCOUNTS": "DU1234567", "SIM_TICK_RATE": "10",
        },
        name="tws",
    )  # fmt: skip
    tws.wait_for_output("service.started", 120)
    desk = tmp_path / "desk"

    def cq(*words: str, where: Path = desk) -> str:
        command = [sys.executable, "-m", "copilot_quant.cli", *words]
        env = clean_environment({"PYTHONPATH": str(ROOT)})
        done = subprocess.run(command, cwd=where, env=env, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    cq("init", "desk", where=tmp_path)
    cq("new", "strategy", "dip")
    settings = (desk / ".env").read_text().replace("IB_PAPER_PORT=7497", f"IB_PAPER_PORT={port}")
    env = {"CQ_TEST_MARKER": marker, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    env["CQ_ENV_FILE"] = ".env"  # what a user's shell has: nothing, and then the desk's own file is read
    launch = f"import os; os.chdir({str(desk)!r}); from copilot_quant.cli import main; main()"
    start = [sys.executable, "-c", launch, "run", "strategies/dip.py", "--paper"]
    (desk / ".env").write_text(settings)
    refused = spawn.command(start, env=env, name="refused")
    assert refused.wait(180) == 78 and "IB_PAPER_ACCOUNT" in refused.output
    (desk / ".env").write_text(settings.replace("# IB_PAPER_ACCOUNT=DU1234567", "IB_PAPER_ACCOUNT=DU1234567"))

    run = spawn.command(start, env=env, name="run")
    run.wait_for_output("PAPER DU1234567: a gateway leads", 180)
    run.wait_for_output("trading is halted (", 60)
    run.wait_for_output("rejected  RISK_HALTED", 90)
    cq("resume", "-r", "looked at it")
    run.wait_for_output("filled    BUY 5 AAPL", 90)
    (unit,) = json.loads(cq("strategies", "--json"))
    assert unit["unit"] == "dip/AAPL" and list(unit["pnl"]["by_currency"]) == ["USD"]
    run.signal(signal.SIGINT)
    assert run.wait(120) == 0 and ".cq/paper is kept" in run.output.replace(str(desk) + "/", "")

    again = spawn.command(start, env=env, name="again")
    again.wait_for_output("dip/AAPL: running", 180)
    again.wait_for_output("filled    ", 90)
    assert "halted" not in again.output.lower(), "what it was told is kept, and not told again"
    again.signal(signal.SIGINT)
    assert again.wait(120) == 0
    eventually_sync(lambda: not processes_with(marker), 30)
    with urllib.request.urlopen(f"http://127.0.0.1:{control}/truth", timeout=10) as reply:
        truth = json.load(reply)
    assert truth["counts"]["orders_sent_twice"] == 0 and {row["account"] for row in truth["orders"]} == {"DU1234567"}
