"""Small markets for tests of backtests: files and columns of random walks on a real trading day."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from copilot_quant.backtest.contracts import exchange_hours
from copilot_quant.backtest.data import MarketData
from copilot_quant.backtest.results import BacktestResult
from copilot_quant.backtest.runner import Backtest, Costs, limits_of
from copilot_quant.backtest.strategies import declared_of
from copilot_quant.backtest.ticks import COLUMNS, Ticks
from shared.clock import NS_PER_MS

DAY = date(2013, 10, 8)
OPEN_MS = 1_381_239_000_000
"""09:30 in New York on that day."""
Row = tuple[object, ...]


def quote(at_ms: int, bid: float, ask: float, size: int = 500) -> Row:
    """Return a quote row, `at_ms` after the open."""
    return OPEN_MS + at_ms, "Q", bid, size, ask, size


def trade(at_ms: int, price: float, size: int = 100) -> Row:
    """Return a trade row, `at_ms` after the open."""
    return OPEN_MS + at_ms, "T", price, size, "", ""


def walk(seed: int, count: int, *, price: float = 100.0, step_ms: int = 250) -> list[Row]:
    """Return a random walk of quotes and trades."""
    chance = random.Random(seed)
    rows: list[Row] = []
    at_ms, cents = 0, round(price * 100)
    for _ in range(count):
        at_ms += chance.randrange(0, step_ms)
        cents += chance.choice((-2, -1, 0, 0, 1, 2))
        if chance.random() < 0.4:
            rows.append(trade(at_ms, cents / 100, chance.choice((100, 200, 700))))
        else:
            rows.append(quote(at_ms, (cents - 1) / 100, (cents + 1) / 100, chance.choice((100, 300, 1000))))
    return rows


def write_ticks(folder: Path, symbol: str, rows: Iterable[Row], day: date = DAY) -> Path:
    """Write a file of ticks."""
    path = folder / f"{symbol}_{day:%Y%m%d}.csv"
    lines = [",".join(COLUMNS), *(",".join(str(cell) for cell in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_daily(folder: Path, symbol: str, rows: Iterable[Sequence[object]]) -> Path:
    """Write a file of daily bars."""
    path = folder / f"{symbol}_daily.csv"
    lines = ["date,open,high,low,close,volume", *(",".join(str(cell) for cell in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def columns(rows: Sequence[Row]) -> Ticks:
    """Return rows as columns."""
    at_ns = np.array([row[0] for row in rows], dtype=np.int64) * NS_PER_MS
    is_quote = np.array([row[1] == "Q" for row in rows])
    values = [np.array([float(str(row[number] or 0)) for row in rows]) for number in range(2, 6)]
    return Ticks(at_ns, at_ns, is_quote, *values)


def market(rows: dict[str, list[Row]]) -> MarketData:
    """Return the market of some symbols on `DAY`."""
    ticks = {name: columns(each) for name, each in rows.items()}
    start_ns = min(int(each.at_ns[0]) for each in ticks.values())
    end_ns = max(int(each.at_ns[-1]) for each in ticks.values()) + 1_000_000_000
    return MarketData(list(rows), exchange_hours(DAY, DAY), ticks, start_ns, end_ns)


def play(strategy: type[Any], data: MarketData, *, costs: Costs | None = None, **options: Any) -> BacktestResult:
    """Run a strategy on a market; `options` are those of `declared_of`."""
    units = declared_of(strategy, list(data.names), **options)
    return Backtest(units, data, limits_of(None), costs or Costs(), Decimal(100_000)).run()
