"""Turn the curve of an account into the figures people compare, by `empyrical`, as everybody else computes them.

Returns are of days where the data have two or more, else of the samples within the one day; a year has 252 days of 390
minutes. A figure that cannot be computed (no trade, no loss, one sample) is None, never a number that looks like one.
"""

from __future__ import annotations

import importlib
import math
import statistics
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np

from copilot_quant.backtest.contracts import day_of
from copilot_quant.backtest.journal import Sample
from copilot_quant.backtest.roundtrips import RoundTrip
from shared.errors import ConfigError

DAYS_A_YEAR = 252
SESSION_S = 390 * 60
Figures = dict[str, float | int | str | None]


def empyrical() -> Any:
    """Return the library.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module("empyrical")
    except ImportError as e:
        raise ConfigError("the statistics need empyrical: pip install 'copilot-quant[backtest]'") from e


def closes_of_days(samples: Sequence[Sample]) -> list[float]:
    """Return the last equity of each New York date."""
    last: dict[object, float] = {}
    for sample in samples:
        last[day_of(sample.ts_ns)] = sample.equity
    return list(last.values())


def returns_of(samples: Sequence[Sample], cash: float, *, sample_s: float) -> tuple[list[float], float, str]:
    """Return simple returns, how many of them a year has, and what one of them spans."""
    days = closes_of_days(samples)
    if len(days) >= 2:
        curve, a_year, period = [cash, *days], float(DAYS_A_YEAR), "day"
    else:
        curve, a_year = [sample.equity for sample in samples], DAYS_A_YEAR * SESSION_S / sample_s
        period = f"{sample_s:g} s"
    return [after / before - 1.0 if before > 0 else 0.0 for before, after in pairwise(curve)], a_year, period


def drawdowns(samples: Sequence[Sample]) -> list[float]:
    """Return how far the equity lies below its highest so far at each sample, as a fraction, 0 or below."""
    curve = np.array([sample.equity for sample in samples])
    peaks = np.maximum.accumulate(curve)
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.where(peaks > 0, curve / peaks - 1.0, 0.0)
    return [float(each) for each in below]


def figures(samples: Sequence[Sample], cash: float, *, sample_s: float) -> Figures:
    """Return the figures of the curve."""
    library = empyrical()
    values, a_year, period = returns_of(samples, cash, sample_s=sample_s)
    returns = np.array(values, dtype=np.float64)
    final = samples[-1].equity if samples else cash
    moved = bool(len(returns) > 1 and np.any(returns))
    below = drawdowns(samples)

    def figure(name: str, **more: float) -> float | None:
        if not moved:
            return None
        with np.errstate(all="ignore"):
            return finite(getattr(library, name)(returns, **more))

    equity = [sample.equity for sample in samples]
    shares = [sample.gross / sample.equity for sample in samples if sample.equity > 0]
    return {
        "final_equity": finite(final),
        "profit": finite(final - cash),
        "total_return": finite(final / cash - 1.0),
        "annual_return": figure("annual_return", annualization=a_year),
        "annual_volatility": figure("annual_volatility", annualization=a_year),
        "sharpe": figure("sharpe_ratio", annualization=a_year),
        "sortino": figure("sortino_ratio", annualization=a_year),
        "calmar": figure("calmar_ratio", annualization=a_year),
        "max_drawdown": finite(min(below, default=0.0)),
        "exposure_mean": finite(statistics.fmean(shares)) if shares else 0.0,
        "exposure_max": finite(max(shares, default=0.0)),
        "time_in_market": sum(sample.gross > 0 for sample in samples) / len(samples) if samples else 0.0,
        "equity_mean": finite(statistics.fmean(equity)) if equity else finite(cash),
        "returns": len(values),
        "returns_of": period,
    }


def trading(trips: Sequence[RoundTrip], traded: Decimal, commissions: Decimal, equity_mean: float | None) -> Figures:
    """Return the figures of what was traded."""
    profits = [float(trip.profit) for trip in trips]
    won, lost = [each for each in profits if each > 0], [each for each in profits if each < 0]
    return {
        "round_trips": len(trips),
        "hit_rate": len(won) / len(trips) if trips else None,
        "profit_factor": finite(sum(won) / -sum(lost)) if lost else None,
        "win_mean": finite(statistics.fmean(won)) if won else None,
        "loss_mean": finite(statistics.fmean(lost)) if lost else None,
        "traded": finite(float(traded)),
        "turnover": finite(float(traded) / equity_mean) if equity_mean else None,
        "commissions": finite(float(commissions)),
    }


def finite(value: float) -> float | None:
    """Return a number to ten significant places, None for what is none."""
    number = float(value)
    return float(f"{number:.10g}") if math.isfinite(number) else None
