"""The book takes what happened in any order, once."""

from __future__ import annotations

from typing import Any

from services.risk.core.decide import decide
from shared.messages.account import BookMove, PnlReport
from shared.messages.control import Reconciled
from shared.messages.orders import OrderState
from tests.risk_desk import (
    ACCOUNT,
    NOW,
    SECOND,
    D,
    command_of,
    decided,
    event_of,
    fill_of,
    intent_of,
    limits_with,
    modify_of,
    ready_book,
    report,
)


def test_quantity_leaves_working_only_into_position_whichever_message_comes_first() -> None:
    for first in ("event", "fill"):
        book = ready_book()
        decided(intent_of(1, quantity=10), book, limits_with())
        contract = book.contract(1)
        steps = [
            lambda: book.apply(event_of(1, OrderState.WORKING, quantity=10, filled=D(4)), NOW),  # noqa: B023
            lambda: fill_of(book, 1, 1, "BUY", 4, exec_id="a.01"),  # noqa: B023
        ]
        for step in steps if first == "event" else steps[::-1]:
            step()
            assert (contract.total, contract.buys) == (D(4), D(6))


def test_executions_count_once_and_corrections_replace() -> None:
    book = ready_book()
    decided(intent_of(1, quantity=10), book, limits_with())
    for exec_id, quantity in (("a.b.01", 4), ("a.b.01", 4), ("a.b.02", 3), ("a.b.01", 4)):
        fill_of(book, 1, 1, "BUY", quantity, exec_id=exec_id)
    assert (book.contract(1).total, book.contract(1).buys) == (D(3), D(7))
    book.apply(event_of(1, OrderState.WORKING, quantity=10, filled=D(3)), NOW)
    fill_of(book, 1, 1, "BUY", 0, exec_id="a.b.03")
    assert book.contract(1).total == 0, "what was reported included the execution that was taken back"


def test_a_second_order_that_the_broker_made_counts_beside_the_first_and_its_end_ends_nothing_else() -> None:
    book = ready_book()
    decided(intent_of(1, quantity=10), book, limits_with())
    book.apply(event_of(1, OrderState.WORKING, quantity=10, perm_id=99), NOW)
    contract = book.contract(1)
    double: dict[str, Any] = {"quantity": 10, "perm_id": 100, "is_external": True}
    book.apply(event_of(1, OrderState.WORKING, **double), NOW)
    assert (contract.buys, contract.open_buys, contract.total) == (D(20), 2, 0)
    fill_of(book, 1, 1, "BUY", 4, exec_id="b.01.01", perm_id=100, is_double=True)
    book.apply(event_of(1, OrderState.CANCELLED, filled=D(4), **double), NOW)
    assert (contract.buys, contract.open_buys, contract.total) == (D(10), 1, D(4))
    assert contract.by_strategy == {"s": D(4)}, "it is of the strategy that the first is of"
    fill_of(book, 1, 1, "BUY", 10, exec_id="a.01.01", perm_id=99)
    assert (contract.buys, contract.total) == (0, D(14))


def test_late_executions_of_a_cancelled_order_move_the_position() -> None:
    book = ready_book()
    decided(intent_of(1, quantity=10), book, limits_with())
    book.apply(event_of(1, OrderState.CANCELLED, quantity=10), NOW)
    assert book.contract(1).buys == 0
    fill_of(book, 1, 1, "BUY", 2, exec_id="a.01")
    assert (book.contract(1).total, book.contract(1).buys) == (D(2), D(0))


def test_a_reappearing_order_counts_again() -> None:
    book = ready_book()
    decided(intent_of(1, quantity=10), book, limits_with())
    book.apply(event_of(1, OrderState.NOT_SENT, quantity=10), NOW)
    book.apply(event_of(1, OrderState.WORKING, quantity=10), NOW)
    assert book.contract(1).buys == 10


def test_orders_that_are_not_ours_count_and_belong_to_nobody() -> None:
    book = ready_book()
    event = event_of(0, OrderState.WORKING, quantity=30, strategy="unassigned", perm_id=7, is_external=True)
    book.apply(event.model_copy(update={"intent_id": ""}), NOW)
    fill_of(book, 0, 1, "BUY", 5, exec_id="x.01", intent_id="", perm_id=7, strategy="unassigned")
    contract = book.contract(1)
    assert (contract.buys, contract.total, contract.by_strategy) == (D(25), D(5), {"unassigned": D(5)})


def test_the_stream_gives_the_same_reservations_as_deciding_did() -> None:
    decider, reader = ready_book(), ready_book()
    for number in (1, 2):
        verdict = decided(intent_of(number), decider, limits_with())
        assert verdict.command is not None
        reader.apply(verdict.command, NOW)
        decider.apply(verdict.command, NOW)  # the leader reads its own commands too
    assert decider.contract(1).buys == reader.contract(1).buys == 20
    assert decider.open_orders == reader.open_orders == 2


def test_a_reservation_can_be_taken_back_and_made_again() -> None:
    book = ready_book()
    intent = intent_of(1)
    book.reserve(intent, NOW, (1, 1, 1, 1))
    book.release(intent)
    assert book.contract(1).buys == 0
    book.apply(command_of(intent), NOW)
    assert book.contract(1).buys == 10
    book.apply(event_of(1, OrderState.WORKING), NOW)
    book.release(intent)
    assert book.contract(1).buys == 10, "the broker has spoken of it"


def test_a_refused_modify_stops_counting() -> None:
    book, limits = ready_book(), limits_with()
    decided(intent_of(1), book, limits)
    book.apply(event_of(1, OrderState.WORKING), NOW)
    decided(modify_of(2, 1, "BUY", 50), book, limits)
    assert book.contract(1).buys == 50
    book.apply(event_of(2, OrderState.REFUSED, quantity=50), NOW)
    assert book.contract(1).buys == 10


def test_other_accounts_are_ignored() -> None:
    book = ready_book()
    book.apply(event_of(1, OrderState.WORKING, account="DUSIM0002"), NOW)
    assert book.contract(1).buys == 0


def test_a_report_older_than_the_last_fills_is_no_difference_yet_and_a_lasting_one_is() -> None:
    book = ready_book()
    for number, when in ((1, NOW), (2, NOW + 9 * SECOND)):
        fill_of(book, number, 1, "BUY", 10, exec_id=f"e{number}.01", now_ns=when)
        report(book, 1, 10 * number - 10, when)
    book.advance(NOW + 12 * SECOND)
    assert not book.contract(1).is_mismatched
    book.advance(NOW + 30 * SECOND)
    assert book.contract(1).is_mismatched
    report(book, 1, 20, NOW + 31 * SECOND)
    assert not book.contract(1).is_mismatched


def test_a_confirmed_modify_counts_until_the_orders_own_event_shows_its_terms() -> None:
    book, limits = ready_book(), limits_with()
    decided(intent_of(1), book, limits)
    book.apply(event_of(1, OrderState.WORKING), NOW)
    decided(modify_of(2, 1, "BUY", 50), book, limits)
    for state, code in ((OrderState.CLAIMED, "GATEWAY_MODIFY"), (OrderState.MODIFIED, "")):
        book.apply(event_of(2, state, quantity=50, code=code), NOW)
        assert book.contract(1).buys == 50 and book.open_orders == 1
    book.apply(event_of(1, OrderState.WORKING, quantity=50), NOW)
    assert book.contract(1).buys == 50


def test_the_claim_of_a_modify_is_no_order() -> None:
    book = ready_book()
    book.apply(command_of(modify_of(2, 1, "BUY", 50)), NOW)  # its order is not in the retained streams
    book.apply(event_of(2, OrderState.CLAIMED, quantity=50, code="GATEWAY_MODIFY"), NOW)
    book.apply(event_of(2, OrderState.REJECTED, quantity=50), NOW)
    book.apply(event_of(3, OrderState.CLAIMED, quantity=50, code="GATEWAY_MODIFY"), NOW)
    assert book.contract(1).buys == 0 and book.open_orders == 0


def test_a_loss_between_two_decisions_latches() -> None:
    book, limits = ready_book(), limits_with(daily_loss_max=100)
    for daily in (-50, -101, 20):
        book.apply(PnlReport(account=ACCOUNT, daily=D(daily)), NOW)
    assert decided(intent_of(1), book, limits).decision.code == "RISK_DAILY_LOSS_MAX"


def test_a_difference_that_a_person_accepted_is_unassigned_here_too() -> None:
    book = ready_book()
    report(book, 1, 4)
    assert book.contract(1).total == 0
    move = BookMove(account=ACCOUNT, con_id=1, strategy="unassigned", quantity=D(4), who="anna", reason="assignment")
    for _ in range(2):
        book.apply(move, NOW)
        assert (book.contract(1).total, book.contract(1).by_strategy) == (D(4), {"unassigned": D(4)})
    book.apply(move.model_copy(update={"account": "other"}), NOW)
    assert not book.contract(1).differs_since_ns


def test_after_another_server_the_brokers_position_counts_before_it_is_a_difference() -> None:
    book = ready_book()
    fill_of(book, 1, 1, "BUY", 10, exec_id="a.01")
    fill_of(book, 2, 1, "SELL", 10, exec_id="b.01")
    report(book, 1, 10, NOW)  # the sale was taken back with the server's last writes: the book may hold it, or not
    assert book.contract(1).bottom == 0 and book.contract(1).top == 0
    book.apply(Reconciled(instance="g2", epoch=book.readiness.epoch + 1, incarnation="another"), NOW)
    assert book.contract(1).bottom == 0 and book.contract(1).top == 10
    assert not book.contract(1).is_mismatched, "reductions and entries within the worst case pass meanwhile"
    report(book, 1, 0, NOW + SECOND)
    assert book.contract(1).top == 0


def test_a_strategy_whose_position_was_closed_by_hand_trades_again_once_that_is_assigned_to_it() -> None:
    book, limits = ready_book(), limits_with()
    fill_of(book, 1, 1, "BUY", 10, exec_id="a.01", strategy="dip")
    by_hand = event_of(99, OrderState.FILLED, quantity=10, side="SELL", is_external=True, filled=D(10))
    book.apply(by_hand.model_copy(update={"intent_id": "", "perm_id": 4711}), NOW)
    report(book, 1, 0, NOW)
    closing = intent_of(2, "SELL", 10, strategy="dip")
    assert decide(closing, book, limits, NOW).decision.code == "RISK_WOULD_CROSS_ZERO"
    move = BookMove(
        account=ACCOUNT, con_id=1, strategy="dip", quantity=D(-10), who="anna", taken_from="unassigned", move_id="m1"
    )
    for _ in range(2):
        book.apply(move, NOW)
    assert book.contract(1).by_strategy == {"dip": D(0), "unassigned": D(0)} and book.contract(1).total == 0
    assert decide(intent_of(3, "BUY", 10, strategy="dip"), book, limits, NOW).decision.approved
