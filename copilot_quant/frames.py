"""Tables for notebooks: pandas is loaded when the first one is asked for, and is no dependency of the services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.clock import NS_PER_S
from shared.errors import ConfigError
from shared.messages.requests import HistoryBar

BAR_COLUMNS = ("open", "high", "low", "close", "volume", "vwap")


def pandas() -> Any:
    """Return the module.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import pandas as module
    except ImportError as e:
        raise ConfigError("tables need pandas: pip install 'copilot-quant[history]'") from e
    return module


def frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Any:
    """Return rows as a DataFrame; an empty one has `columns`."""
    return pandas().DataFrame(list(rows)) if rows else pandas().DataFrame(columns=list(columns))


def bars_frame(bars: Iterable[HistoryBar]) -> Any:
    """Return bars as a DataFrame: open, high, low, close, volume, vwap by `date`, the opening time in UTC."""
    module = pandas()
    rows = list(bars)
    index = module.to_datetime([bar.ts_ns // NS_PER_S for bar in rows], unit="s", utc=True).rename("date")
    content = {name: [_float(getattr(bar, name)) for bar in rows] for name in BAR_COLUMNS}
    return module.DataFrame(content, index=index)


def _float(value: Any) -> float:
    return float("nan") if value is None else float(value)
