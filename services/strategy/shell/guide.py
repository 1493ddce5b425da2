"""Let a strategy of the guide's shape, `on_data(timestamp, DataFrame) -> list[Order]`, run as a unit like any other.

It is called once at the end of each bar, when every symbol's bar of that moment is there, or half a second after the
first of them. As in `LiveStrategyEngine`, `positions` and `working` are brought up to date before, and a second order
in a symbol waits for the first.

Known limit: what the class remembers itself is gone with its process; its positions, orders and bars are not.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from services.strategy.api import Bar, Side, Strategy, Timer
from services.strategy.core.guide_orders import checked_prices, one_of, positive
from services.strategy.core.history import INTERVALS, ClosedBar, pandas
from shared.errors import BadInput

COLUMNS = ("open", "high", "low", "close", "volume")
NOW = "on_data"
LATE_S = 0.5
SIZES = {interval: size for size, interval in INTERVALS.items()}


def is_guide_shape(cls: Any) -> bool:
    """Return whether a class has the guide's method."""
    return isinstance(cls, type) and callable(getattr(cls, "on_data", None)) and not issubclass(cls, Strategy)


class OnData(Strategy):
    """One instance of a class of the guide's shape, in a unit of its own; see `on_data_strategy`."""

    class Params(BaseModel):
        """What an instance is made with, and how many bars of each symbol `on_data` gets; there may be fewer."""

        arguments: dict[str, Any] = {}
        lookback: int = Field(default=30, ge=1, le=5000)

    inner_class: ClassVar[type[Any]]
    interval: ClassVar[str]

    @classmethod
    def history_needs(cls, params: Any) -> Mapping[str, int]:
        """Return the bars that `on_data` gets."""
        return {SIZES[cls.interval]: params.lookback}

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.inner = self.inner_class(**params.arguments)
        self._closed: dict[int, int] = {}
        self._is_waiting = False

    def on_start(self) -> None:
        """Tell it its symbols."""
        if callable(getattr(self.inner, "on_start", None)):
            self.inner.on_start([info.name for info in self.contracts])

    def on_bar(self, bar: Bar) -> None:
        """Note that a bar is there; the call comes when all of the moment are."""
        if bar.is_revised:
            return
        self._closed[bar.contract.con_id] = bar.ts_close_ns
        if len(self._closed) == len(self.contracts) and len(set(self._closed.values())) == 1:
            self.set_timer(NOW, 0.0)
        elif not self._is_waiting:
            self.set_timer(NOW, LATE_S)
        self._is_waiting = True

    def on_timer(self, _: Timer) -> None:
        """Call it with all bars, and order what it returns."""
        self._is_waiting = False
        inner = self.inner
        held = {info.name: float(self.position(info)) for info in self.contracts}
        inner.positions = {name: quantity for name, quantity in held.items() if quantity}
        inner.working = frozenset(info.name for info in self.contracts if self.working_orders(info))
        timestamp = pandas("on_data gets pandas DataFrames").Timestamp(self.now_ns, unit="ns", tz="UTC")
        size = SIZES[self.interval]
        bars = {info.name: self.history_bars(info, size) for info in self.contracts}
        for order in self._orders_of(inner.on_data(timestamp, table_of(bars))):
            if order.symbol not in inner.working:
                self._order(order)
                inner.working |= {order.symbol}

    def _orders_of(self, returned: object) -> list[Any]:
        if returned is None:
            return []
        found = list(returned) if isinstance(returned, list | tuple) else [returned]
        for one in found:
            if not all(hasattr(one, name) for name in ("symbol", "quantity", "side", "order_type")):
                raise BadInput(f"on_data returned {one!r}: it returns a list of copilot_quant.strategies.base.Order")
        return found

    def _order(self, order: Any) -> None:
        names = ("limit_price", "stop_price", "take_profit", "stop_loss")
        prices = checked_prices(order.order_type, {name: getattr(order, name, None) for name in names})
        side, quantity = one_of(Side, "side", order.side), positive("quantity", order.quantity)
        limit, stop = prices.get("limit_price"), prices.get("stop_price")
        take_profit, stop_loss = prices.get("take_profit"), prices.get("stop_loss")
        if take_profit is not None or stop_loss is not None:
            self.bracket(
                order.symbol, side, quantity, limit=limit, take_profit=take_profit, stop_loss=stop_loss, reason=NOW
            )
        else:
            self.order(order.symbol, side, quantity, limit=limit, stop=stop, tif="DAY", reason=NOW)

    def on_stop(self) -> None:
        """Tell it the end."""
        if callable(getattr(self.inner, "on_stop", None)):
            self.inner.on_stop()


def on_data_strategy(cls: type[Any], interval: str) -> type[Strategy]:
    """Return a strategy class that runs instances of a class of the guide's shape on bars of one interval."""
    content = {"inner_class": cls, "interval": interval, "__module__": cls.__module__}
    return type(cls.__name__, (OnData,), content)


def check_arguments(cls: type[Any], arguments: Mapping[str, Any]) -> None:
    """Refuse what a class of the guide's shape cannot be made with.

    Raises:
        BadInput: with the class's name.
    """
    try:
        inspect.signature(cls).bind(**arguments)
    except TypeError as e:
        raise BadInput(f"{cls.__name__}: {e}") from e


def table_of(bars: Mapping[str, list[ClosedBar]]) -> Any:
    """Return bars as `on_data` gets them: by `date`, with symbol, open, high, low, close, volume, oldest first."""
    module = pandas("on_data gets pandas DataFrames")
    every = [(name, row) for name, rows in bars.items() for row in rows]
    index = module.DatetimeIndex([row.ts_ns for _, row in every], tz="UTC", name="date")
    content: dict[str, list[Any]] = {"symbol": [name for name, _ in every]}
    for column in COLUMNS:
        content[column] = [getattr(row, column) for _, row in every]
    return module.DataFrame(content, index=index)
