"""Books: whose the positions are, and what no execution explains (P3, P11)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.core.book_effects import Adopted, AskBroker, BooksEffect, Told
from services.gateway.core.books import REMIND_NS, SETTLE_NS, Books, books_of
from shared.errors import DecodeError
from shared.ids import UNASSIGNED
from shared.messages.account import BookMove
from shared.messages.orders import Fill, OrderEvent, OrderState, Side

D = Decimal
CON = 265598


def fill(side: Side, quantity: int, *, strategy: str = "demo", intent_id: str = "i" * 20, perm_id: int = 1) -> Fill:
    return Fill(
        exec_id="e.01", exec_stem="e", intent_id=intent_id, strategy=strategy, account="DU1", con_id=CON, side=side,
        quantity=D(quantity), price=D(1), perm_id=perm_id,
    )  # fmt: skip


def by_hand(side: Side, filled: int, perm_id: int = 7) -> OrderEvent:
    return OrderEvent(
        state=OrderState.WORKING, strategy=UNASSIGNED, account="DU1", con_id=CON, side=side, quantity=D(10),
        order_type="LMT", perm_id=perm_id, is_external=True, filled=D(filled),
    )  # fmt: skip


class Watch:
    """Judges at times of its own."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.now_ns = 1
        self.rounds = 1

    def at(self, position: int, *, after_ns: int = 0, rounds: int = 0) -> list[BooksEffect]:
        self.now_ns += after_ns
        self.rounds += rounds
        reported = {CON: D(position)} if position else {}
        return self.books.judge(reported, rounds=self.rounds, now_ns=self.now_ns, wall_ns=self.now_ns + 1)

    def until_told(self, position: int) -> list[BooksEffect]:
        self.at(position)
        assert self.at(position, after_ns=SETTLE_NS) == [AskBroker(CON)]
        return self.at(position, after_ns=SETTLE_NS, rounds=1)


@pytest.fixture
def watch() -> Watch:
    """Books that were begun long ago, flat."""
    return Watch(Books(is_begun=True))


def test_fills_move_what_their_strategy_holds_and_the_books_agree(watch: Watch) -> None:
    watch.books.fill(fill(Side.BUY, 10))
    watch.books.fill(fill(Side.SELL, 4, strategy="other"))
    assert watch.books.shares(CON) == {"demo": D(10), "other": D(-4)}
    assert watch.at(6) == [] and watch.at(6, after_ns=SETTLE_NS) == []


def test_a_correction_replaces_what_it_corrects(watch: Watch) -> None:
    watch.books.fill(fill(Side.BUY, 10))
    watch.books.fill(fill(Side.BUY, 7), replaces=D(10))
    assert watch.books.expected(CON) == 7


def test_a_position_that_comes_before_its_fill_is_no_difference(watch: Watch) -> None:
    watch.at(10)
    assert watch.at(10, after_ns=SETTLE_NS - 1) == []
    watch.books.fill(fill(Side.BUY, 10))
    assert watch.at(10, after_ns=SETTLE_NS) == []


def test_a_difference_that_executions_do_not_explain_is_told_once(watch: Watch) -> None:
    (told,) = watch.until_told(3)
    assert isinstance(told, Told) and (told.expected, told.reported) == (0, 3)
    assert watch.at(3, after_ns=SETTLE_NS) == []
    assert watch.books.gap(CON) == 3
    assert watch.books.shares(CON) == {}, "it must not be guessed into anybody's books"


def test_it_is_not_told_before_the_broker_has_answered_again(watch: Watch) -> None:
    watch.at(3)
    watch.at(3, after_ns=SETTLE_NS)
    assert watch.at(3, after_ns=10 * SETTLE_NS) == []
    assert len(watch.at(3, rounds=1)) == 1


def test_a_standing_difference_is_told_again_every_minute(watch: Watch) -> None:
    watch.until_told(3)
    assert watch.at(3, after_ns=REMIND_NS - 1) == []
    assert len(watch.at(3, after_ns=1)) == 1


def test_it_is_over_when_the_books_agree_again(watch: Watch) -> None:
    watch.until_told(3)
    watch.books.fill(fill(Side.BUY, 3))
    (told,) = watch.at(3)
    assert isinstance(told, Told) and told.expected == told.reported == 3
    assert watch.books.gap(CON) == 0


def test_trading_on_keeps_the_difference_and_its_age(watch: Watch) -> None:
    watch.until_told(3)
    raised = watch.books.unexplained[CON].raised_wall_ns
    watch.books.fill(fill(Side.SELL, 1))
    assert len(watch.at(2, after_ns=SETTLE_NS)) == 1
    assert watch.books.unexplained[CON].raised_wall_ns == raised and watch.books.gap(CON) == 3


def test_another_difference_is_asked_for_anew(watch: Watch) -> None:
    watch.until_told(3)
    assert watch.at(5) == []
    assert watch.at(5, after_ns=SETTLE_NS) == [AskBroker(CON)]
    (told,) = watch.at(5, after_ns=SETTLE_NS, rounds=1)
    assert isinstance(told, Told) and told.reported == 5


def test_a_person_may_accept_it_as_unassigned(watch: Watch) -> None:
    watch.until_told(3)
    raised = watch.books.unexplained[CON].raised_wall_ns
    assert watch.books.accept(CON, "anna", "assignment", given_wall_ns=raised - 1) == [], "older than what stands"
    adopted, told = watch.books.accept(CON, "anna", "assignment", given_wall_ns=raised)
    assert adopted == Adopted(CON, D(3), "anna", "assignment")
    assert isinstance(told, Told) and told.expected == told.reported
    assert watch.books.shares(CON) == {UNASSIGNED: D(3)} and watch.at(3, after_ns=SETTLE_NS) == []
    assert watch.books.accept(CON, "anna", "again", given_wall_ns=raised + 10) == []


def test_holdings_of_the_first_start_are_unassigned_once_they_stand_still() -> None:
    watch = Watch(Books())
    assert watch.at(40) == []
    watch.books.fill(fill(Side.BUY, 10))
    assert watch.at(40, after_ns=SETTLE_NS) == [], "it changed: the fill may be in the position or not"
    assert watch.at(50) == []
    (adopted,) = watch.at(50, after_ns=SETTLE_NS)
    assert isinstance(adopted, Adopted) and adopted.quantity == 40
    assert watch.books.shares(CON) == {"demo": D(10), UNASSIGNED: D(40)}


def test_what_comes_after_the_first_start_is_not_adopted() -> None:
    watch = Watch(Books())
    assert watch.at(0) == []
    assert isinstance(watch.until_told(3)[0], Told)


def test_a_contract_that_agreed_at_the_first_start_is_judged_like_any_other() -> None:
    watch = Watch(Books())
    watch.books.fill(fill(Side.BUY, 10))
    watch.at(10)
    watch.at(10, after_ns=SETTLE_NS)
    assert isinstance(watch.until_told(13)[0], Told)


def test_an_order_by_hand_counts_what_it_filled_beyond_its_executions(watch: Watch) -> None:
    watch.books.order(by_hand(Side.SELL, 3))
    watch.books.order(by_hand(Side.SELL, 5))
    watch.books.order(by_hand(Side.SELL, 4))
    assert watch.books.shares(CON) == {UNASSIGNED: D(-5)}
    watch.books.fill(fill(Side.SELL, 5, strategy=UNASSIGNED, intent_id="", perm_id=7))
    assert watch.books.shares(CON) == {UNASSIGNED: D(-5)}, "its execution says the same again"
    watch.books.fill(fill(Side.SELL, 2, strategy=UNASSIGNED, intent_id="", perm_id=7))
    assert watch.books.shares(CON) == {UNASSIGNED: D(-7)}


def test_orders_of_ours_count_by_their_executions_only(watch: Watch) -> None:
    ours = by_hand(Side.BUY, 5).model_copy(update={"is_external": False, "strategy": "demo"})
    assert watch.books.order(ours) == 0 and watch.books.shares(CON) == {}


def test_a_successor_goes_on_where_the_predecessor_stopped(watch: Watch) -> None:
    watch.books.fill(fill(Side.BUY, 10))
    watch.books.order(by_hand(Side.SELL, 3))
    watch.books.fills_at, watch.books.orders_at = "5-1", "6-0"
    watch.until_told(9)
    again = books_of(watch.books.to_json())
    assert again.to_json() == watch.books.to_json()
    assert again.shares(CON) == watch.books.shares(CON) and (again.fills_at, again.orders_at) == ("5-1", "6-0")
    again.order(by_hand(Side.SELL, 3))
    assert again.expected(CON) == 7, "an event read twice counts once"
    successor = Watch(again)
    assert isinstance(successor.until_told(9)[0], Told), "a successor says it again"
    (told,) = successor.at(7)
    assert isinstance(told, Told) and told.expected == told.reported


@pytest.mark.parametrize("text", ["", "[]", '{"fills_at": "1-0"}', "nothing"])
def test_damaged_books_are_no_books(text: str) -> None:
    with pytest.raises(DecodeError):
        books_of(text)


def move(move_id: str, taken_from: str, given_to: str, quantity: int) -> BookMove:
    return BookMove(
        account="DU1", con_id=CON, strategy=given_to, quantity=D(quantity), who="anna", reason="so", move_id=move_id,
        taken_from=taken_from,
    )  # fmt: skip


def test_what_a_person_moves_changes_owners_once_and_never_the_sum(watch: Watch) -> None:
    watch.books.fill(fill(Side.BUY, 10))
    watch.books.order(by_hand(Side.SELL, 10))
    assert watch.books.moved(move("m1", UNASSIGNED, "demo", -10)) == CON
    assert watch.books.moved(move("m1", UNASSIGNED, "demo", -10)) == 0, "a move read twice counts once"
    assert watch.books.shares(CON) == {} and watch.books.expected(CON) == 0
    again = books_of(watch.books.to_json())
    assert again.moved(move("m1", UNASSIGNED, "demo", -10)) == 0, "nor by a successor"


@pytest.mark.parametrize(
    ("taken_from", "given_to", "quantity", "word"),
    [("demo", "demo", 5, "both"), ("demo", "other", 0, "nothing"), ("demo", "other", 11, "holds 10"),
     ("demo", "other", -1, "holds 10"), ("nobody", "other", 1, "holds 0")],
)  # fmt: skip
def test_only_what_is_held_can_be_given(watch: Watch, taken_from: str, given_to: str, quantity: int, word: str) -> None:
    watch.books.fill(fill(Side.BUY, 10))
    assert watch.books.why_not_move(CON, "demo", "other", D(10)) == ""
    assert word in watch.books.why_not_move(CON, taken_from, given_to, D(quantity))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.integers(-20, 20)), max_size=20))
def test_moves_that_are_allowed_neither_make_nor_lose_a_share(moves: list[tuple[str, str, int]]) -> None:
    books = Books(is_begun=True)
    books.fill(fill(Side.BUY, 10, strategy="a"))
    for number, (taken_from, given_to, quantity) in enumerate(moves):
        if not books.why_not_move(CON, taken_from, given_to, D(quantity)):
            books.moved(move(f"m{number}", taken_from, given_to, quantity))
        assert books.expected(CON) == 10 and all(held > 0 for held in books.shares(CON).values())
