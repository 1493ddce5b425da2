"""Give a unit the bars that it looks back on, before its first event."""

from __future__ import annotations

from collections.abc import Mapping

from copilot_quant.backtest.data import MarketData
from copilot_quant.backtest.units import Running
from shared.messages.market import ContractInfo


def load_history(running: Running, data: MarketData, infos: Mapping[str, ContractInfo]) -> None:
    """Load the last bars of before the begin, as many as the strategy says it needs; there may be fewer.

    Raises:
        BadInput: the data have nothing to make them of.
    """
    history = running.unit.history
    for name in running.declared.contracts:
        info = infos[name]
        for size, count in history.needs.items():
            history.load(info.con_id, size, data.history(name, info, size)[-count:])
