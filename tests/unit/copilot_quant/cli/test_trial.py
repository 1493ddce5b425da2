from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from copilot_quant.local.run_file import RunningSystem, write_run_file
from copilot_quant.local.trial import TrialOptions
from shared.settings import Mode
from tests.unit.copilot_quant.cli.conftest import Typed

Cq = Callable[..., Typed]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[TrialOptions]:
    found: list[TrialOptions] = []

    async def run_trial(options: TrialOptions, directory: Path, say: object) -> int:
        found.append(options)
        return 0

    monkeypatch.setattr("copilot_quant.cli.trial.run_trial", run_trial)
    return found


def test_the_simulator_is_the_default_and_what_was_typed_arrives(started: list[TrialOptions], cq: Cq) -> None:
    assert cq("run", "dip.py", "--for", "5", "--symbols", "AAPL, IBM").status == 0
    assert started == [TrialOptions(Path("dip.py"), Mode.SIM, 5.0, ("AAPL", "IBM"))]
    assert cq("run").status == 0 and started[-1].chosen == Path("strategies/strategies.toml")


def test_it_does_not_take_the_place_of_a_system_that_runs_here(
    started: list[TrialOptions], cq: Cq, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as guard:
        address = f"http://127.0.0.1:{guard.getsockname()[1]}"
        write_run_file(RunningSystem(os.getpid(), "/run", "sim", "", "", address, {}), tmp_path)
        done = cq("run", "dip.py")
    assert done.status == 77 and "runs in this directory" in done.err and not started


def test_paper_is_said_and_both_is_a_mistake(started: list[TrialOptions], cq: Cq) -> None:
    assert cq("run", "--paper").status == 0 and started[-1].mode is Mode.PAPER
    both = cq("run", "--paper", "--sim")
    assert both.status == 65 and "one mode" in both.err
    held = cq("run", "--paper", "--debug")
    assert held.status == 65 and "for the simulator" in held.err
    assert cq("run", "--debug").status == 0 and started[-1].is_debugged
