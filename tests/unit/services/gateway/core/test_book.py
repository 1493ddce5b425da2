from __future__ import annotations

from decimal import Decimal

import pytest

from services.gateway.core.book import OrderBook
from services.gateway.core.evidence import BrokerExecution, BrokerOrder, BrokerOrderStatus
from services.gateway.core.ledger import MODIFY_CODE
from services.gateway.core.order_machine import OrderFact
from shared.ids import UNASSIGNED, IntentId, order_ref
from shared.messages.orders import OrderEvent, OrderState, Side

DEP = "sim:sim:DU1"
IID = IntentId("abcdefghij234567abcd")
REF = order_ref(DEP, IID, 0)


def event(state: OrderState = OrderState.CLAIMED, **more: object) -> OrderEvent:
    fields: dict[str, object] = {
        "intent_id": IID, "order_ref": REF, "state": state, "strategy": "demo", "account": "DU1", "con_id": 1,
        "side": Side.BUY, "quantity": Decimal(10), "order_type": "LMT", "limit_price": Decimal(5), "order_id": 7,
        "client_id": 101,
    }  # fmt: skip
    return OrderEvent.model_validate({**fields, **more})


def shown(status: str = "Submitted", **more: object) -> BrokerOrder:
    fields: dict[str, object] = {
        "account": "DU1", "con_id": 1, "side": Side.BUY, "quantity": Decimal(10), "order_type": "LMT", "perm_id": 99,
        "order_ref": REF, "limit_price": Decimal(5), "order_id": 7, "client_id": 101, "status": status,
    }  # fmt: skip
    return BrokerOrder(**{**fields, **more})  # type: ignore[arg-type]


def execution(exec_id: str = "a.01.01", shares: int = 10, **more: object) -> BrokerExecution:
    fields: dict[str, object] = {
        "exec_id": exec_id, "account": "DU1", "con_id": 1, "side": Side.BUY, "shares": Decimal(shares),
        "price": Decimal(5), "ts_ns": 1, "perm_id": 99, "client_id": 101, "order_id": 7, "order_ref": REF,
    }  # fmt: skip
    return BrokerExecution(**{**fields, **more})  # type: ignore[arg-type]


@pytest.fixture
def book() -> OrderBook:
    made = OrderBook(DEP, "DU1")
    made.restore(event())
    return made


def test_an_order_works_once_the_broker_shows_it(book: OrderBook) -> None:
    (told,) = book.shown(shown(), 5, session=1).events
    assert (told.state, told.perm_id, told.strategy) == (OrderState.WORKING, 99, "demo")
    assert not book.shown(shown(), 6, session=1).events  # a repeat says nothing


def test_a_suffix_of_ib_does_not_hide_the_reference(book: OrderBook) -> None:
    (told,) = book.shown(shown(order_ref=REF + "/preset"), 5, session=1).events
    assert told.order_ref == REF


def test_a_reused_order_id_does_not_touch_another_order(book: OrderBook) -> None:
    book.shown(shown(), 5, session=1)
    line = BrokerOrderStatus(7, 101, 1234, "Cancelled", Decimal(0), Decimal(10))
    assert not book.status(line, 6).events
    track = book.get(REF)
    assert track is not None and track.state is OrderState.WORKING


def test_an_execution_may_come_before_the_order_is_shown(book: OrderBook) -> None:
    change = book.executed(execution(), 5, is_late=False)
    assert [told.state for told in change.events] == [OrderState.FILLED]
    (fill,) = change.fills
    assert (fill.strategy, fill.intent_id, fill.order_ref) == ("demo", IID, REF)
    assert book.track_of_exec("a.01.01") == ("demo", 1)


def test_orders_of_others_are_shown_and_belong_to_nobody(book: OrderBook) -> None:
    (told,) = book.shown(shown(order_ref="", perm_id=5, client_id=0, order_id=0), 5, session=0).events
    assert told.is_external and told.strategy == UNASSIGNED and not told.intent_id
    (fill,) = book.executed(execution(perm_id=5, order_ref=""), 6, is_late=False).fills
    assert fill.strategy == UNASSIGNED


def test_other_accounts_are_ignored(book: OrderBook) -> None:
    assert not book.shown(shown(account="DU2"), 5, session=1).events
    assert not book.executed(execution(account="DU2"), 5, is_late=False).fills


def test_another_deployments_order_is_not_ours(book: OrderBook) -> None:
    foreign = order_ref("paper:other:DU1", IID, 0)
    (told,) = book.shown(shown(order_ref=foreign, perm_id=5), 5, session=1).events
    assert told.is_external


def test_a_second_perm_id_is_a_second_order(book: OrderBook) -> None:
    book.shown(shown(), 5, session=1)
    change = book.shown(shown(perm_id=100), 6, session=1)
    assert [track.perm_id for track in change.duplicates] == [100]
    assert change.events[0].strategy == "demo" and change.events[0].is_external
    assert not book.shown(shown(perm_id=100), 7, session=1).duplicates
    assert [track.perm_id for track in book.odd_tracks()] == [100]
    book.shown(shown("Cancelled", perm_id=100), 8, session=1)
    assert not book.odd_tracks()


def test_what_a_second_order_executes_is_the_strategys_and_nothing_of_the_first(book: OrderBook) -> None:
    book.shown(shown(), 5, session=1)
    (unseen,) = book.executed(execution("b.01.01", 4, perm_id=100), 6, is_late=False).fills
    assert unseen.is_double and (unseen.strategy, unseen.intent_id, unseen.perm_id) == ("demo", IID, 100)
    change = book.shown(shown(perm_id=100), 7, session=1)
    assert [track.is_double for track in change.duplicates] == [True] and change.events[0].is_double
    (seen,) = book.executed(execution("b.02.01", 6, perm_id=100), 8, is_late=False).fills
    assert seen.is_double and seen.strategy == "demo"
    first = book.get(REF)
    assert first is not None and (first.filled, first.state, first.is_double) == (0, OrderState.WORKING, False)
    (own,) = book.executed(execution("a.01.01", 10), 9, is_late=False).fills
    assert not own.is_double and first.state is OrderState.FILLED


def test_a_successor_knows_what_should_not_be_there(book: OrderBook) -> None:
    # A leader that died between the event of a double, or of a reopened order, and its cancel left it working.
    track = book.get(REF)
    assert track is not None
    told = book.told(track, OrderFact.NEVER_SENT, 5).events
    told += book.shown(shown(is_listed=True), 6, session=1).events
    told += book.shown(shown(perm_id=100), 7, session=1).events
    told += book.shown(shown("PendingCancel"), 8, session=1).events
    successor = OrderBook(DEP, "DU1")
    for each in told:
        successor.restore(each)
    assert sorted(track.perm_id for track in successor.odd_tracks()) == [99, 100]
    ended = book.shown(shown("Cancelled"), 9, session=1).events
    successor.restore(ended[0])
    assert [track.perm_id for track in successor.odd_tracks()] == [100]


def test_what_was_declared_absent_and_appears_is_reopened(book: OrderBook) -> None:
    track = book.get(REF)
    assert track is not None
    book.told(track, OrderFact.NEVER_SENT, 5)
    change = book.shown(shown(is_listed=True), 6, session=1)
    assert change.reopened == [track] and track.state is OrderState.WORKING
    assert book.odd_tracks() == [track]


def test_our_order_without_a_memory_of_it_is_adopted() -> None:
    book = OrderBook(DEP, "DU1")
    (told,) = book.shown(shown(is_listed=True), 5, session=1).events
    assert (told.order_ref, told.intent_id, told.strategy) == (REF, IID, UNASSIGNED)


def test_a_completed_order_knows_of_a_change_that_redis_lost(book: OrderBook) -> None:
    # Simulation, seed 2448: made larger, filled to the old size, cancelled; then Redis went back to before the change.
    book.executed(execution(shares=4), 4, is_late=False)
    larger = shown("Cancelled", order_id=0, client_id=0, quantity=Decimal(20), filled=Decimal(10), is_completed=True)
    (told,) = book.shown(larger, 5, session=1).events
    assert (told.state, told.quantity) == (OrderState.CANCELLED, 20)
    book.executed(execution("b.01.01", shares=6), 6, is_late=True)
    track = book.get(REF)
    assert track is not None and (track.state, track.filled) == (OrderState.CANCELLED, 10)


def test_a_completed_order_without_quantity_keeps_ours(book: OrderBook) -> None:
    completed = shown("Filled", order_id=0, client_id=0, quantity=Decimal(0), filled=Decimal(10), is_completed=True)
    (told,) = book.shown(completed, 5, session=1).events
    assert (told.state, told.quantity, told.filled) == (OrderState.FILLED, Decimal(10), Decimal(10))


def modify() -> OrderEvent:
    return event(
        intent_id="m" * 20, order_ref=order_ref(DEP, IntentId("m" * 20), 0), code=MODIFY_CODE, text=REF,
        limit_price=Decimal(6), quantity=Decimal(12),
    )  # fmt: skip


def test_a_modify_ends_when_the_broker_shows_its_terms(book: OrderBook) -> None:
    book.shown(shown(), 5, session=1)
    book.restore(modify())
    assert not [each for each in book.shown(shown(), 6, session=1).events if each.intent_id == "m" * 20]
    events = book.shown(shown(limit_price=Decimal(6), quantity=Decimal(12)), 7, session=1).events
    assert [(each.intent_id, each.state) for each in events] == [
        (IID, OrderState.WORKING), ("m" * 20, OrderState.MODIFIED),
    ]  # fmt: skip
    assert not book.modifies


def test_a_modify_ends_with_its_order(book: OrderBook) -> None:
    book.shown(shown(), 5, session=1)
    book.restore(modify())
    events = book.executed(execution(), 6, is_late=False).events
    assert events[-1].state is OrderState.REJECTED and events[-1].code == "GATEWAY_MODIFY_TOO_LATE"


def test_a_modify_is_no_order_and_its_stored_outcome_ends_it(book: OrderBook) -> None:
    book.restore(modify())
    assert len(book) == 1 and REF in book.modifies
    book.restore(modify().model_copy(update={"state": OrderState.MODIFIED, "code": ""}))
    assert not book.modifies and len(book) == 1


def test_a_change_that_came_too_late_takes_no_word_that_is_meant_for_its_order(book: OrderBook) -> None:
    """Its outcome carries the ids of the order: a successor took it for an order that worked for ever (seed 1023)."""
    book.shown(shown(), 5, session=1)
    events = [modify(), *book.executed(execution(), 6, is_late=False).events]
    too_late = modify().model_copy(
        update={"state": OrderState.REJECTED, "code": "GATEWAY_MODIFY_TOO_LATE", "perm_id": 99}
    )
    successor = OrderBook(DEP, "DU1")
    for told in (event(), *events, too_late):
        successor.restore(told)
    assert len(successor) == 1 and not successor.modifies
    assert successor.by_order_id(101, 7) is successor.get(REF)
    assert not successor.status(BrokerOrderStatus(7, 101, 99, "Submitted", Decimal(10), Decimal(0), None), 7).events


def test_final_orders_are_forgotten_oldest_first_and_open_ones_never() -> None:
    book = OrderBook(DEP, "DU1", keep_final=10)
    for number in range(50):
        intent = IntentId(f"{number:02d}".replace("0", "a").replace("1", "b") + "c" * 18)
        state = OrderState.WORKING if number == 0 else OrderState.CANCELLED
        book.restore(event(state, order_ref=f"ref{number}", intent_id=intent, order_id=number + 1))
    assert len(book) <= 22 and book.get("ref0") is not None and book.get("ref49") is not None
    assert book.get("ref1") is None and book.highest_order_id() == 50
