"""A flatten closes what strategies own, in orders that only reduce, never without replacing the stop by its close."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.risk.core.closing import CancelOrder, CloseOrder, Closing, entries_of
from services.risk.core.decide import decide
from services.risk.core.exposure import Book
from shared.ids import MANUAL
from shared.messages.market import PriceIncrement
from shared.messages.orders import OrderState, OrderType, Side
from tests.risk_desk import (
    NOW,
    SECOND,
    D,
    event_of,
    hold,
    info,
    intent_of,
    limits_with,
    number_id,
    ready_book,
    set_price,
)

LIMITS = limits_with(market_slippage_percent=1)


def flatten(scope: str = "account") -> Closing:
    return Closing("c1", scope, "me", "drill")


def stop(book: Book, number: int, quantity: int, *, strategy: str = "s") -> None:
    event = event_of(
        number, OrderState.WORKING, side="SELL", quantity=quantity, strategy=strategy, order_type="STP",
        limit_price=None, stop_price=D("90.00"), is_reducing=True,
    )  # fmt: skip
    book.apply(event, NOW)


def test_a_stop_goes_first_and_its_close_follows_once_it_has_ended() -> None:
    book, closing = ready_book(), flatten()
    hold(book, 1, 100)
    stop(book, 7, 100)
    assert closing.step(book, LIMITS, NOW) == [CancelOrder(number_id(7), "s")]
    assert closing.step(book, LIMITS, NOW + SECOND) == []
    book.apply(event_of(7, OrderState.CANCELLED, side="SELL", quantity=100), NOW)
    assert closing.step(book, LIMITS, NOW + SECOND) == [CloseOrder("s", 1, Side.SELL, D(100), D("99.00"))]
    assert closing.step(book, LIMITS, NOW + 2 * SECOND) == []
    assert len(closing.step(book, LIMITS, NOW + 4 * SECOND)) == 1


def test_without_a_price_the_stop_stays() -> None:
    book, closing = ready_book(con_ids=(2,)), flatten()
    book.apply(info(1), NOW)
    hold(book, 1, 100)
    stop(book, 7, 100)
    assert closing.step(book, LIMITS, NOW) == [] and "its stops stay" in closing.waiting[1]


def test_a_short_position_is_bought_and_the_bound_does_not_follow_the_price() -> None:
    book, closing = ready_book(), flatten()
    ladder = (PriceIncrement(low_edge=Decimal(0), increment=Decimal("0.05")),)
    book.apply(info(1, increments=ladder), NOW)
    hold(book, 1, -30)
    assert closing.step(book, LIMITS, NOW) == [CloseOrder("s", 1, Side.BUY, D(30), D("101.00"))]
    set_price(book, 1, 120.0)
    assert closing.step(book, LIMITS, NOW + 3 * SECOND)[0].limit_price == D("101.00")  # type: ignore[union-attr]


def test_large_positions_are_split_and_only_strategies_are_closed() -> None:
    book, closing = ready_book(), flatten()
    hold(book, 1, 250, number=901)
    hold(book, 2, 50, strategy=MANUAL, number=902)
    hold(book, 3, 40, strategy="unassigned", number=903)
    limits = limits_with(order_quantity_max=100)
    assert closing.step(book, limits, NOW) == [CloseOrder("s", 1, Side.SELL, D(100), D("98.00"))]


def test_scopes_name_a_strategy_or_a_contract() -> None:
    book = ready_book()
    hold(book, 1, 10, strategy="a", number=901)
    hold(book, 2, 20, strategy="b", number=902)
    by_strategy = flatten("strategy:b").step(book, LIMITS, NOW)
    assert [act.con_id for act in by_strategy if isinstance(act, CloseOrder)] == [2]
    by_contract = flatten("contract:1").step(book, LIMITS, NOW)
    assert [act.con_id for act in by_contract if isinstance(act, CloseOrder)] == [1]


def test_opposite_positions_close_only_what_the_account_holds() -> None:
    book = ready_book()
    hold(book, 1, 100, strategy="a", number=901)
    hold(book, 1, -40, strategy="b", number=902)
    assert flatten().step(book, LIMITS, NOW) == [CloseOrder("a", 1, Side.SELL, D(60), D("99.00"))]


@given(
    owned=st.lists(st.tuples(st.sampled_from("abc"), st.integers(-50, 50).filter(bool)), max_size=6),
    stops=st.lists(st.integers(1, 60), max_size=3),
    is_halted=st.booleans(),
)
def test_every_close_passes_risk_as_a_reduction_and_the_end_is_flat(
    owned: list[tuple[str, int]], stops: list[int], is_halted: bool
) -> None:
    book, closing = ready_book(con_ids=(1,)), flatten()
    for number, (strategy, quantity) in enumerate(owned):
        hold(book, 1, quantity, strategy=strategy, number=900 + number)
    for number, quantity in enumerate(stops):
        stop(book, 700 + number, quantity, strategy="a")
    if is_halted:
        book.breakers.set_stage("holding", "drill")
    now_ns = NOW
    for turn in range(60):
        now_ns += 3 * SECOND
        for act in closing.step(book, LIMITS, now_ns):
            if isinstance(act, CancelOrder):
                book.apply(event_of(int(act.intent_id), OrderState.CANCELLED, side="SELL"), now_ns)
                continue
            number = 1000 + turn * 10 + len(closing.closes)
            intent = intent_of(
                number, act.side, act.quantity, act.limit_price, strategy=act.strategy,
                valid_until_ns=now_ns + SECOND,
            )  # fmt: skip
            verdict = decide(intent, book, LIMITS, now_ns)
            assert verdict.decision.approved and verdict.decision.is_reducing, verdict.decision.failed
            hold(book, 1, act.side.sign * act.quantity, strategy=act.strategy, number=number)
    contract = book.contract(1)
    assert contract.total == 0


def test_entries_go_and_what_protects_or_belongs_to_people_stays() -> None:
    book = ready_book()
    hold(book, 1, 100)
    stop(book, 1, 100)
    book.apply(event_of(2, OrderState.WORKING), NOW)
    book.apply(event_of(3, OrderState.WORKING, strategy=MANUAL), NOW)
    book.apply(event_of(4, OrderState.WORKING, strategy="other", con_id=2), NOW)
    book.apply(event_of(5, OrderState.FILLED, filled=D(10)), NOW)
    child: dict[str, Any] = {"parent_leg": 0, "leg": 1, "side": "SELL", "order_type": OrderType.STOP}
    book.apply(event_of(5, OrderState.WORKING, **child), NOW)
    book.apply(event_of(0, OrderState.WORKING, intent_id="", perm_id=9, is_external=True), NOW)
    assert [one.intent_id for one in entries_of(book, "account")] == [number_id(2), number_id(4)]
    assert [one.intent_id for one in entries_of(book, "strategy:other")] == [number_id(4)]
    assert [one.intent_id for one in entries_of(book, "contract:1")] == [number_id(2)]
