"""Look whether TWS or IB Gateway answers, and what the account is worth. Nothing is ordered.

python examples/test_ibkr_connection.py          # paper, as .env says
python examples/test_ibkr_connection.py --live
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the clone, where `pip install -r` brought only packages

from copilot_quant.brokers.connection_manager import IBKRConnectionManager


def main() -> int:
    """Connect, read the balance, leave; return the exit status."""
    logging.basicConfig(
        filename="ibkr.log", level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    is_paper = "--live" not in sys.argv[1:]
    manager = IBKRConnectionManager(paper_trading=is_paper)
    if not manager.connect():
        print(f"✗ Failed to connect: {manager.last_error}")
        return 1
    print("✓ Connected successfully!")
    try:
        values = [item for item in manager.get_ib().accountSummary() if item.tag == "NetLiquidation"]
    finally:
        manager.disconnect()
    if not values:
        print("✗ The account's balance did not come: `cq connect` looks closer")
        return 1
    note = "paper money" if is_paper else "REAL MONEY"
    print(f"✓ Account Balance: ${float(values[0].value):,.2f} ({note})")
    print("✓ Connection test passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
