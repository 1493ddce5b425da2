"""Our guide runs as written: blocks, commands, settings and files; and every block of the user's guide stands in it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.guide.extract import blocks_of
from tests.support import ROOT, Spawner

pytestmark = [pytest.mark.process, pytest.mark.redis, pytest.mark.long, pytest.mark.timeout(600)]
GUIDE = ROOT / "docs" / "guide.md"
BLOCKS = Path(__file__).with_name("blocks.md")
EXPECTED = {
    "Example 1: connection test": r"✓ Connected to IBKR\nAccounts: \['DUB267514'\]",
    "Example 2: account balance": r"Net Liquidation: \$1,000,000\.00\nCash Balance: \$1,000,000.00\nBuying Power: ",
    "Example 3: market data": r"AAPL current price: \$\d+\.\d+\nHistorical data: (1[5-9]|2\d) bars",
    "Example 4: an order on paper": r"'status': 'filled'.*\nAAPL: \d+ shares @ \$\d+",
    "Example 5: a live strategy": r"Starting live trading\n\nStopping live trading\.\.\.",
    "Example 6: context manager": r"NetLiquidation: \d+.*AAPL: \d+",
    "Event handlers": r"✓ Connected to IBKR",
    "Testing connection": r"✓ Connection successful!\n  Accounts: \['DUB267514'\]",
}
OUTCOMES = {
    "High availability setup": "interrupted, stopped cleanly",
    "Example 5: a live strategy": "interrupted, stopped cleanly",
    "Testing connection": "exit 0",
}


def test_every_block_of_the_users_guide_stands_in_ours_as_written() -> None:
    ours = [block.code for block in blocks_of(GUIDE.read_text()) if block.language == "python"]
    theirs = [block.code for block in blocks_of(BLOCKS.read_text())]
    assert len(theirs) == 21 and ours == theirs


def test_the_guide_runs_as_written(tmp_path: Path) -> None:
    spawner = Spawner(tmp_path)
    try:
        run = spawner.command([sys.executable, "-m", "tests.guide", "--free-ports", "--json"], name="guide")
        status = run.wait(580)
    finally:
        spawner.close()
    (told,) = json.loads(run.output[run.output.index("[\n") :])
    failed = [row for row in told["rows"] if not row["is_ok"]]
    assert status == 0 and not failed, failed
    assert told["counts"]["block"] == 21 and told["counts"]["P8"] == 4, told["counts"]
    assert told["counts"]["command"] > told["counts"]["command not run"] > 5, told["counts"]
    done = {row["what"]: row for row in told["rows"] if row["kind"] == "block"}
    for title, pattern in EXPECTED.items():
        assert re.search(pattern, done[title]["output"], re.DOTALL), (title, done[title]["output"])
    for title, outcome in OUTCOMES.items():
        assert done[title]["outcome"] == outcome


@pytest.mark.parametrize("page", ["how-to/market-data.md", "how-to/live-integration.md", "reference/python-api.md"])
def test_the_pages_beside_the_guide_run_as_written(page: str, tmp_path: Path) -> None:
    spawner = Spawner(tmp_path)
    words = [sys.executable, "-m", "tests.guide", str(ROOT / "docs" / page), "--page", "--free-ports", "--json"]
    try:
        run = spawner.command(words, name="page")
        status = run.wait(300)
    finally:
        spawner.close()
    (told,) = json.loads(run.output[run.output.index("[\n") :])
    assert status == 0 and told["counts"] == {"failed": 0, "block": 1}, told["rows"]
