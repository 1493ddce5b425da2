"""Make an order book of several rows around the best quote, and tell a subscription what changed in it.

Invariants:
1. Row 0 is the best quote; prices get worse row by row by one tick; sizes follow from contract, price and quote alone.
2. A client that applies the operations in order has the rows as they are.

Source: ib-facts B.5 (12, 13), A.11.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.simulator.core.chance import hash_unit
from services.simulator.core.contracts import Instrument
from services.simulator.core.floor import Floor
from services.simulator.core.market import Quote
from shared.tws import responses as rs

INSERT, UPDATE, DELETE = 0, 1, 2
ASK, BID = 0, 1
MAKERS = ("NSDQ", "ARCA", "BATS", "IEX", "EDGX", "NYSE")
MAX_ROWS = 20
Row = tuple[float, float, str]
"""Price, size, market maker."""


@dataclass(slots=True)
class DepthLine:
    """One subscription to an order book and the rows it has been told, best first, by side."""

    session: int
    req_id: int
    instrument: Instrument
    rows: int
    is_smart: bool
    told: dict[int, list[Row]] = field(default_factory=lambda: {ASK: [], BID: []})


def ladder(instrument: Instrument, best: float, best_size: float, side: int, rows: int) -> list[Row]:
    """Return one side of the book, best first; it ends where the price would not be positive."""
    tick = float(instrument.min_tick)
    step = tick if side == ASK else -tick
    made: list[Row] = []
    for row in range(rows):
        price = round(best + row * step, 6)
        if price <= 0 or best_size <= 0:
            break
        key = round(price / tick)
        share = 1.0 + row * (0.5 + hash_unit(instrument.con_id, key))
        size = best_size if row == 0 else float(max(1, int(best_size * share)))
        made.append((price, size, MAKERS[int(hash_unit(instrument.con_id ^ 7, key) * len(MAKERS))]))
    return made


def send_depth(floor: Floor, line: DepthLine, quote: Quote) -> None:
    """Tell what a quote changes in the rows."""
    sides = ((BID, quote.bid, quote.bid_size), (ASK, quote.ask, quote.ask_size))
    for side, price, size in sides:
        now = ladder(line.instrument, price, size, side, line.rows)
        known = line.told[side]
        for position, row in enumerate(now):
            if position >= len(known):
                _send(floor, line, position, INSERT, side, row)
            elif known[position] != row:
                _send(floor, line, position, UPDATE, side, row)
        for position in range(len(known) - 1, len(now) - 1, -1):
            _send(floor, line, position, DELETE, side, (0.0, 0.0, known[position][2]))
        line.told[side] = now


def _send(floor: Floor, line: DepthLine, position: int, operation: int, side: int, row: Row) -> None:
    price, size, maker = row
    message: rs.Response
    if line.instrument.sec_type == "STK":
        message = rs.MarketDepthL2(line.req_id, position, maker, operation, side, price, size, line.is_smart)
    else:
        message = rs.MarketDepth(line.req_id, position, operation, side, price, size)
    floor.send(line.session, message)
