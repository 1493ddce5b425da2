"""Make combinations (secType BAG) of listed contracts, and a market of their legs' markets.

Invariants:
1. The same legs are the same combination, with the same conId, whoever names them and after a restart too.
2. A combination's offer is what its legs cost at once: bought legs at their offer, sold legs at their bid; its bid is
   the reverse. It may be below zero.
3. The prices of the legs of a fill add up to the price of the combination.

A price is per unit of the largest multiplier among the legs: 100 shares sold with one call are priced per share.

Known limits: legs are of one currency; at most `MOST` different combinations are known at once.

Source: ib-facts A.6 (execIds of legs), B.7.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from services.simulator.core.book import FIRST_COMBO_ID, Book
from services.simulator.core.chance import mix
from services.simulator.core.contracts import NO_DEFINITION, Instrument, Listing, MarketRule, NotFound, Universe
from services.simulator.core.floor import Floor
from services.simulator.core.market import Quote
from services.simulator.core.matching import price_of
from shared.tws.contract import ComboLeg, TwsContract

MOST = 5000
MAX_LEGS = 8
MAX_RATIO = 10_000
ORDER_TYPES = "ACTIVETIM,COND,DAY,FOK,GTC,GTD,IOC,LMT,MKT,OCA,STP,STPLMT,WHATIF"
_CENTS = MarketRule(26, ((Decimal(0), Decimal("0.01")),))
_SIDES = {"BUY": 1, "SELL": -1, "SSHORT": -1}


def resolve_combo(universe: Universe, wanted: TwsContract) -> Listing | NotFound:
    """Return the combination that a contract's legs describe, or why there is none."""
    legs: list[tuple[Instrument, int]] = []
    if not wanted.combo_legs or len(wanted.combo_legs) > MAX_LEGS:
        return NotFound(NO_DEFINITION)
    for leg in wanted.combo_legs:
        instrument = universe.by_id(leg.con_id)
        side = _SIDES.get(leg.action)
        if instrument is None or instrument.legs or not instrument.can_trade:
            return NotFound(NO_DEFINITION)
        if side is None or not 0 < leg.ratio <= MAX_RATIO or instrument.sec_type == "CASH":
            return NotFound("Invalid combo leg: an action and a ratio are needed")
        legs.append((instrument, side * leg.ratio))
    if len({instrument.con_id for instrument, _ in legs}) < len(legs) or len({i.currency for i, _ in legs}) > 1:
        return NotFound("Invalid combo: its legs must differ and have one currency")
    combo = _combine(wanted.symbol, tuple(legs))
    if universe.by_id(combo.con_id) is None and not universe.add_combo(combo, MOST):
        return NotFound("Too many different combinations")
    return Listing(universe.by_id(combo.con_id) or combo, wanted.exchange.upper() or "SMART")


def _combine(symbol: str, legs: tuple[tuple[Instrument, int], ...]) -> Instrument:
    number = 0
    for instrument, ratio in legs:
        number = mix(number ^ mix(instrument.con_id * 20_011 + ratio))
    first = legs[0][0]
    rules = {instrument.rule for instrument, _ in legs}
    is_future = all(instrument.sec_type == "FUT" for instrument, _ in legs)
    return Instrument(
        con_id=FIRST_COMBO_ID + number % 1_000_000_000, symbol=symbol or first.symbol, sec_type="BAG",
        currency=first.currency, primary_exchange="", exchanges=("SMART", *first.exchanges),
        long_name=" ".join(f"{ratio:+d} {each.local_symbol or each.symbol}" for each, ratio in legs),
        rule=first.rule if is_future and len(rules) == 1 else _CENTS, price=0.0,
        multiplier=max(instrument.multiplier for instrument, _ in legs), time_zone=first.time_zone,
        calendar=first.calendar, order_types=ORDER_TYPES, legs=legs,
    )  # fmt: skip


def as_ordered(combo: Instrument, wanted: TwsContract, exchange: str) -> TwsContract:
    """Return the contract that messages about a combination's orders carry: the client's legs as they came."""
    found = combo.contract(exchange)
    return replace(found, combo_legs=wanted.combo_legs or legs_of(combo))


def legs_of(combo: Instrument) -> tuple[ComboLeg, ...]:
    """Return a combination's legs as messages carry them."""
    return tuple(
        ComboLeg(each.con_id, abs(ratio), "BUY" if ratio > 0 else "SELL", "SMART") for each, ratio in combo.legs
    )


def quote_of(combo: Instrument, books: Iterable[Book], at_ns: int) -> Quote | None:
    """Return what the legs' books, in the legs' order, make of the combination; None while one has no quote."""
    tick, unit = float(combo.rule.tick_at(Decimal(0))), float(combo.multiplier)
    bid = ask = 0.0
    bid_size = ask_size = math.inf
    for (leg, ratio), book in zip(combo.legs, books, strict=True):
        if not book.has_quote:
            return None
        share = ratio * float(leg.multiplier) / unit
        buys = ratio > 0
        ask += share * (book.ask if buys else book.bid)
        bid += share * (book.bid if buys else book.ask)
        count = abs(ratio)
        ask_size = min(ask_size, (book.ask_size if buys else book.bid_size) // count)
        bid_size = min(bid_size, (book.bid_size if buys else book.ask_size) // count)
    low, high = math.floor(bid / tick + 1e-6), math.ceil(ask / tick - 1e-6)
    high = max(high, low + 1)
    return Quote(combo.con_id, at_ns, round(low * tick, 6), bid_size, round(high * tick, 6), ask_size)


def leg_prices(combo: Instrument, price: Decimal, marks: Iterable[Decimal]) -> list[Decimal]:
    """Return prices of the legs that add up to a combination's price: their marks, the dearest leg takes the rest."""
    found = list(marks)
    weights = [leg.multiplier * ratio for leg, ratio in combo.legs]
    dearest = max(range(len(found)), key=lambda index: abs(weights[index] * found[index]))
    others = sum(
        (weight * mark for index, (weight, mark) in enumerate(zip(weights, found, strict=True)) if index != dearest),
        Decimal(0),
    )
    found[dearest] = (price * combo.multiplier - others) / weights[dearest]
    return found


class ComboMarket:
    """The combinations that somebody looks at; every move of a leg moves them."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._by_leg: dict[int, dict[int, Instrument]] = {}

    def watch(self, combo: Instrument) -> Quote | None:
        """Follow a combination's legs; return its first quote."""
        for leg, _ in combo.legs:
            self._by_leg.setdefault(leg.con_id, {})[combo.con_id] = combo
            self._floor.watch(leg)
        return self._quote(combo, self._floor.now_ns)

    def unwatch(self, combo: Instrument) -> None:
        """Stop following; legs that nobody else looks at rest too."""
        for leg, _ in combo.legs:
            followers = self._by_leg.get(leg.con_id, {})
            followers.pop(combo.con_id, None)
            if not followers:
                self._by_leg.pop(leg.con_id, None)
                self._floor.unneeded(leg.con_id)

    def needs(self, con_id: int) -> bool:
        """Return whether a contract is a leg of what is followed."""
        return con_id in self._by_leg

    def after(self, con_id: int, at_ns: int) -> list[Quote]:
        """Return the quotes of the combinations of which a leg has moved, where they moved."""
        moved = []
        for combo in self._by_leg.get(con_id, {}).values():
            quote, book = self._quote(combo, at_ns), self._floor.book(combo.con_id)
            if quote is not None and (quote.bid, quote.ask, quote.bid_size, quote.ask_size) != (
                book.bid, book.ask, book.bid_size, book.ask_size,
            ):  # fmt: skip
                moved.append(quote)
        return moved

    def _quote(self, combo: Instrument, at_ns: int) -> Quote | None:
        return quote_of(combo, [self._floor.book(leg.con_id) for leg, _ in combo.legs], at_ns)

    def marks(self, combo: Instrument) -> list[Decimal]:
        """Return what the legs are worth now."""
        return [price_of(self._floor.book(leg.con_id).mid or self._floor.mark(leg)) for leg, _ in combo.legs]
