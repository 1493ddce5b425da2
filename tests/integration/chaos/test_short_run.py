"""A short run of `make chaos`, on every commit: real processes, a Redis pair with Sentinels, a few faults."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, clean_environment

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.long, pytest.mark.timeout(240)]


def test_a_short_run_ends_with_nothing_wrong(tmp_path: Path) -> None:
    options = ["--for", "10", "--every", "1.5", "--seed", "13", "--rate", "10", "--show", "--folder", str(tmp_path)]
    options += ["--totals", str(tmp_path / "totals.json")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.run", *options],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=220, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["is_clean"] and not any(report["findings"].values())
    assert len(report["faults"]) >= 4
    assert report["broker"]["orders"] > 20
    kept = json.loads((tmp_path / "totals.json").read_text())
    assert [(one["seed"], one["faults"], one["is_clean"]) for one in kept] == [(13, len(report["faults"]), True)]
    assert "<svg" in (tmp_path / "report.html").read_text()
