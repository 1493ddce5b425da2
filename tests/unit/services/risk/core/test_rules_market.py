"""Rules on the market, one case each way."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.risk.core.days import Window
from services.risk.core.decide import decide
from shared.messages.market import TickKind
from shared.messages.orders import OrderType
from tests.risk_desk import NOW, D, info, intent_of, leg_of, limits_with, ready_book, set_price


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(("half", "approved"), [(1.0, True), (3.0, False)])
@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_a_market_order_pays_at_most_a_share_of_the_price(half: float, approved: bool, side: str) -> None:
    book, limits = ready_book(), limits_with(market_slippage_percent=2)
    book.apply_tick(1, TickKind.QUOTE, 1, NOW, 100 - half, 100 + half)
    decision = decide(intent_of(1, side, price=None), book, limits, NOW).decision
    assert decision.approved is approved and (approved or decision.code == "RISK_MARKET_SLIPPAGE")
    stop = leg_of(side, 1, None, order_type=OrderType.STOP, stop_price=D("100.00"))
    assert decide(intent_of(2, legs=(stop,)), book, limits, NOW).decision.approved is approved
    assert decide(intent_of(3, side), book, limits, NOW).decision.approved, "a limit order names its price"


@pytest.mark.parametrize(("choice", "approved"), [("allow", True), ("warn", True), ("refuse", False)])
def test_crossed_and_frozen_quotes(choice: str, approved: bool) -> None:
    for limits, code in (
        (limits_with(crossed_quotes=choice), "RISK_QUOTE_CROSSED"),
        (limits_with(frozen_data=choice), "RISK_DATA_FROZEN"),
    ):
        book = ready_book()
        book.apply_tick(1, TickKind.QUOTE, 2, NOW, 100.02, 100.0)
        decision = decide(intent_of(1), book, limits, NOW).decision
        assert decision.approved is approved
        assert [one.code for one in (*decision.failed, *decision.warned)] == ([] if choice == "allow" else [code])
        set_price(book, 1, 100.0, quality=1)
        assert not decide(intent_of(1), book, limits, NOW).decision.warned


def test_orders_outside_a_contracts_hours() -> None:
    book, limits = ready_book(), limits_with(market_closed="refuse")
    hours: dict[str, Any] = {
        "liquid_hours": "20261125:0930-20261125:1600",
        "trading_hours": "20261125:0400-20261125:2000",
    }
    book.apply(info(1, time_zone="US/Eastern", **hours), NOW)
    at = ns("2026-11-25 08:00")
    late: dict[str, Any] = {"valid_until_ns": at + 1}
    assert decide(intent_of(1, **late), book, limits, at).decision.code == "RISK_MARKET_CLOSED"
    outside = intent_of(2, legs=(leg_of("BUY", 1, outside_rth=True),), **late)
    assert decide(outside, book, limits, at).decision.approved
    assert decide(outside, book, limits, ns("2026-11-25 03:00")).decision.code == "RISK_MARKET_CLOSED"
    noon = ns("2026-11-25 12:00")
    assert decide(intent_of(3, valid_until_ns=noon + 1), book, limits, noon).decision.approved
    assert decide(intent_of(4, con_id=2, **late), book, limits, at).decision.approved, "no hours are known"
    warned = decide(intent_of(5, **late), book, limits_with(market_closed="warn"), at).decision
    assert warned.approved and warned.warned[0].code == "RISK_MARKET_CLOSED"


def test_the_brokers_window() -> None:
    window = (Window.of("23:45-00:45 America/New_York"),)
    at = ns("2026-11-25 23:50")
    intent = intent_of(1, valid_until_ns=at + 1)
    assert decide(intent, ready_book(), limits_with(broker_windows=window), at).decision.code == "RISK_BROKER_WINDOW"
    assert decide(intent, ready_book(), limits_with(broker_windows=()), at).decision.approved


@pytest.mark.parametrize(
    ("expiry", "sec_type", "approved"),
    [
        ("20261130", "FUT", True), ("20261126", "FUT", False), ("20261126 08:30:00 US/Central", "FUT", False),
        ("202612", "FUT", True), ("202611", "FUT", False),  # a month: it may end on any of its days
        ("", "STK", True), ("", "FUT", False), ("202613", "FUT", False), ("20269999", "OPT", False),
    ],
)  # fmt: skip
def test_a_contract_that_expires_soon(expiry: str, sec_type: str, approved: bool) -> None:
    book, at = ready_book(), ns("2026-11-25 12:00")
    book.apply(info(1, sec_type=sec_type, expiry=expiry), NOW)
    decision = decide(intent_of(1, valid_until_ns=at), book, limits_with(expiry_days_min=2), at).decision
    assert decision.approved is approved and (approved or decision.code == "RISK_NEAR_EXPIRY")


@pytest.mark.parametrize(
    ("days", "notice", "measured"),
    [
        (2, date(2026, 11, 27), ""), (2, date(2026, 11, 26), "1"), (2, date(2026, 12, 30), "1"),
        (None, date(2026, 11, 26), ""), (None, date(2026, 11, 25), "0"), (None, date(2026, 11, 1), "-24"),
        (None, None, ""),
    ],
)  # fmt: skip
def test_a_first_notice_day_counts_where_it_comes_before_the_last_trading_day(
    days: int | None, notice: date | None, measured: str
) -> None:
    book, at = ready_book(), ns("2026-11-25 12:00")
    book.apply(info(1, sec_type="FUT", expiry="20261126" if notice == date(2026, 12, 30) else "20261218"), NOW)
    limits = limits_with(expiry_days_min=None if days is None else Decimal(days), first_notice=notice)
    decision = decide(intent_of(1, valid_until_ns=at), book, limits, at).decision
    assert [one.measured for one in decision.failed if one.code == "RISK_NEAR_EXPIRY"] == [measured] * bool(measured)
    assert decision.approved is not bool(measured)
