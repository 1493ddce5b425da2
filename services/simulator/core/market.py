"""Make quotes and trades: seeded synthetic prices that are a function of time.

Invariants:
1. The price of an instrument at a time follows from (seed, conId, time) alone, so live ticks, historical bars and a
   restarted exchange agree with each other.
2. A quote is never crossed or locked, and its prices are multiples of the tick.
3. Events come out in time order, never before their time.

The path is a sum of smooth noises whose periods grow by four and whose amplitudes grow by two: over any horizon its
spread grows like a random walk's. At `REFERENCE_S` every price is its instrument's base price.

News makes prices jump now and then; what a jump did fades over `_JUMP_LIFE_S`. Arrivals follow the exchange's day
where a calendar is followed: busy after the open and before the close.

Known limit: sizes carry no information.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import heappush, heapreplace

from services.simulator.core.chance import Chance, hash_unit, mix
from services.simulator.core.contracts import Instrument, Universe

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
REFERENCE_S = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())
_YEAR_S = 365.0 * 86400.0
_LEVELS = 14
_FAST_LEVELS = 3
_SLOW_STEPS = 4
"""Steps a second at which the slow levels are taken."""
_JUMP_CELL_S = 1800.0
_JUMP_SHARE = 0.04
"""The share of half hours in which a price jumps."""
_JUMP_LIFE_S = 8 * 3600.0
_JUMP_SIZE = 4.0
"""The largest jump, in standard deviations of half an hour."""
_MAX_BACKLOG_NS = NS_PER_S
_MAX_EVENTS = 1000
"""Made in one call at most; beyond them a market that is asked for more than it can do conflates to the present."""
_TRADE_SHARE = 0.3


@dataclass(slots=True)
class Quote:
    """The best bid and offer changed; sizes are in shares or units, `ts_ns` is the exchange's time.

    Not frozen: one is made per tick, and a frozen one takes three times as long. Nobody changes one.
    """

    con_id: int
    ts_ns: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float


@dataclass(slots=True)
class Trade:
    """Somebody traded; not frozen, for the reason above."""

    con_id: int
    ts_ns: int
    price: float
    size: float


MarketEvent = Quote | Trade


class PricePath:
    """The synthetic mid price of one instrument as a function of time."""

    __slots__ = (
        "_amplitudes", "_at_reference", "_base", "_jump_cell", "_jump_scale", "_jumps", "_lattice", "_seed", "_slow",
        "_slow_step",
    )  # fmt: skip

    def __init__(self, seed: int, con_id: int, base: float, volatility: float) -> None:
        self._seed = mix(seed * 1_000_003 + con_id)
        self._base = base
        self._amplitudes = [volatility * math.sqrt(4.0**level / _YEAR_S) for level in range(_LEVELS)]
        self._lattice: list[tuple[int, float, float]] = [(-1, 0.0, 0.0)] * _LEVELS
        self._slow_step = -1
        self._jump_cell = -1
        self._jump_scale = _JUMP_SIZE * volatility * math.sqrt(_JUMP_CELL_S / _YEAR_S)
        self._jumps: list[tuple[float, float]] = []
        self._slow = 0.0
        self._at_reference = 0.0
        self._at_reference = self._noise(float(REFERENCE_S))

    def price(self, at_s: float) -> float:
        """Return the price at Unix time `at_s`."""
        return self._base * math.exp(self._noise(at_s) - self._at_reference)

    def _noise(self, at_s: float) -> float:
        # The slow levels move by less than the fast ones within a step, so they are taken at its beginning.
        step = int(at_s * _SLOW_STEPS)
        if step != self._slow_step:
            self._slow = self._levels(step / _SLOW_STEPS, _FAST_LEVELS, _LEVELS)
            self._slow_step = step
        return self._slow + self._levels(at_s, 0, _FAST_LEVELS) + self._jumped(at_s)

    def _jumped(self, at_s: float) -> float:
        """Return what is left of the jumps so far."""
        cell = int(at_s / _JUMP_CELL_S)
        if cell != self._jump_cell:
            first = cell - int(_JUMP_LIFE_S / _JUMP_CELL_S) - 1
            self._jumps = [self._jump_in(each) for each in range(first, cell + 1) if self._draw(40, each) < _JUMP_SHARE]
            self._jump_cell = cell
        total = 0.0
        for moment_s, size in self._jumps:
            age_s = at_s - moment_s
            if 0.0 <= age_s < _JUMP_LIFE_S:
                total += size * (1.0 - age_s / _JUMP_LIFE_S)
        return total

    def _jump_in(self, cell: int) -> tuple[float, float]:
        return (cell + self._draw(41, cell)) * _JUMP_CELL_S, (2.0 * self._draw(42, cell) - 1.0) * self._jump_scale

    def _draw(self, kind: int, cell: int) -> float:
        return hash_unit(self._seed, (kind << 48) + cell)

    def _levels(self, at_s: float, first: int, end: int) -> float:
        total = 0.0
        period = 4.0**first
        lattice, amplitudes = self._lattice, self._amplitudes
        for level in range(first, end):
            position = at_s / period
            cell = int(position)
            known, left, right = lattice[level]
            if known != cell:
                key = level << 48
                left = 2.0 * hash_unit(self._seed, key + cell) - 1.0
                right = 2.0 * hash_unit(self._seed, key + cell + 1) - 1.0
                lattice[level] = (cell, left, right)
            x = position - cell
            total += amplitudes[level] * (left + (right - left) * x * x * (3.0 - 2.0 * x))
            period *= 4.0
        return total


def _normal(x: float) -> float:
    return 0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))


def option_price(under: float, strike: float, years: float, volatility: float, right: str) -> float:
    """Return the Black-Scholes price without interest and dividends."""
    if years <= 0 or volatility <= 0:
        return max(0.0, under - strike if right == "C" else strike - under)
    spread = volatility * math.sqrt(years)
    d1 = math.log(under / strike) / spread + spread / 2
    call = under * _normal(d1) - strike * _normal(d1 - spread)
    return call if right == "C" else call - under + strike


class Prices:
    """Mid prices of every instrument at any time."""

    def __init__(self, universe: Universe, seed: int) -> None:
        self._universe = universe
        self._seed = seed
        self._paths: dict[int, PricePath] = {}
        self._factors: dict[int, float] = {}

    def mid(self, instrument: Instrument, at_ns: int) -> float:
        """Return the mid price at a time."""
        if instrument.sec_type == "OPT":
            under = self._universe.by_id(instrument.under_con_id)
            if under is None:
                return 0.0
            instrument = self._universe.by_id(instrument.con_id) or instrument  # as a split has left it
            expiry_s = datetime.strptime(instrument.expiry, "%Y%m%d").replace(tzinfo=UTC).timestamp() + 75_600
            years = (expiry_s - at_ns / NS_PER_S) / _YEAR_S
            level = self.mid(under, at_ns) * float(instrument.deliverable / instrument.multiplier)
            return max(0.01, option_price(level, instrument.strike, years, instrument.volatility, instrument.right))
        if instrument.legs:
            total = sum(self.mid(leg, at_ns) * ratio * float(leg.multiplier) for leg, ratio in instrument.legs)
            return total / float(instrument.multiplier)
        path = self._paths.get(instrument.con_id)
        if path is None:
            path = PricePath(self._seed, _family(instrument), instrument.price, instrument.volatility)
            self._paths[instrument.con_id] = path
        price = path.price(at_ns / NS_PER_S)
        return price * self._factors[instrument.con_id] if instrument.con_id in self._factors else price

    def scale(self, con_id: int, factor: float) -> None:
        """Multiply all prices of an instrument, past ones too, as data vendors do after a split."""
        self._factors[con_id] = self._factors.get(con_id, 1.0) * factor

    def factor(self, con_id: int) -> float:
        """Return what the prices of an instrument are multiplied with."""
        return self._factors.get(con_id, 1.0)

    def anchor(self, instrument: Instrument, price: float, at_ns: int) -> None:
        """Shift an instrument's path so that it passes through `price` at a time (history of a replayed symbol)."""
        moved = PricePath(self._seed, instrument.con_id, 1.0, instrument.volatility)
        base = price / moved.price(at_ns / NS_PER_S)
        self._paths[instrument.con_id] = PricePath(self._seed, instrument.con_id, base, instrument.volatility)


def _family(instrument: Instrument) -> int:
    # Months of one future move together, as they follow one index.
    return mix(sum(map(ord, instrument.symbol))) if instrument.sec_type == "FUT" else instrument.con_id


class Maker:
    """Who quotes one instrument: draws quotes and trades around a mid price, on tick and never crossed."""

    __slots__ = (
        "_con_id", "_lot", "_lots", "_per_unit", "_spread", "_steps", "_tick", "_tick_from", "_tick_until",
        "_trade_lot", "_trade_lots", "_trade_share", "chance", "instrument", "mid", "step",
    )  # fmt: skip

    def __init__(self, instrument: Instrument, chance: Chance) -> None:
        self.instrument = instrument
        self.chance = chance
        self.mid, self.step = 0.0, -1
        kind = instrument.sec_type
        self._con_id = instrument.con_id
        self._spread = instrument.spread_ticks
        self._lot = 100 if kind == "STK" else 1
        self._lots = 2 * max(1, instrument.size // self._lot)
        self._trade_share = 0.0 if kind == "CASH" else 1.0 if kind == "IND" else _TRADE_SHARE
        self._trade_lots = max(1, instrument.size // 100)
        self._trade_lot = float(self._lot) if instrument.size else 0.0
        self._steps = instrument.rule.as_floats
        self._tick_from = self._tick_until = 0.0
        self._tick, self._per_unit = 0.0, 0

    def event(self, mid: float, at_ns: int) -> tuple[MarketEvent, float]:
        """Return what happens around a mid price, and in how many mean times the next thing will."""
        for_width, for_kind, for_bid, for_ask, for_wait = self.chance.five()
        quote = self.quote(mid, at_ns, for_width, for_bid, for_ask)
        wait = -math.log(1.0 - for_wait)
        if for_kind >= self._trade_share:
            return quote, wait
        price = quote.bid if for_bid < 0.5 else quote.ask
        return Trade(self._con_id, at_ns, price, self._trade_lot * (1 + int(for_ask * self._trade_lots))), wait

    def quote(self, mid: float, at_ns: int, for_width: float, for_bid: float, for_ask: float) -> Quote:
        """Return a two-sided quote from three draws."""
        if not self._tick_from <= mid < self._tick_until:
            self._find_tick(mid)
        width = int(self._spread * (0.5 + for_width) + 0.5) or 1
        bid_ticks = math.floor(mid / self._tick - width / 2 + 0.5)
        if bid_ticks < 1:
            bid_ticks = 1
        lot, lots = self._lot, self._lots
        per_unit = self._per_unit
        if per_unit:  # dividing whole numbers gives the float next to the decimal, as rounding does, but sooner
            bid, ask = bid_ticks / per_unit, (bid_ticks + width) / per_unit
        else:
            bid, ask = round(bid_ticks * self._tick, 6), round((bid_ticks + width) * self._tick, 6)
        return Quote(
            self._con_id,
            at_ns,
            bid,
            float(lot * (1 + int(for_bid * lots))),
            ask,
            float(lot * (1 + int(for_ask * lots))),
        )

    def _find_tick(self, mid: float) -> None:
        """Take the increment that applies at a price, and between which prices it does."""
        self._tick_from, self._tick_until, self._tick = 0.0, math.inf, self._steps[0][1]
        for low_edge, increment in self._steps:
            if mid >= low_edge:
                self._tick, self._tick_from = increment, low_edge
            else:
                self._tick_until = low_edge
                break
        whole = round(1 / self._tick)
        self._per_unit = whole if abs(whole * self._tick - 1) < 1e-12 else 0


class SyntheticMarket:
    """Quotes and trades of the instruments that somebody looks at.

    `tick_rate` is the mean number of events per second and instrument.
    """

    def __init__(
        self, prices: Prices, seed: int, tick_rate: float, activity: Callable[[Instrument, int], float] | None = None
    ) -> None:
        self._prices = prices
        self._activity = activity
        self._seed = seed
        self._mean_ns = NS_PER_S / tick_rate
        self._due: list[tuple[int, int]] = []
        self._active: dict[int, Maker] = {}

    def watch(self, instrument: Instrument, now_ns: int) -> list[MarketEvent]:
        """Start an instrument; return its first quote, or nothing if it runs already."""
        if instrument.con_id in self._active:
            return []
        maker = self._active[instrument.con_id] = Maker(instrument, Chance(mix(self._seed) ^ instrument.con_id))
        heappush(self._due, (now_ns + int(maker.chance.wait(self._mean_ns)), instrument.con_id))
        quote = maker.quote(self._mid(maker, now_ns), now_ns, *maker.chance.four()[:3])
        first: list[MarketEvent] = [quote]
        if instrument.sec_type != "CASH":
            first.append(Trade(instrument.con_id, now_ns, quote.bid, float(max(1, instrument.size // 2))))
        return first

    def unwatch(self, con_id: int) -> None:
        """Stop an instrument that nobody looks at any more."""
        if self._active.pop(con_id, None) is not None:
            self._due = sorted(entry for entry in self._due if entry[1] != con_id)

    def is_watched(self, con_id: int) -> bool:
        """Return whether the instrument runs."""
        return con_id in self._active

    def next_ns(self) -> int | None:
        """Return when the next event is due."""
        return self._due[0][0] if self._due else None

    def advance(self, now_ns: int) -> list[MarketEvent]:
        """Return all events due; what is more than a second late is skipped, as a feed that was held up conflates."""
        events: list[MarketEvent] = []
        due, active, activity = self._due, self._active, self._activity
        oldest_ns = now_ns - _MAX_BACKLOG_NS
        room = _MAX_EVENTS
        while due and due[0][0] <= now_ns:
            at_ns, con_id = due[0]
            if at_ns < oldest_ns:
                at_ns = oldest_ns
            if not room:
                at_ns = oldest_ns = now_ns
            else:
                room -= 1
            maker = active[con_id]
            event, wait = maker.event(self._mid(maker, at_ns), at_ns)
            events.append(event)
            if activity is not None:
                wait /= activity(maker.instrument, at_ns)
            heapreplace(due, (at_ns + 1 + int(wait * self._mean_ns), con_id))
        return events

    def _mid(self, maker: Maker, at_ns: int) -> float:
        # Prices move once a millisecond: the path is smooth below that, and busy markets are computed in time.
        step = at_ns // NS_PER_MS
        if maker.step != step:
            maker.mid, maker.step = self._prices.mid(maker.instrument, step * NS_PER_MS), step
        return maker.mid


def quote_around(instrument: Instrument, mid: float, chance: Chance, at_ns: int) -> Quote:
    """Return a two-sided quote around a mid price, on tick and never crossed."""
    return Maker(instrument, chance).quote(mid, at_ns, *chance.four()[:3])
