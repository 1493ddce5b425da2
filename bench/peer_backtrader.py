"""Run the measured strategy in backtrader; a script of its own process, with `.cache/peers/backtrader` on its path.

Usage: peer_backtrader.py FOLDER   (columns as .npy files; prints one line of JSON)

backtrader knows bars only, so an event is a bar whose four prices are the event's; its sizes are its volume.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np

from bench.crossing import SHARES, Crossing


class Events(bt.feed.DataBase):  # type: ignore[misc]
    """One symbol's events out of columns."""

    params = (("times", None), ("prices", None), ("sizes", None))

    def start(self) -> None:
        super().start()
        self.rows = iter(zip(self.p.times, self.p.prices, self.p.sizes, strict=True))

    def _load(self) -> bool:
        row = next(self.rows, None)
        if row is None:
            return False
        at, price, size = row
        lines = self.lines
        lines.datetime[0] = at
        lines.open[0] = lines.high[0] = lines.low[0] = lines.close[0] = price
        lines.volume[0] = size
        lines.openinterest[0] = 0.0
        return True


class Cross(bt.Strategy):  # type: ignore[misc]
    """The measured strategy."""

    def __init__(self) -> None:
        self.means = [Crossing() for _ in self.datas]
        self.known = [0] * len(self.datas)
        self.events = self.orders = 0

    def next(self) -> None:
        for index, data in enumerate(self.datas):
            length = len(data)
            if length == self.known[index]:
                continue
            self.known[index] = length
            self.events += 1
            sign = self.means[index].add(data.close[0])
            if sign:
                self.orders += 1
                self.order_target_size(data, sign * SHARES)


def main(folder: Path) -> dict[str, Any]:
    began = time.process_time()
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.setcash(100_000.0)
    cerebro.broker.setcommission(commission=0.001)
    cerebro.broker.set_slippage_perc(0.0005)
    for path in sorted(folder.glob("*.npy")):
        at_ns, is_quote, a, b, c, _ = np.load(path)
        times = at_ns / 86_400e9 + bt.date2num(bt.datetime.datetime(1970, 1, 1))
        prices = np.where(is_quote > 0, (a + c) / 2, a)
        cerebro.adddata(
            Events(times=times.tolist(), prices=prices.tolist(), sizes=b.tolist(), timeframe=bt.TimeFrame.Ticks),
            name=path.stem,
        )
    cerebro.addstrategy(Cross)
    prepared = time.process_time()
    (done,) = cerebro.run()
    ended = time.process_time()
    return {
        "events": done.events, "orders": done.orders, "prepare_s": prepared - began, "run_s": ended - prepared,
        "final": cerebro.broker.getvalue(), "version": bt.__version__,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
