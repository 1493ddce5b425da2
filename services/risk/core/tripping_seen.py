"""Decide which breakers trip on what was seen: errors, odd executions, liquidations, positions without their stops.

Asked by the shell four times a second. Under a limits file of an older set of rules they only warn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from services.risk.core.breakers import Trip
from services.risk.core.exposure import Book
from services.risk.core.limits import Limits, LimitSet
from services.risk.core.positions import ContractExposure
from services.risk.core.rule import plain
from services.risk.core.rules_permission import resting_stops
from shared.ids import MANUAL, UNASSIGNED
from shared.money import ZERO

ERRORS = "errors"
ANOMALY = "execution_anomaly"
LIQUIDATION = "liquidation"
UNPROTECTED = "unprotected"
SINCE = 3
"""The set of rules these came with."""
_NS_PER_S = 1_000_000_000
_WINDOW_S = Decimal(60)


def trip_seen(book: Book, limits: Limits, now_ns: int) -> None:
    """Trip what has reason to, for the account and for each strategy that holds something."""
    found = [*_of_account(book, limits.base, now_ns), *_of_strategies(book, limits, now_ns)]
    for name, trip in found:
        is_in_force = limits.rules_version >= SINCE
        book.breakers.trip(name, trip if is_in_force else replace(trip, rung="warn"))


def _of_account(book: Book, limits: LimitSet, now_ns: int) -> Iterator[tuple[str, Trip]]:
    odd, most, window_s = book.oddities, limits.errors_max, limits.errors_window_s or _WINDOW_S
    if most is not None and odd.errors:
        errors = odd.errors_within(int(window_s * _NS_PER_S), now_ns)
        if errors > most:
            text = f"{errors} orders failed, or entries could not be read, within {plain(window_s)} s"
            yield ERRORS, Trip(text, plain(most), str(errors), limits.errors_rung)
    away, rate = limits.fill_away_percent, limits.executions_rate_max
    if odd.strange:
        yield ANOMALY, Trip(odd.strange, "none", "1", limits.anomaly_rung)
    elif away is not None and odd.away_percent > away:
        yield ANOMALY, Trip(odd.away_text, f"{plain(away)} %", f"{odd.away_percent:.2f} %", limits.anomaly_rung)
    elif rate is not None and odd.executions_peak > rate:
        text = f"{odd.executions_peak} executions came within a second"
        yield ANOMALY, Trip(text, plain(rate), str(odd.executions_peak), limits.anomaly_rung)
    if odd.liquidated:
        yield LIQUIDATION, Trip(f"the broker liquidated: {odd.liquidated}", "none", "1", limits.liquidation_rung)


def _of_strategies(book: Book, limits: Limits, now_ns: int) -> Iterator[tuple[str, Trip]]:
    for contract in book.contracts.values():
        for strategy, own in contract.by_strategy.items():
            if strategy in (MANUAL, UNASSIGNED):
                continue
            limit_set = limits.for_order(strategy, contract.con_id, contract.info)
            limit_s = limit_set.unprotected_max_s
            bare = ZERO if limit_set.protection == "allow" else _bare(contract, strategy, own)
            bare_s = _watch(book, (strategy, contract.con_id), now_ns, is_bare=bool(bare))
            if limit_s is not None and bare_s > limit_s:
                name = contract.info.name if contract.info is not None else f"#{contract.con_id}"
                text = f"{plain(bare)} of {name} that strategy {strategy} holds have had no stop for {bare_s:.0f} s"
                trip = Trip(text, f"{plain(limit_s)} s", f"{bare_s:.0f} s", limit_set.unprotected_rung)
                yield f"{UNPROTECTED}:{strategy}", trip


def _bare(contract: ContractExposure, strategy: str, own: Decimal) -> Decimal:
    """Return how much of a position no stop of its strategy would close."""
    return max(ZERO, abs(own) - resting_stops(contract, strategy, -1 if own > ZERO else 1)) if own else ZERO


def _watch(book: Book, key: tuple[str, int], now_ns: int, *, is_bare: bool) -> Decimal:
    """Return for how many seconds a position has been without its stops."""
    known = book.oddities.unprotected
    if not is_bare:
        known.pop(key, None)
        return ZERO
    return Decimal(now_ns - known.setdefault(key, now_ns)) / _NS_PER_S
