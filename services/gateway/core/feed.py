"""Merge TWS' separate price and size messages into quotes and trades.

A quote is emitted when a network read ends, or earlier when a side changes twice within it, so that no state of the
market is lost and no half-updated one is shown. A trade is a lastPrice with its size; TWS repeats the size alone.
The first state after a subscription is a snapshot: flagged, since it is no change of the market.

Invariants:
1. What TWS sends is taken as it is: whoever packs the ticks leaves out those that are none (`pack_valid`).
2. At most `limit` ticks wait; above it quotes are coalesced to the newest valid one per contract, and what is lost is
   counted.
3. A silent feed knows the state of every line and says nothing; when it speaks again each line begins with a marker and
   a snapshot, as after a subscription. So does a line of which something was lost on its way to the bus.

Source: tick types, ib-facts E.3; delayed types A.12.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from shared.messages.market import FLAG_SNAPSHOT, DataQuality, Tick, TickKind, is_valid_tick, quote_tick, trade_tick

_NAN = math.nan
_BID, _ASK, _BID_SIZE, _ASK_SIZE = 1, 2, 4, 8
PRICE_TYPES = {1: 1, 66: 1, 2: 2, 67: 2, 4: 4, 68: 4}
"""tickPrice types that matter, delayed ones mapped to their live twins: 1 bid, 2 ask, 4 last."""
SIZE_TYPES = {0: 0, 69: 0, 3: 3, 70: 3, 5: 5, 71: 5}
"""tickSize types: 0 bid size, 3 ask size, 5 last size."""


class Line:
    """One subscription's state."""

    __slots__ = (
        "ask", "ask_size", "bid", "bid_size", "con_id", "flags", "has_quote", "last", "last_size", "last_snapshot",
        "quality", "size_pending", "touched",
    )  # fmt: skip

    def __init__(self, con_id: int) -> None:
        self.con_id = con_id
        self.bid = self.ask = self.last = _NAN
        self.bid_size = self.ask_size = self.last_size = 0.0
        self.quality = int(DataQuality.UNKNOWN)
        self.touched = 0
        self.flags = FLAG_SNAPSHOT
        self.last_snapshot = True
        self.has_quote = False
        self.size_pending = False


def _marker(con_id: int, now_ns: int) -> Tick:
    return Tick(con_id, now_ns, now_ns, TickKind.MARKER, 0, 0, 0, 0.0, 0.0, 0.0, 0.0)


class Feed:
    """All subscriptions of one session, by request id."""

    def __init__(self, *, limit: int = 50_000) -> None:
        self._limit = limit
        self._lines: dict[int, Line] = {}
        self._touched: dict[int, Line] = {}
        self._out: list[Tick] = []
        self._is_silent = False
        self.dropped = 0

    def subscribe(self, req_id: int, con_id: int, now_ns: int) -> None:
        """Begin a subscription: a marker says that quotes before it may have been missed."""
        self._lines[req_id] = Line(con_id)
        self._emit(_marker(con_id, now_ns))

    def unsubscribe(self, req_id: int) -> None:
        """End a subscription."""
        self._lines.pop(req_id, None)
        self._touched.pop(req_id, None)

    def clear(self) -> None:
        """Forget every subscription and what waits: the session or the leadership is gone."""
        self._lines.clear()
        self._touched.clear()
        self._out.clear()

    def hush(self) -> None:
        """Say nothing from here on, as a standby does; what waits is forgotten."""
        self._is_silent = True
        self._out.clear()

    def speak(self, now_ns: int) -> None:
        """Say what every line is at this moment, and from here on everything; nothing if it was not silent."""
        if not self._is_silent:
            return
        self._is_silent = False
        for line in self._lines.values():
            self._emit(_marker(line.con_id, now_ns))
            self._snapshot(line, now_ns)

    def lost(self, con_ids: Collection[int], now_ns: int) -> None:
        """Note that ticks of these contracts were taken and are lost: who reads must know, and what the price is now.

        The marker comes before what came meanwhile, which is later than what was lost; the snapshot after it.
        """
        lines = [line for line in self._lines.values() if line.con_id in con_ids]
        later, self._out = self._out, []
        for line in lines:
            self._emit(_marker(line.con_id, now_ns))
        self._out += later
        for line in lines:
            self._snapshot(line, now_ns)

    def _snapshot(self, line: Line, now_ns: int) -> None:
        if line.has_quote:
            line.flags = FLAG_SNAPSHOT
            self._quote(line, now_ns)
        if not math.isnan(line.last):
            last = (line.last, line.last_size, FLAG_SNAPSHOT)
            self._emit(trade_tick(line.con_id, now_ns, now_ns, line.quality, *last))

    def con_id_of(self, req_id: int) -> int:
        """Return the contract of a subscription, 0 for an unknown request."""
        line = self._lines.get(req_id)
        return line.con_id if line is not None else 0

    def data_type(self, req_id: int, quality: int) -> int:
        """Take a marketDataType; return the contract if it changed, else 0."""
        line = self._lines.get(req_id)
        if line is None or line.quality == quality:
            return 0
        line.quality = quality
        return line.con_id

    def price(self, req_id: int, tick_type: int, price: float, size: float, now_ns: int) -> None:
        """Take a tickPrice, which carries the size of its side too."""
        line = self._lines.get(req_id)
        kind = PRICE_TYPES.get(tick_type)
        if line is None or kind is None:
            return
        if kind == 4:
            self._trade(req_id, line, price, size, now_ns)
            return
        side = _BID if kind == 1 else _ASK
        if line.touched & side:
            self._quote(line, now_ns)
        is_quote = price > 0 or (price == 0 and size > 0)
        value, count = (price, size) if is_quote else (_NAN, 0.0)  # -1 with size 0 is "no quote" (ib-facts A.12)
        if side == _BID:
            if value == line.bid and count == line.bid_size:
                return
            line.bid, line.bid_size = value, count
        else:
            if value == line.ask and count == line.ask_size:
                return
            line.ask, line.ask_size = value, count
        line.touched |= side
        self._touched[req_id] = line

    def size(self, req_id: int, tick_type: int, size: float, now_ns: int) -> None:
        """Take a tickSize; one that only repeats its tickPrice changes nothing."""
        line = self._lines.get(req_id)
        kind = SIZE_TYPES.get(tick_type)
        if line is None or kind is None:
            return
        if kind == 5:
            if line.size_pending and size == line.last_size:
                line.size_pending = False
                return
            if not math.isnan(line.last):
                self._trade(req_id, line, line.last, size, now_ns, is_repeat=True)
            return
        if kind == 0:
            if size == line.bid_size or math.isnan(line.bid):
                return
            if line.touched & _BID_SIZE:
                self._quote(line, now_ns)
            line.bid_size = size
            line.touched |= _BID_SIZE
        else:
            if size == line.ask_size or math.isnan(line.ask):
                return
            if line.touched & _ASK_SIZE:
                self._quote(line, now_ns)
            line.ask_size = size
            line.touched |= _ASK_SIZE
        self._touched[req_id] = line

    def _trade(
        self, req_id: int, line: Line, price: float, size: float, now_ns: int, *, is_repeat: bool = False
    ) -> None:
        if line.touched:
            self._quote(line, now_ns)
            self._touched.pop(req_id, None)
        line.last, line.last_size = price, size
        line.size_pending = not is_repeat
        flags = FLAG_SNAPSHOT if line.last_snapshot else 0
        line.last_snapshot = False
        self._emit(trade_tick(line.con_id, now_ns, now_ns, line.quality, price, size, flags))

    def _quote(self, line: Line, now_ns: int) -> None:
        line.touched = 0
        if math.isnan(line.bid) and math.isnan(line.ask) and not line.has_quote:
            return
        tick = quote_tick(
            line.con_id, now_ns, now_ns, line.quality, line.bid, line.bid_size, line.ask, line.ask_size, line.flags
        )
        line.has_quote = True
        line.flags = 0
        self._emit(tick)

    def _emit(self, tick: Tick) -> None:
        if self._is_silent:
            return
        self._out.append(tick)
        if len(self._out) > self._limit:
            self._coalesce()

    def _coalesce(self) -> None:
        newest: dict[int, int] = {}
        for index, tick in enumerate(self._out):
            if tick.kind == TickKind.QUOTE and is_valid_tick(tick):
                newest[tick.con_id] = index
        kept = [
            tick
            for index, tick in enumerate(self._out)
            if tick.kind != TickKind.QUOTE or newest.get(tick.con_id) == index
        ]
        if len(kept) > self._limit // 2:
            kept = kept[len(kept) - self._limit // 2 :]
        self.dropped += len(self._out) - len(kept)
        self._out = kept

    def read_ended(self, now_ns: int) -> None:
        """Emit the quotes that changed in this network read."""
        for line in self._touched.values():
            if line.touched:
                self._quote(line, now_ns)
        self._touched.clear()

    def take(self) -> list[Tick]:
        """Return what waits, in order, and forget it."""
        out, self._out = self._out, []
        return out

    @property
    def waiting(self) -> int:
        """Return how many ticks wait."""
        return len(self._out)

    @property
    def is_silent(self) -> bool:
        """Return whether a standby's: it knows and says nothing."""
        return self._is_silent

    @property
    def faces(self) -> dict[int, tuple[float, ...]]:
        """Return contract → its prices and sizes: the same some time later, nothing has come (NaN is one object)."""
        return {
            line.con_id: (line.bid, line.bid_size, line.ask, line.ask_size, line.last, line.last_size)
            for line in self._lines.values()
        }

    @property
    def qualities(self) -> dict[int, int]:
        """Return contract → what kind of data flows, where that is known."""
        return {line.con_id: line.quality for line in self._lines.values() if line.quality != DataQuality.UNKNOWN}

    @property
    def subscribed(self) -> dict[int, int]:
        """Return request id → contract."""
        return {req_id: line.con_id for req_id, line in self._lines.items()}
