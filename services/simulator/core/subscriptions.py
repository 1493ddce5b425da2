"""Hold who takes which of a contract's live data: ticks, bars of five seconds, depth."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.simulator.core.contracts import Instrument
from services.simulator.core.depth import DepthLine
from services.simulator.core.lines import Line
from services.simulator.core.market import MarketEvent, Trade


@dataclass(slots=True)
class Tape:
    """One tick-by-tick subscription."""

    session: int
    req_id: int
    con_id: int
    kind: str
    ignores_size: bool = False
    last: tuple[float, float] = (0.0, 0.0)


@dataclass(slots=True)
class BarLine:
    """One five-second bar subscription and the bar in the making."""

    session: int
    req_id: int
    instrument: Instrument
    what: str
    use_rth: bool = True
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    volume: float = 0.0
    value: float = 0.0
    count: int = 0

    def restart(self) -> None:
        """Begin the next bar; its price is the last one until there is another."""
        self.open = self.high = self.low = 0.0
        self.volume, self.value, self.count = 0.0, 0.0, 0

    def add(self, price: float, size: float) -> None:
        """Take a price into the bar."""
        if not self.open:
            self.open = self.high = self.low = price
        self.high, self.low, self.close = max(self.high, price), min(self.low, price), price
        self.volume += size
        self.value += size * price
        self.count += 1


@dataclass
class Subscribers:
    """All subscriptions to one contract, by session and request id."""

    lines: dict[tuple[int, int], Line] = field(default_factory=dict)
    tapes: dict[tuple[int, int], Tape] = field(default_factory=dict)
    bars: dict[tuple[int, int], BarLine] = field(default_factory=dict)
    depths: dict[tuple[int, int], DepthLine] = field(default_factory=dict)

    @property
    def has_more(self) -> bool:
        """Return whether anybody takes something else than ticks."""
        return bool(self.tapes or self.bars or self.depths)

    def is_empty(self) -> bool:
        """Return whether nobody takes this contract's data."""
        return not (self.lines or self.tapes or self.bars or self.depths)


def into_bar(bars: BarLine, event: MarketEvent) -> None:
    """Take an event into the bar in the making, if it is of the bar's kind."""
    if isinstance(event, Trade):
        if bars.what == "TRADES":
            bars.add(event.price, event.size)
    elif bars.what == "MIDPOINT":
        bars.add(round((event.bid + event.ask) / 2, 6), 0.0)
    elif bars.what == "BID":
        bars.add(event.bid, 0.0)
    elif bars.what == "ASK":
        bars.add(event.ask, 0.0)
