from __future__ import annotations

from decimal import Decimal

import pytest

from services.simulator.core.book import Book
from services.simulator.core.market import Quote, Trade
from services.simulator.core.matching import ADDED, REMOVED, Fill, Model, Working, check_trigger, on_trade, rest, take

CENT = Decimal("0.01")


def book(bid: float = 100.00, ask: float = 100.02, size: float = 300) -> Book:
    made = Book(1)
    made.on_quote(Quote(1, 0, bid, size, ask, size))
    return made


def working(side: int, quantity: int, limit: str | None = None, kind: str = "", **fields) -> Working:
    return Working(
        side=side,
        order_type=kind or ("LMT" if limit else "MKT"),
        tif=fields.pop("tif", "DAY"),
        remaining=Decimal(quantity),
        limit=Decimal(limit) if limit else None,
        **fields,
    )


def test_a_market_order_walks_up_the_levels() -> None:
    fills = take(working(1, 1000), book(), CENT)
    assert fills == [
        Fill(Decimal(300), Decimal("100.02"), REMOVED),
        Fill(Decimal(300), Decimal("100.03"), REMOVED),
        Fill(Decimal(300), Decimal("100.04"), REMOVED),
        Fill(Decimal(100), Decimal("100.05"), REMOVED),
    ]


def test_slippage_is_a_fraction_of_the_price_but_never_beyond_the_limit() -> None:
    model = Model(slippage=Decimal("0.0005"))
    (bought,) = take(working(1, 100), book(), Decimal("0.01"), model)
    (sold,) = take(working(-1, 100), book(), Decimal("0.01"), model)
    assert (bought.price, sold.price) == (Decimal("100.07001"), Decimal("99.95"))
    (bought,) = take(working(1, 100, "100.03"), book(), Decimal("0.01"), model)
    assert bought.price == Decimal("100.03")


def test_a_limit_order_stops_at_its_limit() -> None:
    order = working(-1, 1000, "99.99")
    fills = take(order, book(), CENT)
    assert [fill.price for fill in fills] == [Decimal("100.0"), Decimal("99.99")]
    assert order.remaining == 400


def test_what_is_taken_is_gone_until_the_next_quote() -> None:
    shown = book()
    take(working(1, 300, "100.02"), shown, CENT)
    assert take(working(1, 300, "100.02"), shown, CENT) == []
    shown.on_quote(Quote(1, 0, 100.00, 300, 100.02, 300))
    assert take(working(1, 300, "100.02"), shown, CENT) != []


def test_fill_or_kill_and_all_or_none() -> None:
    assert take(working(1, 301, "100.02", tif="FOK"), book(), CENT) == []
    assert take(working(1, 300, "100.02", tif="FOK"), book(), CENT) != []
    assert take(working(1, 301, "100.02", all_or_none=True), book(), CENT) == []


def test_the_queue_passes_before_a_resting_order() -> None:
    order = working(1, 100, "100.00")
    rest(order, book())
    assert order.queue_ahead == 300
    assert on_trade(order, 100.00, 250) == (None, 0)
    assert on_trade(order, 100.00, 80) == (Fill(Decimal(30), Decimal("100.00"), ADDED), 0)
    assert on_trade(order, 99.98, 500) == (Fill(Decimal(70), Decimal("100.00"), ADDED), 430)
    assert on_trade(order, 99.98, 430) == (None, 430)


def test_an_order_inside_the_spread_stands_first() -> None:
    order = working(-1, 100, "100.01")
    rest(order, book())
    assert order.queue_ahead == 0 and order.is_resting


def test_the_rest_of_a_marketable_order_pays_what_the_market_shows() -> None:
    order = working(1, 2000, "105.00")
    shown = book()
    take(order, shown, CENT)
    rest(order, shown)
    assert not order.is_resting
    shown.on_quote(Quote(1, 0, 100.10, 300, 100.12, 300))
    assert take(order, shown, CENT)[0].price == Decimal("100.12")


@pytest.mark.parametrize(
    ("kind", "side", "stop", "below", "at"),
    [("STP", 1, "101", 100.99, 101.0), ("STP", -1, "99", 99.01, 99.0), ("MIT", 1, "99", 99.01, 99.0)],
)
def test_triggers(kind: str, side: int, stop: str, below: float, at: float) -> None:
    order = working(side, 1, kind=kind, stop=Decimal(stop))
    shown = book()
    shown.on_trade(Trade(1, 0, below, 1))
    assert not check_trigger(order, shown, on_quotes=False) and take(order, shown, CENT) == []
    shown.on_trade(Trade(1, 0, at, 1))
    assert check_trigger(order, shown, on_quotes=False) and take(order, shown, CENT) != []
    assert not check_trigger(order, shown, on_quotes=False)


def test_a_trailing_stop_follows_and_never_goes_back() -> None:
    order = working(-1, 1, kind="TRAIL", trail=Decimal(1))
    shown = book()
    for price, stop in ((100.0, "99.0"), (102.0, "101.0"), (101.5, "101.0")):
        shown.on_trade(Trade(1, 0, price, 1))
        assert not check_trigger(order, shown, on_quotes=False)
        assert order.stop == Decimal(stop)
    shown.on_trade(Trade(1, 0, 101.0, 1))
    assert check_trigger(order, shown, on_quotes=False)


def test_an_unknown_market_fills_nothing() -> None:
    assert take(working(1, 100), Book(1), CENT) == []


def test_the_mark_is_the_last_price_within_the_quote() -> None:
    shown = book()
    assert shown.mark == pytest.approx(100.01)
    shown.on_trade(Trade(1, 0, 90.0, 1))
    assert shown.mark == 100.00


def test_a_minimum_quantity_has_no_smaller_first_fill() -> None:
    order = working(1, 2000, "100.02", minimum=Decimal(500))
    assert take(order, book(size=300), CENT) == [] and order.remaining == 2000
    assert take(order, book(size=500), CENT) == [Fill(Decimal(500), Decimal("100.02"), REMOVED)]
    assert take(order, book(size=100), CENT) == [Fill(Decimal(100), Decimal("100.02"), REMOVED)], "the rest is free"


def test_a_minimum_quantity_holds_for_trades_too() -> None:
    order = working(1, 1000, "100.01", minimum=Decimal(400))
    rest(order, book())
    assert on_trade(order, 100.01, 399.0) == (None, 399.0)
    assert on_trade(order, 100.01, 450.0) == (Fill(Decimal(450), Decimal("100.01"), ADDED), 0.0)
    assert on_trade(order, 100.01, 1.0) == (Fill(Decimal(1), Decimal("100.01"), ADDED), 0.0)


@pytest.mark.parametrize(
    ("discretion", "price"), [("0.00", None), ("0.01", None), ("0.02", "100.02"), ("0.05", "100.02")]
)
def test_a_discretion_takes_what_is_shown_beyond_the_limit(discretion: str, price: str | None) -> None:
    order = working(1, 100, "100.00", discretion=Decimal(discretion))
    rest(order, book())
    expected = [] if price is None else [Fill(Decimal(100), Decimal(price), REMOVED)]
    assert order.is_resting and take(order, book(), CENT) == expected


def test_a_discretion_ends_what_slippage_costs_and_a_crossed_rest_still_pays_its_limit() -> None:
    order = working(-1, 100, "100.03", discretion=Decimal("0.04"))
    (sold,) = take(order, book(), CENT, Model(slippage_ticks=5))
    assert sold.price == Decimal("99.99")
    resting = working(-1, 100, "100.03", discretion=Decimal("0.04"))
    rest(resting, book())
    assert take(resting, book(100.05, 100.06), CENT) == [Fill(Decimal(100), Decimal("100.03"), ADDED)]
