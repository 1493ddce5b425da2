"""Commands for what happens to markets: halts, price limits, jumps, shares that are hard to borrow."""

from __future__ import annotations

from collections.abc import Callable

from services.simulator.core.contracts import Instrument
from services.simulator.core.data_desk import DataDesk
from services.simulator.core.floor import Floor
from services.simulator.core.market import NS_PER_S


class MarketEvents:
    """What exchanges and other traders do."""

    def __init__(self, floor: Floor, data: DataDesk) -> None:
        self._floor = floor
        self._data = data

    def acts(self) -> list[Callable[..., None]]:
        """Return the commands."""
        return [self.halt, self.resume_trading, self.price_limits, self.price_jump, self.hard_to_borrow]

    def halt(self, *, symbol: str, seconds: float = 0.0) -> None:
        """Halt trading in a contract, for some seconds or until `resume_trading`: no quotes, trades or fills."""
        instrument = self._floor.universe.named(symbol)
        if not 0 <= seconds <= 7 * 86_400:
            raise ValueError("seconds must be 0 to a week")
        self._set_halted(instrument, is_halted=True)
        if seconds:
            self._floor.later(int(seconds * NS_PER_S), lambda: self._set_halted(instrument, is_halted=False))

    def resume_trading(self, *, symbol: str) -> None:
        """End a trading halt."""
        self._set_halted(self._floor.universe.named(symbol), is_halted=False)

    def _set_halted(self, instrument: Instrument, *, is_halted: bool) -> None:
        book = self._floor.book(instrument.con_id)
        if book.is_halted == is_halted:
            return
        book.is_halted = is_halted
        self._floor.log("halt" if is_halted else "resume_trading", con_id=instrument.con_id, symbol=instrument.symbol)
        self._data.tell_halted(instrument.con_id, is_halted=is_halted)

    def price_limits(self, *, symbol: str, low: float = 0.0, high: float = 0.0) -> None:
        """Let nothing trade below `low` or above `high` today; 0 lifts a limit. Orders beyond are rejected (201)."""
        instrument = self._floor.universe.named(symbol)
        if low < 0 or high < 0 or (high and low >= high):
            raise ValueError("low must be below high, both positive or 0")
        book = self._floor.book(instrument.con_id)
        book.limit_low, book.limit_high = float(low), float(high)

    def price_jump(self, *, symbol: str, percent: float) -> None:
        """Move a synthetic price at once by so many percent, as news does; a recording's prices stay."""
        instrument = self._floor.universe.named(symbol)
        if not -90 <= percent <= 1000 or instrument.sec_type == "OPT":
            raise ValueError("percent must be -90 to 1000, and the contract no option: those follow their stock")
        self._floor.prices.scale(instrument.con_id, 1 + percent / 100)

    def hard_to_borrow(self, *, symbol: str, seconds: float = 30.0) -> None:
        """Let short sales of a stock wait so long for shares to lend (404); 0 seconds end it."""
        instrument = self._floor.universe.named(symbol)
        if not 0 <= seconds <= 7 * 86_400:
            raise ValueError("seconds must be 0 to a week")
        self._floor.hard_to_borrow.pop(instrument.symbol, None)
        if seconds:
            self._floor.hard_to_borrow[instrument.symbol] = float(seconds)
