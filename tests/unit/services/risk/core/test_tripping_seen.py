"""Each breaker on what was seen trips once at its limit, with its rung, holds entries, lets reductions pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from services.risk.core.exposure import Book
from services.risk.core.tripping_seen import ANOMALY, ERRORS, LIQUIDATION, UNPROTECTED, trip_seen
from shared.messages.control import Control, ControlAction
from shared.messages.orders import OrderType
from tests.risk_desk import NOW, SECOND, D, decided, fill_of, hold, intent_of, leg_of, limits_with, ready_book

IN_FORCE = {
    "errors_max": 2, "errors_window_s": 60, "errors_rung": "reduce_only", "fill_away_percent": 5,
    "executions_rate_max": 3, "anomaly_rung": "reduce_only", "liquidation_rung": "reduce_only",
    "unprotected_max_s": 30, "unprotected_rung": "reduce_only", "protection": "warn",
}  # fmt: skip


def _fail(book: Book) -> None:
    for _ in range(3):
        book.oddities.erred(NOW)


def _rush(book: Book) -> None:
    assert decided(intent_of(50, "BUY", 10), book, limits_with()).command is not None
    for number in range(4):
        fill_of(book, 50, 1, "BUY", 1, exec_id=f"r{number}.01.01")


def _far(book: Book) -> None:
    assert decided(intent_of(50, "BUY", 10), book, limits_with()).command is not None
    fill_of(book, 50, 1, "BUY", 1, price=D(107), exec_id="f.01.01")


CASES: list[tuple[str, str, Callable[[Book], object]]] = [
    (ERRORS, "RISK_ERRORS_MAX", _fail),
    (ANOMALY, "RISK_EXECUTION_ANOMALY", _rush),
    (ANOMALY, "RISK_EXECUTION_ANOMALY", _far),
    (ANOMALY, "RISK_EXECUTION_ANOMALY", lambda book: fill_of(book, 60, 1, "BUY", 1, exec_id="u.01.01")),
    (LIQUIDATION, "RISK_LIQUIDATION",
     lambda book: fill_of(book, 0, 1, "SELL", 1, exec_id="l.01.01", intent_id="", perm_id=9, is_liquidation=True)),
]  # fmt: skip


def held_book() -> Book:
    book = ready_book()
    hold(book, 1, 10)
    book.oddities.resume()
    return book


@pytest.mark.parametrize(("name", "code", "spoil"), CASES)
def test_a_breaker_trips_latches_and_spares_reductions(name: str, code: str, spoil: Callable[[Book], object]) -> None:
    book, limits = held_book(), limits_with(**{**IN_FORCE, "protection": "allow"})
    trip_seen(book, limits, NOW)
    assert not book.breakers.trips
    spoil(book)
    trip_seen(book, limits, NOW)
    trip_seen(book, limits, NOW + 3600 * SECOND)
    assert list(book.breakers.trips) == [name] and book.breakers.trips[name].rung == "reduce_only"
    refused = decided(intent_of(1), book, limits).decision
    assert refused.code == code and not refused.approved
    assert decided(intent_of(2, "SELL", 5), book, limits).decision.approved
    book.apply(Control(control_id="r", action=ControlAction.RESUME, who="me", reason="seen"), NOW)
    trip_seen(book, limits, NOW)
    elsewhere = intent_of(3, con_id=2)  # in contract 1 what was liquidated is still to be assigned
    assert not book.breakers.trips and decided(elsewhere, book, limits).decision.approved


def test_under_an_older_set_of_rules_it_only_warns() -> None:
    book, limits = held_book(), replace(limits_with(**IN_FORCE), rules_version=2)
    _fail(book)
    trip_seen(book, limits, NOW)
    decision = decided(intent_of(1, price="100.00"), book, limits).decision
    assert decision.approved and "RISK_ERRORS_MAX" in [one.code for one in decision.warned]


@pytest.mark.parametrize("values", [{"protection": "allow"}, {"unprotected_max_s": None}])
def test_protection_that_nobody_asked_for_trips_nothing(values: dict[str, Any]) -> None:
    book, limits = held_book(), limits_with(**{**IN_FORCE, **values})
    for seconds in (0, 3600):
        trip_seen(book, limits, NOW + seconds * SECOND)
    assert not book.breakers.trips


def test_a_position_without_its_stop_trips_after_its_time_and_a_stop_ends_the_wait() -> None:
    book, limits = held_book(), limits_with(**IN_FORCE)
    trip_seen(book, limits, NOW)
    trip_seen(book, limits, NOW + 30 * SECOND)
    assert not book.breakers.trips
    stop = intent_of(1, legs=(leg_of("SELL", 10, None, order_type=OrderType.STOP, stop_price=D(90)),))
    assert decided(stop, book, limits).command is not None
    trip_seen(book, limits, NOW + 31 * SECOND)
    assert not book.breakers.trips
    book.release(stop)
    for seconds in (40, 71):
        trip_seen(book, limits, NOW + seconds * SECOND)
    (name,) = book.breakers.trips
    assert name == f"{UNPROTECTED}:s" and "10 of S1" in book.breakers.trips[name].text
    later: dict[str, Any] = {"valid_until_ns": NOW + 3600 * SECOND}
    assert decided(intent_of(2, **later), book, limits).decision.code == "RISK_PROTECTION_MISSING"
    assert decided(intent_of(3, strategy="t", **later), book, limits).decision.code != "RISK_PROTECTION_MISSING"
    assert decided(intent_of(4, "SELL", 10, **later), book, limits).decision.approved
