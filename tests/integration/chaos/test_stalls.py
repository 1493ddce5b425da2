"""A short run of `make stalls`: real processes at the lease of paper and live, a few stalls."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, clean_environment

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.long, pytest.mark.timeout(240)]


def test_a_few_stalls_cost_nobody_a_lease(tmp_path: Path) -> None:
    path = tmp_path / "stalls.json"
    options = ["--for", "20", "--seed", "1", "--rate", "20", "--report", str(path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.stalls", *options],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=220, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    report = json.loads(path.read_text())
    assert report["is_clean"] and not report["lost"] and not report["restarted"]
    assert sum(report["stalls"].values()) >= 3
    assert report["slowest_look_s"] > 0.3, "no stall reached Redis"
    assert int(report["verdict"]["executions"]) >= 5
