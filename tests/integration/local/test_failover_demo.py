"""`cq demo failover` as a person starts it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support import ROOT, clean_environment

pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.timeout(200)]


def test_the_leader_is_killed_and_nothing_is_lost_or_sent_twice() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "copilot_quant.cli", "demo", "failover", "--json"],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    story = json.loads(done.stdout)
    assert story["is_clean"] and story["killed"] != story["successor"]
    assert story["fills_recovered"] >= 1, "the order that was filled while nobody led"
    assert story["verdict"]["sent_twice"] == story["verdict"]["fills_lost"] == 0
    assert story["first_order_ms"] > story["ready_ms"] > 900, "a lease of a second is waited out"
