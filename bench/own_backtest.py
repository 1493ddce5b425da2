"""Run the measured strategy in our own backtest; a script of its own process, as the programs beside it.

Usage: own_backtest.py FOLDER   (columns as .npy files; prints one line of JSON)
"""

from __future__ import annotations

import json
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from bench.crossing import SHARES, Crossing
from copilot_quant.backtest.contracts import day_of, exchange_hours
from copilot_quant.backtest.data import MarketData
from copilot_quant.backtest.runner import Backtest, Costs, limits_of
from copilot_quant.backtest.statistics import empyrical
from copilot_quant.backtest.strategies import declared_of
from copilot_quant.backtest.ticks import Ticks
from services.strategy.api import Quote, Strategy, Trade


class Cross(Strategy):
    """The measured strategy; the means are no state to be saved, as they are none in the other programs."""

    made: list[Cross] = []  # noqa: RUF012 - to count afterwards

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.means: dict[int, Crossing] = {}
        self.events = self.orders = 0
        self.made.append(self)

    def on_start(self) -> None:
        self.means = {one.con_id: Crossing() for one in self.contracts}

    def on_quote(self, quote: Quote) -> None:
        self.events += 1
        sign = self.means[quote.contract.con_id].add((quote.bid + quote.ask) / 2)
        if sign:
            self.orders += 1
            self.target_position(quote.contract, sign * SHARES)

    def on_trade(self, trade: Trade) -> None:
        self.events += 1
        sign = self.means[trade.contract.con_id].add(trade.price)
        if sign:
            self.orders += 1
            self.target_position(trade.contract, sign * SHARES)


def main(folder: Path) -> dict[str, Any]:
    empyrical()  # what is imported when it is first needed is not timed, as in the other programs
    began = time.process_time()
    ticks: dict[str, Ticks] = {}
    for path in sorted(folder.glob("*.npy")):
        at_ns, is_quote, a, b, c, d = np.load(path)
        times = at_ns.astype(np.int64)
        ticks[path.stem] = Ticks(times, times, is_quote > 0, a, b, c, d)
    start_ns = min(int(each.at_ns[0]) for each in ticks.values())
    end_ns = max(int(each.at_ns[-1]) for each in ticks.values()) + 1_000_000_000
    hours = exchange_hours(day_of(start_ns), day_of(end_ns))
    units = declared_of(Cross, list(ticks), per="all")
    data = MarketData(list(ticks), hours, ticks, start_ns, end_ns)
    test = Backtest(units, data, limits_of(None), Costs(), Decimal(100_000))
    prepared = time.process_time()
    result = test.run()
    ended = time.process_time()
    return {
        "events": sum(one.events for one in Cross.made), "orders": sum(one.orders for one in Cross.made),
        "prepare_s": prepared - began, "run_s": ended - prepared, "final": result.samples[-1].equity,
        "fills": len(result.trades), "rejected": result.rejected, "version": "",
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
