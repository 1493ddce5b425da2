"""What a strategy is told: light events, made only for units that want them.

Prices and sizes of quotes, trades and bars are float64 as on the tick path; everything of an order is `Decimal`.
Times are wall nanoseconds UTC. `contract` is the broker's definition; `str(event.contract.name)` is what people write.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from shared.messages.market import ContractInfo
from shared.messages.orders import OrderState, Side


@dataclass(slots=True)
class Quote:
    """The best bid and ask; NaN is "no quote on this side". `quality` is IB's marketDataType (1 live, 3 delayed)."""

    contract: ContractInfo
    bid: float
    bid_size: float
    ask: float
    ask_size: float
    ts_ns: int
    quality: int = 0
    is_snapshot: bool = False

    @property
    def mid(self) -> float:
        """Return the middle, NaN when a side is missing."""
        return (self.bid + self.ask) / 2

    @property
    def spread(self) -> float:
        """Return ask less bid, NaN when a side is missing."""
        return self.ask - self.bid


@dataclass(slots=True)
class Trade:
    """One trade of the market; trades found late are never given to a strategy."""

    contract: ContractInfo
    price: float
    size: float
    ts_ns: int
    quality: int = 0


@dataclass(slots=True)
class Bar:
    """One closed time bar; `interval` is 1s, 5s, 1m or 1d. A revised bar replaces the one of the same opening time.

    `hours` says what it covers: `rth` regular hours only (daily bars, by default), `all` whatever was traded.
    """

    contract: ContractInfo
    interval: str
    ts_open_ns: int
    ts_close_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float | None = None
    is_complete: bool = True
    is_revised: bool = False
    hours: str = ""


@dataclass(slots=True)
class OrderUpdate:
    """A transition of one order of this unit.

    `filled`, `remaining` (shares) and `average_price` are cumulative. `by` says who caused an outcome (`risk`,
    `gateway`, `broker`, `operator`); `code` and `text` say why.
    """

    contract: ContractInfo
    intent_id: str
    leg: int
    state: OrderState
    side: Side
    quantity: Decimal
    filled: Decimal
    remaining: Decimal
    average_price: Decimal | None
    by: str = ""
    code: str = ""
    text: str = ""
    ts_ns: int = 0

    @property
    def is_final(self) -> bool:
        """Return whether the order has ended."""
        return self.state.is_final


@dataclass(slots=True)
class FillEvent:
    """One execution that belongs to this unit; `position` is the unit's signed position after it."""

    contract: ContractInfo
    exec_id: str
    intent_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    position: Decimal
    is_correction: bool = False
    ts_ns: int = 0


@dataclass(slots=True)
class Timer:
    """A timer that was set with `set_timer` is due."""

    name: str
    due_ns: int


@dataclass(slots=True)
class Gap:
    """Entries that this unit never saw.

    With `blocks` (they were trimmed before the unit read them) the unit does not trade until it calls `accept_gap()`.
    Without, a new gateway leader began: a few quotes may be missing, the snapshot that follows is fresh.
    """

    stream: str
    after_id: str
    next_id: str
    blocks: bool


Event = Quote | Trade | Bar | OrderUpdate | FillEvent | Timer | Gap
