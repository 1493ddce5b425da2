"""The short way through the tick rule never passes what the long way refuses; collars in ticks."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.risk.core.decide import RuleBook, decide
from services.risk.core.rules_order import PriceCollar, TickSize
from shared.messages.market import PriceIncrement
from shared.messages.orders import OrderType
from tests.risk_desk import NOW, D, info, intent_of, leg_of, limits_with, ready_book

numbers = st.decimals(min_value="-2", max_value="200", places=3).map(lambda one: one.normalize() + 0)
steps = st.sampled_from([D("0.01"), D("0.05"), D("0.005"), D(1), D(0)])


@given(
    price=numbers,
    stop=st.one_of(st.none(), numbers),
    quantity=st.decimals("0.001", "50", places=3),
    tick=steps,
    step=steps,
    is_ladder=st.booleans(),
)
def test_tick_and_size_steps(
    price: Decimal, stop: Decimal | None, quantity: Decimal, tick: Decimal, step: Decimal, is_ladder: bool
) -> None:
    book = ready_book()
    rows = (PriceIncrement(low_edge=D(0), increment=tick), PriceIncrement(low_edge=D(100), increment=D("0.5")))
    values: dict[str, Any] = {"increments": rows} if is_ladder else {"min_tick": tick}
    book.apply(info(1, size_increment=step, min_size=D("0.5"), **values), NOW)
    more: dict[str, Any] = {} if stop is None else {"order_type": OrderType.STOP_LIMIT, "stop_price": stop}
    intent = intent_of(1, legs=(leg_of("BUY", quantity, price, **more),))
    decision = decide(intent, book, limits_with(), NOW, RuleBook([TickSize()])).decision
    wrong = quantity < D("0.5") or (step > 0 and quantity % step != 0)
    for one in (price, stop):
        if one is not None:
            at = D("0.5") if is_ladder and abs(one) >= 100 else tick
            wrong = wrong or one <= 0 or (at > 0 and one % at != 0)
    assert decision.approved is not wrong


@pytest.mark.parametrize(
    ("side", "price", "approved"),
    [("BUY", "100.20", True), ("BUY", "100.21", False), ("SELL", "99.80", True), ("SELL", "99.79", False)],
)
def test_a_collar_in_ticks(side: str, price: str, approved: bool) -> None:
    decision = decide(
        intent_of(1, side, 1, price), ready_book(), limits_with(price_collar_ticks=20), NOW, RuleBook([PriceCollar()])
    ).decision
    assert decision.approved is approved and (approved or decision.failed[0].measured == "21 ticks")


def test_a_market_order_has_no_collar() -> None:
    limits = limits_with(price_collar_ticks=0, price_collar_percent=0)
    assert decide(intent_of(1, price=None), ready_book(), limits, NOW, RuleBook([PriceCollar()])).decision.approved
