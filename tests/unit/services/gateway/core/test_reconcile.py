from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from services.gateway.core.book import OrderBook
from services.gateway.core.evidence import BrokerExecution, BrokerOrder, Evidence, shown_since_ns
from services.gateway.core.reconcile import Findings, missing_external, reconcile
from shared.clock import parse_iso_utc
from shared.ids import IntentId, order_ref
from shared.messages.orders import OrderEvent, OrderState, Side

DEP = "sim:sim:DU1"
IID = IntentId("abcdefghij234567abcd")
REF = order_ref(DEP, IID, 0)
S = 1_000_000_000
EMPTY = Evidence(101, (), (), (), asked_ns=100 * S)


def claimed(**more: object) -> OrderEvent:
    fields: dict[str, object] = {
        "intent_id": IID, "order_ref": REF, "state": OrderState.CLAIMED, "strategy": "demo", "account": "DU1",
        "con_id": 1, "side": Side.BUY, "quantity": Decimal(10), "order_type": "LMT", "order_id": 7, "client_id": 101,
    }  # fmt: skip
    return OrderEvent.model_validate({**fields, **more})


def shown(**more: object) -> BrokerOrder:
    made = BrokerOrder(
        account="DU1", con_id=1, side=Side.BUY, quantity=Decimal(10), order_type="LMT", perm_id=99, order_ref=REF,
        order_id=7, client_id=101, status="Submitted",
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.fixture
def book() -> OrderBook:
    made = OrderBook(DEP, "DU1")
    made.restore(claimed())
    return made


def run(book: OrderBook, evidence: Evidence, at_s: int = 101) -> Findings:
    return reconcile(book, evidence, now_ns=1, monotonic_ns=at_s * S, quarantine_ns=3 * S, session=1)


def states(findings: Findings) -> list[OrderState]:
    return [event.state for event in findings.change.events]


def test_a_second_order_under_its_reference_is_no_sign_of_the_first(book: OrderBook) -> None:
    run(book, replace(EMPTY, open_orders=(shown(),)))
    execution = BrokerExecution(
        exec_id="b.01.01", account="DU1", con_id=1, side=Side.BUY, shares=Decimal(3), price=Decimal(5), ts_ns=1,
        perm_id=100, client_id=101, order_id=7, order_ref=REF,
    )  # fmt: skip
    second = shown(perm_id=100, status="Cancelled", is_completed=True)
    findings = run(book, replace(EMPTY, completed_orders=(second,), executions=(execution,)), 105)
    (first,) = findings.in_doubt
    assert (first.perm_id, first.state) == (99, OrderState.UNKNOWN), "it is gone from the lists: IB may have renamed it"
    assert [fill.is_double for fill in findings.change.fills] == [True]


def test_an_absence_is_doubted_first_and_decided_after_the_quarantine(book: OrderBook) -> None:
    first = run(book, EMPTY, 101)
    assert states(first) == [OrderState.UNKNOWN] and len(first.in_doubt) == 1
    assert states(run(book, replace(EMPTY, asked_ns=102 * S), 103)) == []
    last = run(book, replace(EMPTY, asked_ns=104 * S), 105)
    assert states(last) == [OrderState.NOT_SENT] and not last.in_doubt


@pytest.mark.parametrize("more", [{"is_undisturbed": False}, {"client_id": 102}])
def test_without_all_four_conditions_it_stays_unknown(book: OrderBook, more: dict[str, object]) -> None:
    run(book, EMPTY, 101)
    evidence = replace(EMPTY, asked_ns=200 * S, **more)  # type: ignore[arg-type]
    assert run(book, evidence, 201).in_doubt
    track = book.get(REF)
    assert track is not None and track.state is OrderState.UNKNOWN


def test_the_quarantine_begins_anew_when_an_outage_ends(book: OrderBook) -> None:
    # Simulation, seed 20: TWS held the order during 1100 and submitted it a moment after 1102.
    run(book, EMPTY, 101)
    early = replace(EMPTY, asked_ns=200 * S, undisturbed_since_ns=198 * S)
    assert run(book, early, 201).in_doubt
    assert states(run(book, replace(early, asked_ns=202 * S), 203)) == [OrderState.NOT_SENT]


def test_an_order_of_before_the_brokers_midnight_stays_unknown(book: OrderBook) -> None:
    # Simulation, seed 267: it had been filled before midnight, and no answer shows that any more.
    run(book, EMPTY, 101)
    evidence = replace(EMPTY, asked_ns=200 * S, shows_since_ns=1)
    assert run(book, evidence, 201).in_doubt
    track = book.get(REF)
    assert track is not None and track.state is OrderState.UNKNOWN


def test_answers_are_complete_since_a_minute_after_the_last_midnight_of_the_zone() -> None:
    noon = parse_iso_utc("2026-11-26T17:00:00Z")
    assert shown_since_ns(noon, "America/New_York") == parse_iso_utc("2026-11-26T05:01:00Z")
    # Simulation, seed 5193: what yesterday brought was taken for complete in the first minute of the new day.
    for about_midnight in ("2026-11-26T05:00:30Z", "2026-11-26T04:59:30Z"):
        assert shown_since_ns(parse_iso_utc(about_midnight), "America/New_York") == parse_iso_utc(
            "2026-11-26T05:01:00Z"
        )
    before = parse_iso_utc("2026-11-26T04:58:30Z")
    assert shown_since_ns(before, "America/New_York") == parse_iso_utc("2026-11-25T05:01:00Z")


def test_what_the_broker_once_showed_is_never_not_sent(book: OrderBook) -> None:
    book.shown(shown(), 1, session=1)
    run(book, EMPTY, 101)
    findings = run(book, replace(EMPTY, asked_ns=900 * S), 901)
    track = book.get(REF)
    assert findings.in_doubt and track is not None and track.state is OrderState.UNKNOWN


def test_an_order_sent_while_the_broker_was_asked_is_not_doubted(book: OrderBook) -> None:
    track = book.get(REF)
    assert track is not None
    track.sent_ns = 100 * S
    assert states(run(book, EMPTY)) == [] and track.state is OrderState.CLAIMED


def test_everything_shown_is_taken_and_a_second_time_changes_nothing(book: OrderBook) -> None:
    execution = BrokerExecution(
        "a.01.01", "DU1", 1, Side.BUY, Decimal(4), Decimal(5), 1, perm_id=99, client_id=101, order_id=7, order_ref=REF
    )
    evidence = replace(EMPTY, open_orders=(shown(),), executions=(execution,))
    findings = run(book, evidence)
    assert findings.change.events[-1].filled == 4 and findings.change.fills[0].is_late
    assert not run(book, evidence).change.events


def test_a_listing_that_is_older_than_the_live_word_does_not_win(book: OrderBook) -> None:
    book.shown(shown(is_listed=True), 1, session=1)
    book.shown(shown(status="Cancelled"), 1, session=1)
    run(book, replace(EMPTY, open_orders=(shown(is_listed=True),)))
    track = book.get(REF)
    assert track is not None and track.state is OrderState.CANCELLED


def test_a_listing_that_is_older_than_a_change_does_not_bring_the_old_terms_back(book: OrderBook) -> None:
    # Simulation, seed 11: risk counted the smaller quantity, and approved an order over the limit.
    book.shown(shown(is_listed=True), 1, session=1)
    book.shown(shown(quantity=Decimal(18)), 1, session=1)
    findings = run(book, replace(EMPTY, open_orders=(shown(is_listed=True),)))
    track = book.get(REF)
    assert not findings.change.events and track is not None and track.quantity == 18 and not findings.in_doubt


def test_a_completed_order_ends_what_was_in_doubt(book: OrderBook) -> None:
    completed = shown(status="Cancelled", order_id=0, client_id=0, quantity=Decimal(0), is_completed=True)
    assert states(run(book, replace(EMPTY, completed_orders=(completed,)))) == [OrderState.CANCELLED]


def test_orders_of_others_are_left_to_the_watch_session(book: OrderBook) -> None:
    book.shown(shown(order_ref="", perm_id=5, client_id=9, order_id=0), 1, session=0)
    run(book, EMPTY)
    track = book.get("5")
    assert track is not None and track.state is OrderState.WORKING
    assert missing_external(book, {5}, 101) == [] and missing_external(book, set(), 101) == [track]


def test_a_visit_judges_the_orders_of_its_own_id_and_no_others(book: OrderBook) -> None:
    other = order_ref(DEP, IntentId("b" * 20), 0)
    book.restore(claimed(order_ref=other, intent_id="b" * 20, client_id=102, order_id=8))
    visit = replace(EMPTY, is_visit=True)
    assert [track.client_id for track in run(book, visit, 101).in_doubt] == [101]
    last = run(book, replace(visit, asked_ns=104 * S), 105)
    assert states(last) == [OrderState.NOT_SENT] and not last.in_doubt
    assert [track.state for track in book.open_tracks()] == [OrderState.CLAIMED]


def test_an_order_of_another_id_is_doubted_unless_it_was_visited_lately(book: OrderBook) -> None:
    traded = replace(EMPTY, client_id=102)
    book.get(REF).seen_apart_ns = 95 * S  # type: ignore[union-attr]
    assert not run(book, traded, 101).in_doubt
    late = run(book, replace(traded, asked_ns=120 * S), 121)
    assert states(late) == [OrderState.UNKNOWN] and len(late.in_doubt) == 1
    assert not run(book, replace(EMPTY, asked_ns=122 * S, open_orders=(shown(),), is_visit=True), 123).in_doubt
    assert not run(book, replace(traded, asked_ns=124 * S), 125).in_doubt
    assert book.get(REF).state is OrderState.WORKING  # type: ignore[union-attr]
