"""Backtests, and the guide's import path of its live engine.

```python
from copilot_quant.backtest import Costs, run_backtest
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from copilot_quant.backtest.results import BacktestResult
    from copilot_quant.backtest.runner import Backtest, Costs, run_backtest

__all__ = ["Backtest", "BacktestResult", "Costs", "run_backtest"]
_HOMES = {"BacktestResult": "results", "Backtest": "runner", "Costs": "runner", "run_backtest": "runner"}


def __getattr__(name: str) -> Any:
    """Load a public name when it is asked for: whoever wants the live engine needs neither numpy nor pandas."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
