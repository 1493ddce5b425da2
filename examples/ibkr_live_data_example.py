"""Show prices of some contracts for half a minute, then their last daily bars.

python examples/ibkr_live_data_example.py AAPL MSFT
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the clone, where `pip install -r` brought only packages

from copilot_quant.brokers.live_market_data import IBKRLiveDataFeed
from shared.errors import CqError

SECONDS = 30.0


def show(symbol: str, price: float, quote: dict[str, float]) -> None:
    """Print a price that changed."""
    print(f"{symbol}: {price:,.2f}   bid {quote.get('bid', 0):,.2f}   ask {quote.get('ask', 0):,.2f}", flush=True)


def main() -> int:
    """Subscribe, wait, show; return the exit status."""
    symbols = sys.argv[1:] or ["AAPL", "MSFT", "GOOGL"]
    feed = IBKRLiveDataFeed(paper_trading=True)
    if not feed.connect():
        print(f"✗ {feed.last_error}")
        return 1
    try:
        unknown = [name for name, found in feed.subscribe(symbols, show).items() if not found]
        if unknown:
            print(f"✗ no such contract: {', '.join(unknown)}")
            return 1
        time.sleep(SECONDS)
        for symbol in symbols:
            print(symbol)
            print(feed.get_historical_bars(symbol, "1 M", "1 day").tail())
    except CqError as e:
        print(f"✗ {e}")
        return 1
    except KeyboardInterrupt:
        print("stopped")
    finally:
        feed.disconnect()
    return 0


if __name__ == "__main__":
    sys.exit(main())
