from __future__ import annotations

from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.simulator.core.account import Account
from services.simulator.core.book import Book
from services.simulator.core.commission import order_commission
from services.simulator.core.market import Quote
from services.simulator.core.matching import Working, on_trade, price_of, rest, take
from services.simulator.core.universe import default_universe

UNIVERSE = default_universe(date(2026, 11, 23))
AAPL, IBM = (next(each for each in UNIVERSE if each.symbol == symbol) for symbol in ("AAPL", "IBM"))
START = Decimal(1_000_000)
CENT = Decimal("0.01")

quantities = st.integers(1, 5000).map(Decimal)
prices = st.integers(1, 100_000).map(lambda cents: cents * CENT)
trades = st.tuples(st.sampled_from([AAPL, IBM]), st.sampled_from([1, -1]), quantities, prices)


@given(st.lists(trades, max_size=40))
def test_cash_and_cost_are_deposits_and_realised_profit(history) -> None:
    """The books add up after any trades; a flat position costs nothing."""
    account = Account("DUSIM0001")
    account.deposit(START, "USD")
    realized = Decimal(0)
    commissions = Decimal(0)
    for instrument, side, quantity, price in history:
        fee = order_commission(instrument, quantity, quantity * price)
        commissions += fee
        realized += account.apply_fill(instrument, side, quantity, price, fee) or Decimal(0)
        cost = sum((holding.cost for holding in account.holdings.values()), Decimal(0))
        assert abs(account.cash["USD"] + cost - START - realized) < Decimal("1e-15")
        for holding in account.holdings.values():
            assert holding.quantity or not holding.cost
    assert account.commissions == commissions
    summary = account.summary(lambda _: Decimal(50), lambda _: Decimal(1))
    assert abs(summary.net_liquidation - START - summary.realized - summary.unrealized) < Decimal("1e-15")


@given(quantities, prices, prices, st.lists(st.integers(1, 100), min_size=1, max_size=8), st.sampled_from([1, -1]))
def test_closing_in_parts_realises_what_closing_at_once_does(quantity, opened, closed, weights, side) -> None:
    """Ways of closing a position differ in nothing but rounding."""
    whole, parts = Account("a"), Account("b")
    for account in (whole, parts):
        account.apply_fill(AAPL, side, quantity, opened, Decimal(0))
    at_once = whole.apply_fill(AAPL, -side, quantity, closed, Decimal(0))
    left, total = quantity, Decimal(0)
    for number, weight in enumerate(weights):
        part = left if number == len(weights) - 1 else min(left, max(Decimal(1), left * weight // 100))
        if part:
            total += parts.apply_fill(AAPL, -side, part, closed, Decimal(0)) or Decimal(0)
            left -= part
    assert abs(total - (at_once or 0)) < Decimal("1e-15")
    assert parts.quantity(AAPL.con_id) == 0


@given(
    st.sampled_from([1, -1]),
    quantities,
    st.one_of(st.none(), st.integers(9_900, 10_100).map(lambda cents: cents * CENT)),
    st.sampled_from(["DAY", "FOK"]),
    st.lists(
        st.one_of(
            st.tuples(st.just("quote"), st.integers(9_900, 10_100), st.integers(1, 5), st.integers(0, 3000)),
            st.tuples(st.just("trade"), st.integers(9_900, 10_100), st.just(1), st.integers(1, 3000)),
        ),
        max_size=30,
    ),
)
def test_matching_respects_limit_quantity_and_what_the_market_shows(side, quantity, limit, tif, events) -> None:
    """No fill is worse than the limit or exceeds the order; a quote's shown size is taken once per level."""
    kind = "MKT" if limit is None else "LMT"
    order = Working(side=side, order_type=kind, tif=tif, remaining=quantity, limit=limit)
    book = Book(1)
    filled = Decimal(0)
    is_first = True
    for what, cents, width, size in events:
        if what == "quote":
            bid, ask = cents / 100, (cents + width) / 100
            book.on_quote(Quote(1, 0, bid, float(size), ask, float(size)))
            fills = take(order, book, CENT)
            assert sum(fill.quantity for fill in fills) <= 4 * size
            if is_first:
                assert tif != "FOK" or not fills or sum(fill.quantity for fill in fills) == quantity
                is_first = False
                if tif == "DAY":
                    rest(order, book)
            assert sum((fill.quantity for fill in take(order, book, CENT)), Decimal(0)) <= 3 * size
        else:
            fill, left = on_trade(order, cents / 100, float(size))
            fills = [fill] if fill else []
            assert sum(each.quantity for each in fills) + price_of(left) <= size
        for fill in fills:
            filled += fill.quantity
            assert limit is None or (fill.price <= limit if side > 0 else fill.price >= limit)
        assert order.remaining >= 0
        assert filled <= quantity
