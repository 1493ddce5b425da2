"""Every Python block of the guide runs as written, in order, against two simulated TWS and one system of its own."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.integration.guide.conftest import Exchange
from tests.integration.guide.run_blocks import blocks_of
from tests.support import Spawner

pytestmark = [pytest.mark.process, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(420)]
BLOCKS = Path(__file__).with_name("blocks.md")
EXPECTED = {
    "Paper Trading (Recommended)": "",
    "Live Trading": "",
    "Switching Between Modes": "",
    "High Availability Setup": r"\A\Z",  # it prints only what is unhealthy
    "Example 1: Basic Connection Test": r"✓ Connected to IBKR\nAccounts: \['DUB267514'\]",
    "Example 2: Get Account Balance": r"Net Liquidation: \$1,000,000\.00\nCash Balance: \$1,000,000.00\nBuying Power: ",
    "Example 3: Get Real-Time Market Data": r"AAPL current price: \$\d+\.\d+\nHistorical data: (1[5-9]|2\d) bars",
    "Example 4: Place an Order (Paper Trading)": r"'status': 'filled'.*\nAAPL: 10 shares @ \$\d+",
    "Example 5: Live Strategy Execution": r"Starting live trading\n\nStopping live trading\.\.\.",
    "Example 6: Using Context Manager (Recommended)": r"NetLiquidation: \d+.*AAPL: 10",
    "Rate Limiting": "",
    "Custom Client IDs": "",
    "Event Handlers": r"✓ Connected to IBKR",
    "Logging Configuration": "",
    "Debug Mode": "",
    "Testing Connection": r"✓ Connection successful!\n  Accounts: \['DUB267514'\]",
    "Security": "",
    "Risk Management": "",
    "Risk Management (2)": "",
    "Reliability": "",
    "Common Code Snippets": "",
}
OUTCOMES = {"High Availability Setup": "interrupted", "Testing Connection": "exit 0"}


def test_every_block_is_expected_to_do_something() -> None:
    assert [title for title, _ in blocks_of(BLOCKS.read_text())] == list(EXPECTED)


def test_the_blocks_run_as_written(module_spawn: Spawner, folder: Path, paper: Exchange, live: Exchange) -> None:
    program = str(Path(__file__).with_name("run_blocks.py"))
    env = {**paper.env, **live.env, "TMPDIR": str(folder)}
    run = module_spawn.command([sys.executable, program, str(BLOCKS), str(paper.port)], env=env, name="guide")
    assert run.wait(400) == 0, run.output
    lines = [json.loads(line) for line in run.output.splitlines() if line.startswith('{"title"')]
    done = {line["title"]: line for line in lines}
    assert list(done) == list(EXPECTED), run.output
    for title, pattern in EXPECTED.items():
        assert done[title]["outcome"] == OUTCOMES.get(title, "ran"), (title, done[title], run.output)
        assert re.search(pattern, done[title]["output"], re.DOTALL), (title, done[title]["output"], run.output)
    assert "not connected" not in run.output
    assert "ib_insync" in (folder / "ibkr.log").read_text()
    assert not (folder / ".cq" / "run.json").exists()  # the system it started is stopped
