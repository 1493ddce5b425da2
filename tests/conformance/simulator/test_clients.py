"""Unmodified client libraries take the simulator for TWS: they connect, trade and ask, and complain about nothing.

Each library runs in a process of its own; those that cannot live beside ib_insync are installed into `.cache/clients/`.
Where they cannot be installed the test skips with the reason, and fails where `CI` is set.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.simulator.conftest import RunningSimulator
from tests.support import ROOT, clean_environment

CLIENTS = Path(__file__).parent / "clients"
CACHE = ROOT / ".cache" / "clients"
pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


def installed(name: str, requirement: str) -> Path:
    """Return a directory with a library, installed there once."""
    target = CACHE / name
    marker = target / ".complete"
    if marker.exists():
        return target
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), "--upgrade", requirement]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    if done.returncode:
        reason = f"{requirement} cannot be installed here: {done.stderr.strip()[-300:]}"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    marker.touch()
    return target


def run(script: str, *arguments: str, library: Path | None = None) -> dict[str, Any]:
    """Run a scenario and return what it reports."""
    extra = {"PYTHONPATH": str(library)} if library else {}
    done = subprocess.run(
        [sys.executable, str(CLIENTS / script), *arguments],
        env={**clean_environment(), **extra},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip(), done.stderr[-3000:]
    report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert "failed" not in report, (report, done.stderr[-3000:])
    assert report["complaints"] == [], report["complaints"]
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    return report


def agrees_with_the_books(simulator: RunningSimulator, report: dict[str, Any]) -> None:
    """Positions that the client was told are those of the exchange; nothing was sent twice."""
    truth = simulator.get("/truth")
    [account] = truth["accounts"].values()
    booked = {each["symbol"]: Decimal(each["quantity"]) for each in account["positions"].values()}
    assert {symbol: Decimal(str(quantity)) for symbol, quantity in report["position"].items()} == booked
    assert truth["counts"]["orders_sent_twice"] == 0, truth["orders_sent_twice"]
    assert truth["counts"]["open_orders"] == 0


def test_ib_insync(simulator: RunningSimulator) -> None:
    report = run("scenario_ib.py", "ib_insync", str(simulator.port), "11")
    assert report["version"] == 176
    agrees_with_the_books(simulator, report)


def test_ib_async(simulator: RunningSimulator) -> None:
    library = installed("ib_async", "ib_async==2.1.0")
    report = run("scenario_ib.py", "ib_async", str(simulator.port), "12", library=library)
    assert report["version"] == 176
    agrees_with_the_books(simulator, report)


def test_official_client(simulator: RunningSimulator) -> None:
    library = installed("ibapi_latest", "ibapi-latest")
    report = run("scenario_ibapi.py", str(simulator.port), "13", library=library)
    assert report["version"] == 176
    agrees_with_the_books(simulator, report)


def test_old_official_client(simulator: RunningSimulator) -> None:
    library = installed("ibapi_981", "ibapi==9.81.1.post1")
    report = run("scenario_ibapi.py", str(simulator.port), "14", library=library)
    assert report["version"] == 157
    agrees_with_the_books(simulator, report)
