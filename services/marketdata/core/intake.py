"""Take tick batches apart: the one hot loop of the service, plain Python with local names and no object per tick.

Measured in `bench`: see the service's report. A batch is 64-byte records (`shared.messages.market.TICK_RECORD`).
"""

from __future__ import annotations

from collections.abc import Callable

from services.marketdata.core.bars import BarRules, ContractBars
from services.marketdata.core.snapshots import LastPrices
from shared.errors import DecodeError
from shared.messages.market import FLAG_LATE, FLAG_SNAPSHOT, TICK_RECORD, Bar, TickKind
from shared.sessions import SessionCalendar

_MAX_AHEAD_NS = 2_000_000_000
"""An event time further ahead of our receipt than this is not believed: it would close every bar before its time."""
_QUOTE = int(TickKind.QUOTE)
_TRADE = int(TickKind.TRADE)
_FIRST_DELAYED = 3


class Intake:
    """Feeds bars and snapshots from batches.

    Args:
        rules: what bars to build.
        calendar_of: the trading days of a contract seen for the first time.
        known_from_ns: per partition or contract, from when on ticks are known whole; 0 asks for the first tick's time.
    """

    def __init__(
        self,
        rules: BarRules,
        calendar_of: Callable[[int], SessionCalendar],
        known_from_ns: Callable[[int], int] = lambda _: 0,
    ) -> None:
        self._rules = rules
        self._calendar_of = calendar_of
        self._known_from_ns = known_from_ns
        self.last = LastPrices()
        self.bars: dict[int, ContractBars] = {}
        self.ticks = 0

    def bars_of(self, con_id: int, first_ns: int) -> ContractBars:
        """Return the bars of a contract, made at its first tick."""
        built = self.bars.get(con_id)
        if built is None:
            known_ns = self._known_from_ns(con_id) or first_ns
            built = ContractBars(con_id, self._calendar_of(con_id), self._rules, known_from_ns=known_ns)
            self.bars[con_id] = built
        return built

    def apply(self, body: bytes, out: list[Bar]) -> int:
        """Apply a batch, append the bars it closes or revises to `out`, and return how many ticks it held.

        Raises:
            DecodeError: the body is no whole number of records; nothing was applied.
        """
        count, rest = divmod(len(body), TICK_RECORD.size)
        if rest:
            raise DecodeError(
                f"a tick batch of {len(body)} bytes holds no whole number of records of {TICK_RECORD.size}"
            )
        quotes, trades, dirty, bars = self.last.quotes, self.last.trades, self.last.dirty, self.bars
        for record in TICK_RECORD.iter_unpack(body):
            con_id, ts_ns, init_ns, kind, quality, flags, _, price, size, _, _ = record
            if kind == _QUOTE:
                quotes[con_id] = record
                dirty[con_id] = init_ns
                if con_id not in bars:
                    self.bars_of(con_id, ts_ns)
            elif kind == _TRADE:
                if ts_ns > init_ns + _MAX_AHEAD_NS:
                    ts_ns = init_ns
                if not flags & FLAG_LATE:  # a late trade is good for bars, it is no last price
                    trades[con_id] = record
                    dirty[con_id] = init_ns
                built = bars.get(con_id) or self.bars_of(con_id, ts_ns)
                if quality >= _FIRST_DELAYED:
                    built.note_lag(max(0, init_ns - ts_ns))
                if not flags & FLAG_SNAPSHOT:
                    built.on_trade(ts_ns, price, size, quality, out)
            else:
                self._mark(con_id, ts_ns)
        self.ticks += count
        return count

    def _mark(self, con_id: int, ts_ns: int) -> None:
        if con_id in self.bars:
            self.bars[con_id].mark_gap(ts_ns)
        elif con_id <= 0:
            self.mark_gap(ts_ns)

    def mark_gap(self, until_ns: int, is_touched: Callable[[int], bool] = lambda _: True) -> None:
        """Ticks up to `until_ns` may be missing, of every contract or of those that `is_touched` names."""
        for con_id, built in self.bars.items():
            if is_touched(con_id):
                built.mark_gap(until_ns)

    def advance(self, now_ns: int, out: list[Bar]) -> None:
        """Close what ended, in every contract."""
        for built in self.bars.values():
            built.advance(now_ns, out)

    def deadline_ns(self) -> int | None:
        """Return when to call `advance` if nothing comes."""
        deadlines = [due for due in (built.deadline_ns() for built in self.bars.values()) if due is not None]
        return min(deadlines, default=None)
