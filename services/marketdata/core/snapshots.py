"""Keep the last quote and trade of each contract, and write them as the plain fields that people read.

A snapshot is the state after the last tick; between two writings any number of ticks are one.
"""

from __future__ import annotations

from services.marketdata.core.bars import DayState
from shared.messages.market import FLAG_SNAPSHOT, DataQuality

Record = tuple[int, int, int, int, int, int, int, float, float, float, float]
"""A tick record as `TICK_RECORD` unpacks it; fields as in `shared.messages.market.Tick`."""
_DAY_FLOATS = ("open", "high", "low", "last", "volume", "notional")
_DAY_INTS = ("open_ns", "close_ns", "trades", "first_ns", "last_ns", "quality", "upto_ns")
QUALITY_NAMES = {int(quality): quality.name for quality in DataQuality}


def _number(value: float) -> str:
    """Return a float as people write it; "" where there is none."""
    if value != value:
        return ""
    return str(int(value)) if value == int(value) else repr(value)


class LastPrices:
    """Last quote and trade per contract. `quotes` and `trades` are filled by the intake, `dirty` says what changed."""

    def __init__(self) -> None:
        self.quotes: dict[int, Record] = {}
        self.trades: dict[int, Record] = {}
        self.dirty: dict[int, int] = {}
        """conId → when we got its last tick (ts_init_ns); emptied when written."""
        self.last_tick_ns: dict[int, int] = {}

    def take_dirty(self) -> list[int]:
        """Return the contracts that changed since the last call."""
        changed = list(self.dirty)
        self.last_tick_ns.update(self.dirty)
        self.dirty.clear()
        return changed

    def qualities(self) -> dict[int, int]:
        """Return the kind of data of each contract's newest tick."""
        newest: dict[int, tuple[int, int]] = {}
        for records in (self.trades, self.quotes):
            for con_id, record in records.items():
                newest[con_id] = max(newest.get(con_id, (0, 0)), (record[2], record[4]))
        return {con_id: quality for con_id, (_, quality) in newest.items()}

    def fields(self, con_id: int, symbol: str, day: DayState | None) -> dict[str, str]:
        """Return the hash fields of a contract; `ts_ns` is the newest tick's event time as a whole number of ns.

        `fresh_ns` is when we got the newest tick that was no repetition of old prices at the start of a subscription,
        0 where there is none: what risk's rule about stale data goes by.

        The shell adds `ts` as ISO text, for which it needs a clock's formatting.
        """
        quote, trade = self.quotes.get(con_id), self.trades.get(con_id)
        records = [record for record in (quote, trade) if record is not None]
        newest = max(records, key=lambda r: (r[1], r[2]))
        fields = {
            "con_id": str(con_id),
            "symbol": symbol,
            "bid": "",
            "bid_size": "",
            "ask": "",
            "ask_size": "",
            "last": "",
            "last_size": "",
            "volume": _number(day.volume) if day is not None else "0",
            "ts_ns": str(newest[1]),
            "ts_init_ns": str(newest[2]),
            "fresh_ns": str(max((record[2] for record in records if not record[5] & FLAG_SNAPSHOT), default=0)),
            "quality": QUALITY_NAMES.get(newest[4], "UNKNOWN"),
        }
        if quote is not None:
            fields |= {
                "bid": _number(quote[7]),
                "bid_size": _number(quote[8]),
                "ask": _number(quote[9]),
                "ask_size": _number(quote[10]),
            }
        if trade is not None:
            fields |= {"last": _number(trade[7]), "last_size": _number(trade[8])}
        return fields | day_fields(day)


def day_fields(day: DayState | None) -> dict[str, str]:
    """Return the running daily bar as fields `day_…`; empty texts where there is none, so that an old one is gone."""
    names = (*_DAY_FLOATS, *_DAY_INTS, "is_complete")
    if day is None:
        return dict.fromkeys([f"day_{name}" for name in names], "")
    fields = {f"day_{name}": _number(getattr(day, name)) for name in _DAY_FLOATS}
    fields |= {f"day_{name}": str(getattr(day, name)) for name in _DAY_INTS}
    return fields | {"day_is_complete": "1" if day.is_complete else "0"}


def day_from_fields(fields: dict[str, bytes]) -> DayState | None:
    """Return the running daily bar that `day_fields` wrote, None where there is none or it cannot be read."""
    try:
        floats = {name: float(fields[f"day_{name}"]) for name in _DAY_FLOATS}
        whole = {name: int(fields[f"day_{name}"]) for name in _DAY_INTS}
        is_complete = fields["day_is_complete"] == b"1"
    except (KeyError, ValueError):
        return None
    return DayState(
        open_ns=whole["open_ns"],
        close_ns=whole["close_ns"],
        trades=whole["trades"],
        first_ns=whole["first_ns"],
        last_ns=whole["last_ns"],
        quality=whole["quality"],
        upto_ns=whole["upto_ns"],
        is_complete=is_complete,
        **floats,
    )
