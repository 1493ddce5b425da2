"""Unmodified client libraries take the simulator for TWS: they connect, trade and ask, and complain about nothing.

Each library runs in a process of its own against a simulator of its own; those that cannot live beside ib_insync come
from `.cache/peers/` (`python -m tools.peers`). All must come to the same final state, which is that of the books.
"""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.peers import peer
from tests.conformance.simulator.conftest import RunningSimulator, Simulators
from tests.support import clean_environment

CLIENTS = Path(__file__).parent / "clients"
pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


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


FINAL: dict[str, Any] = {
    "completed": {
        "mkt": ["Filled", 100.0], "big": ["Filled", 4000.0], "entry": ["Cancelled", 0.0], "target": ["Cancelled", 0.0],
        "stop": ["Cancelled", 0.0], "held": ["Cancelled", 0.0],
    },
    "executed": {"mkt": 100.0, "big": 4000.0},
    "open": [],
    "position": {"AAPL": 4100.0},
    "changed_price_was_seen": True,
}  # fmt: skip
"""What every client knows in the end: one scenario, one outcome."""
CASES = [
    # client, its script and arguments, the highest version offered, the version that comes of it
    ("ib_insync", ("scenario_ib.py", "ib_insync"), 176, 176),
    ("ib_async", ("scenario_ib.py", "ib_async"), 176, 176),
    ("ibapi-latest", ("scenario_ibapi.py",), 176, 176),
    ("ibapi-stable", ("scenario_ibapi.py",), 176, 176),
    ("ibapi-9.81", ("scenario_ibapi.py",), 176, 157),
    ("ib_insync", ("scenario_ib.py", "ib_insync"), 200, 176),
    ("ib_async", ("scenario_ib.py", "ib_async"), 200, 178),
    ("ibapi-latest", ("scenario_ibapi.py",), 200, 200),
]


@pytest.mark.parametrize("client, script, highest, version", CASES, ids=lambda value: str(value))
def test_a_client_ends_where_all_do(
    simulators: Simulators, client: str, script: tuple[str, ...], highest: int, version: int
) -> None:
    library = None if client == "ib_insync" else peer(client)
    simulator = simulators.start(SIM_MAX_VERSION=str(highest))
    report = run(*script, str(simulator.port), "11", library=library)
    assert report["version"] == version
    assert report["final"] == FINAL
    agrees_with_the_books(simulator, report)
