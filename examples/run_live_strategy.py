"""Run the template strategy on the paper account until Ctrl-C; the log goes to ibkr.log.

python examples/run_live_strategy.py AAPL MSFT
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the clone, where `pip install -r` brought only packages

from copilot_quant.backtest.live_engine import LiveStrategyEngine
from copilot_quant.strategies.my_strategy import MyStrategy
from shared.errors import CqError


def main() -> int:
    """Start the engine and wait for Ctrl-C; return the exit status."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(name)s %(levelname)s %(message)s",
        handlers=[logging.FileHandler("ibkr.log"), logging.StreamHandler()],
    )
    engine = LiveStrategyEngine(paper_trading=True, commission=0.001, slippage=0.0005, update_interval=60.0)
    engine.add_strategy(MyStrategy())
    if not engine.connect():
        print(f"✗ {engine.last_error}")
        return 1
    try:
        engine.start(symbols=sys.argv[1:] or ["AAPL", "MSFT", "GOOGL"], lookback_days=30, data_interval="1d")
        while engine.is_running:
            time.sleep(1)
    except CqError as e:
        print(f"✗ {e}")
        return 1
    except KeyboardInterrupt:
        print("\nstopping; working orders stay (`cq orders` shows them)")
    finally:
        engine.disconnect()
    return 0


if __name__ == "__main__":
    sys.exit(main())
