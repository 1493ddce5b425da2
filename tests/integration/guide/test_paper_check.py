"""`cq paper-check` against the simulator: everything as assumed, nothing left over, no account number in the report."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copilot_quant.paper_report import ASSUMPTIONS
from tests.support import SpawnedProcess, Spawner, free_port

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(180)]


class Tws:
    """A simulated TWS with its faults."""

    def __init__(self, spawn: Spawner, account: str = "DUB267514", **more: str) -> None:
        self.port, self.http = free_port(), free_port()
        env = {
            "SIM_ACCOUNTS": account,
            "SIM_PORT": str(self.port),
            "SIM_HTTP_PORT": str(self.http),
            "SIM_TICK_RATE": "5",
        }
        self._process = spawn("services.simulator", env={**env, **more}, name="tws")
        self._process.wait_for_output("exchange.opened", 60)

    @property
    def env(self) -> dict[str, str]:
        return {"IB_PAPER_ACCOUNT": "DUB267514", "IB_PAPER_PORT": str(self.port)}

    def fault(self, name: str, **parameters: Any) -> None:
        url = f"http://127.0.0.1:{self.http}/commands/{name}"
        asked = urllib.request.Request(url, json.dumps(parameters).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=10) as reply:
            assert reply.status == 200

    def truth(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/truth", timeout=10) as reply:
            return dict(json.load(reply))


@pytest.fixture
def spawner(tmp_path: Path) -> Iterator[Spawner]:
    spawner = Spawner(tmp_path)
    yield spawner
    spawner.close()


def check(spawner: Spawner, env: dict[str, str], *words: str) -> SpawnedProcess:
    command = [sys.executable, "-m", "copilot_quant.cli", "paper-check", *words]
    return spawner.command(command, env=env, name="paper-check")


def test_the_simulator_does_as_the_system_assumes(spawner: Spawner, tmp_path: Path) -> None:
    tws = Tws(spawner)
    run = check(spawner, tws.env, "--yes", "--restart", "wait", "--json", "--report", "report.md")
    run.wait_for_output("restart TWS now", 100)
    tws.fault("restart", seconds=3)
    assert run.wait(60) == 0, run.output
    told = json.loads(run.output[run.output.index("{\n") :])
    assert {row["item"]: row["outcome"] for row in told["items"]} == dict.fromkeys(ASSUMPTIONS, "as assumed"), told
    report = (tmp_path / "report.md").read_text()
    assert "DUB267514" not in report and "127.0.0.1" not in report
    assert f"{len(ASSUMPTIONS)} as assumed, 0 differs, 0 not seen" in report
    truth = tws.truth()
    assert truth["counts"]["open_orders"] == 0 and truth["counts"]["executions"] == 2
    held = truth["accounts"]["DUB267514"]["positions"]
    assert not [one for one in held.values() if float(one["quantity"] if isinstance(one, dict) else one)], held


def test_what_differs_is_said_and_ends_with_1(spawner: Spawner, tmp_path: Path) -> None:
    """A master client sees everybody's executions: set in TWS, it is not what the system assumes."""
    tws = Tws(spawner, SIM_MASTER_CLIENT_ID="28602")
    run = check(spawner, tws.env, "--yes", "--restart", "no", "--json", "--report", "report.md")
    assert run.wait(100) == 1, run.output
    told = json.loads(run.output[run.output.index("{\n") :])
    outcomes = {row["item"]: row["outcome"] for row in told["items"]}
    assert outcomes["execution_stranger"] == "differs" and outcomes["gtc_restart"] == "not seen"
    assert "| differs |" in (tmp_path / "report.md").read_text()


def test_a_live_login_is_left_before_anything_is_sent(spawner: Spawner) -> None:
    live = Tws(spawner, account="U1234567")
    run = check(spawner, {**live.env}, "--yes", "--restart", "no")
    assert run.wait(60) == 77 and "nothing was sent" in run.output, run.output
    assert live.truth()["orders"] == []


def test_nobody_there_is_said(spawner: Spawner) -> None:
    run = check(spawner, {"IB_PAPER_ACCOUNT": "DUB267514", "IB_PAPER_PORT": str(free_port())}, "--yes")
    assert run.wait(60) == 69 and "nothing answers" in run.output and "Traceback" not in run.output, run.output
