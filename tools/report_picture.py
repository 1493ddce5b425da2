"""Draw the picture of a backtest's report: run an example over a day of ticks, and let a browser save its page.

`python -m tools.report_picture FOLDER` writes `docs/pictures/backtest.png`; the folder has ticks of IBM and BAC.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from copilot_quant.backtest import Costs, run_backtest

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "pictures" / "backtest.png"
BROWSER = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
SIZE = "1240,1240"


def main() -> int:
    """Draw."""
    result = run_backtest(
        ROOT / "strategies" / "ma_crossover.py", symbols=["IBM", "BAC"], data=sys.argv[1], daily=False, bars=["1m"],
        params={"quantity": 100, "fast": 5, "slow": 30}, costs=Costs(commission="fixed", slippage=0.0),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        result.write_html(page)
        options = (f"--window-size={SIZE}", "--virtual-time-budget=4000", f"--screenshot={TARGET}")
        subprocess.run([*BROWSER, *options, page.as_uri()], check=True, capture_output=True)
    print(TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
