"""Let a strategy of the guide's shape, `on_data(timestamp, DataFrame) -> list[Order]`, run as a unit of a backtest.

It is called once at the end of each bar, when every symbol's bar of that moment is there. As in `LiveStrategyEngine`,
`positions` and `working` are brought up to date before, and a second order in a symbol waits for the first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

from copilot_quant.brokers.rows import ticket_of
from copilot_quant.frames import pandas
from copilot_quant.strategies.base import Order
from services.strategy.api import Bar, Strategy, Timer
from shared.errors import BadInput

COLUMNS = ("open", "high", "low", "close", "volume")
NOW = "on_data"


def is_guide_shape(cls: type[Any]) -> bool:
    """Return whether a class has the guide's method."""
    return callable(getattr(cls, "on_data", None)) and not issubclass(cls, Strategy)


class OnData(Strategy):
    """One instance of a class of the guide's shape, in a unit of its own; see `on_data_strategy`."""

    inner_class: ClassVar[type[Any]]
    arguments: ClassVar[Mapping[str, Any]]
    lookback: ClassVar[int]

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        try:
            self.inner = self.inner_class(**self.arguments)
        except TypeError as e:
            raise BadInput(f"{self.inner_class.__name__}: {e}") from e
        self._rows: dict[str, deque[tuple[Any, ...]]] = {}

    def on_start(self) -> None:
        """Tell it its symbols."""
        names = [info.name for info in self.contracts]
        self._rows = {name: deque(maxlen=self.lookback) for name in names}
        if callable(getattr(self.inner, "on_start", None)):
            self.inner.on_start(names)

    def on_bar(self, bar: Bar) -> None:
        """Keep a bar; the call comes when all of the moment are there."""
        if not bar.is_revised:
            self._rows[bar.contract.name].append((bar.ts_open_ns, bar.open, bar.high, bar.low, bar.close, bar.volume))
            self.set_timer(NOW, 0.0)

    def on_timer(self, _: Timer) -> None:
        """Call it with all bars, and order what it returns."""
        inner = self.inner
        held = {info.name: float(self.position(info)) for info in self.contracts}
        inner.positions = {name: quantity for name, quantity in held.items() if quantity}
        inner.working = frozenset(info.name for info in self.contracts if self.working_orders(info))
        timestamp = pandas().Timestamp(self.now_ns, unit="ns", tz="UTC")
        for order in list(inner.on_data(timestamp, table_of(self._rows)) or []):
            if order.symbol not in inner.working:
                self._order(order)
                inner.working |= {order.symbol}

    def _order(self, order: Order) -> None:
        names = ("limit_price", "stop_price", "take_profit", "stop_loss")
        ticket = ticket_of(order.quantity, order.order_type, order.side, {name: getattr(order, name) for name in names})
        if ticket.take_profit is not None or ticket.stop_loss is not None:
            self.bracket(
                order.symbol, ticket.side, ticket.quantity, limit=ticket.limit_price, take_profit=ticket.take_profit,
                stop_loss=ticket.stop_loss, reason=NOW,
            )  # fmt: skip
        else:
            self.order(
                order.symbol, ticket.side, ticket.quantity, limit=ticket.limit_price, stop=ticket.stop_price,
                tif="DAY", reason=NOW,
            )  # fmt: skip

    def on_stop(self) -> None:
        """Tell it the end."""
        if callable(getattr(self.inner, "on_stop", None)):
            self.inner.on_stop()


def on_data_strategy(cls: type[Any], arguments: Mapping[str, Any], lookback: int) -> type[Strategy]:
    """Return a strategy class that runs instances of a class of the guide's shape.

    Args:
        cls: the class.
        arguments: what it is made with.
        lookback: how many bars of each symbol `on_data` is given; there may be fewer.
    """
    content = {"inner_class": cls, "arguments": dict(arguments), "lookback": lookback, "__module__": cls.__module__}
    return type(cls.__name__, (OnData,), content)


def table_of(rows: Mapping[str, deque[tuple[Any, ...]]]) -> Any:
    """Return bars as `on_data` gets them: by `date`, with symbol, open, high, low, close, volume, oldest first."""
    module = pandas()
    every = [(name, *row) for name, bars in rows.items() for row in bars]
    index = module.DatetimeIndex([row[1] for row in every], tz="UTC", name="date")
    content: dict[str, list[Any]] = {"symbol": [row[0] for row in every]}
    for number, name in enumerate(COLUMNS, start=2):
        content[name] = [row[number] for row in every]
    return module.DataFrame(content, index=index)
