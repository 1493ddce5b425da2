"""Whatever the broker says, in whatever order: quantities never shrink, ends are ends, order does not matter."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.core.book import OrderBook
from services.gateway.core.evidence import BrokerExecution, BrokerOrder, BrokerOrderStatus
from services.gateway.core.order_machine import STATUS_FACTS, OrderFact
from shared.ids import IntentId, order_ref
from shared.messages.orders import OrderEvent, OrderState, Side

DEP = "sim:sim:DU1"
IID = IntentId("abcdefghij234567abcd")
REF = order_ref(DEP, IID, 0)
QUANTITY = 10

words = st.sampled_from(list(STATUS_FACTS))
shares = st.integers(1, 4)
shown = st.builds(
    lambda status, is_listed: BrokerOrder(
        "DU1", 1, Side.BUY, Decimal(QUANTITY), "LMT", 99, REF, order_id=7, client_id=101, status=status,
        is_listed=is_listed,
    ),
    words, st.booleans(),
)  # fmt: skip
lines = st.builds(
    lambda status, filled: BrokerOrderStatus(
        7, 101, 99, status, Decimal(filled), Decimal(QUANTITY - filled), Decimal(5)
    ),
    words, st.integers(0, QUANTITY),
)  # fmt: skip
executions = st.builds(
    lambda number, revision, count: BrokerExecution(
        f"e{number}.01.0{revision}", "DU1", 1, Side.BUY, Decimal(count), Decimal(5), 1, perm_id=99, order_ref=REF
    ),
    st.integers(0, 4), st.integers(1, 3), shares,
)  # fmt: skip
facts = st.sampled_from([OrderFact.DOUBTED, OrderFact.REFUSED, OrderFact.CANCELLED])


def new_book() -> OrderBook:
    book = OrderBook(DEP, "DU1")
    book.restore(
        OrderEvent(
            intent_id=IID, order_ref=REF, state=OrderState.CLAIMED, strategy="demo", account="DU1", con_id=1,
            side=Side.BUY, quantity=Decimal(QUANTITY), order_type="LMT", order_id=7, client_id=101,
        )
    )  # fmt: skip
    return book


def take(book: OrderBook, piece: object) -> list[OrderEvent]:
    if isinstance(piece, BrokerOrder):
        return book.shown(piece, 1, session=1).events
    if isinstance(piece, BrokerOrderStatus):
        return book.status(piece, 1).events
    if isinstance(piece, BrokerExecution):
        return book.executed(piece, 1, is_late=False).events
    track = book.get(REF)
    assert track is not None and isinstance(piece, OrderFact)
    return book.told(track, piece, 1).events


@given(st.lists(st.one_of(shown, lines, executions, facts), max_size=30))
def test_no_sequence_breaks_the_machine(pieces: list[object]) -> None:
    book = new_book()
    for piece in pieces:
        for event in take(book, piece):
            assert event.remaining == max(0, QUANTITY - event.filled)
            assert event.order_ref == REF and event.strategy == "demo"
        track = book.get(REF)
        assert track is not None
        assert (track.key in {each.key for each in book.open_tracks()}) == track.is_open
        if track.filled >= QUANTITY and not isinstance(piece, BrokerOrderStatus):
            assert track.state is OrderState.FILLED


@given(st.lists(executions, max_size=12), st.randoms(use_true_random=False))
def test_executions_may_come_in_any_order(pieces: list[BrokerExecution], dice: object) -> None:
    # One content per id: a revision is a fact, it does not change on its way.
    unique = list({piece.exec_id: piece for piece in pieces}.values())
    first, second = new_book(), new_book()
    shuffled = list(unique)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    for piece in unique:
        take(first, piece)
    for piece in shuffled:
        take(second, piece)
    one, other = first.get(REF), second.get(REF)
    assert one is not None and other is not None
    assert {stem: each for stem, each in one.executions.items()} == other.executions


@given(st.lists(st.one_of(lines, executions), max_size=20), st.integers(0, 20))
def test_a_final_word_survives_repeats_of_what_was_before(pieces: list[object], at: int) -> None:
    """The broker repeats and delays statuses: after Cancelled only fills and listings change anything."""
    book = new_book()
    for piece in pieces[:at]:
        take(book, piece)
    take(book, BrokerOrderStatus(7, 101, 99, "Cancelled", Decimal(0), Decimal(QUANTITY)))
    for piece in pieces[at:]:
        take(book, piece)
    track = book.get(REF)
    assert track is not None and track.state in (OrderState.CANCELLED, OrderState.FILLED)


@given(st.lists(st.one_of(shown, lines, executions, facts), max_size=20))
def test_a_successor_that_reads_the_stream_knows_the_same(pieces: list[object]) -> None:
    book = new_book()
    successor = new_book()
    for piece in pieces:
        for event in take(book, piece):
            successor.restore(event)
    ours, theirs = book.get(REF), successor.get(REF)
    assert ours is not None and theirs is not None
    assert (ours.state, ours.perm_id, ours.quantity) == (theirs.state, theirs.perm_id, theirs.quantity)
    assert theirs.filled >= ours.filled
