from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from services.strategy.api import FillEvent, OrderUpdate, Quote, Strategy, Timer
from services.strategy.core.events import Gap
from services.strategy.core.saved import HandlerBlocked, Limits
from services.strategy.core.unit import MAX_UNANSWERED
from shared.errors import BadInput
from shared.ids import intent_id
from shared.messages.orders import Intent, OrderState
from tests.unit.services.strategy.parts import IBM, NS, T0, decision, event, fill, give_quote, save, unit_of


class Probe(Strategy):
    """Does what the test puts into `script`, and remembers what it was told."""

    class State(BaseModel):
        seen: int = 0

    def __init__(self) -> None:
        super().__init__(self.Params())
        self.told: list[Any] = []
        self.script: Any = lambda _: None

    def on_quote(self, quote: Quote) -> None:
        self.state.seen += 1
        self.script(quote)

    def on_order(self, update: OrderUpdate) -> None:
        self.told.append(update)

    def on_fill(self, fill: FillEvent) -> None:
        self.told.append(fill)

    def on_timer(self, timer: Timer) -> None:
        self.told.append(timer)

    def on_gap(self, gap: Gap) -> None:
        self.told.append(gap)


def started(limits: Limits | None = None) -> tuple[Any, Probe]:
    probe = Probe()
    unit = unit_of(probe, limits)
    unit.start(T0, T0)
    save(unit, force=True)
    return unit, probe


def one_order(unit: Any, probe: Probe, quantity: int = 10, **order: Any) -> Intent:
    probe.script = lambda q: probe.buy(q.contract, quantity, **order)
    give_quote(unit)
    probe.script = lambda _: None
    commit = save(unit)
    assert commit is not None
    return commit.intents[0]


def test_intents_leave_with_the_commit_that_numbers_them() -> None:
    unit, probe = started()
    intent = one_order(unit, probe)
    assert intent.intent_id == intent_id("deployment", "s/IBM\ninc", 2, 0)
    assert (intent.strategy, intent.unit, intent.account, intent.incarnation) == ("s", "s/IBM", "DUSIM0001", "inc")
    assert intent.valid_until_ns == T0 + 5 * NS
    assert unit.last_commit == 2


def test_nothing_worth_keeping_makes_no_commit_and_progress_waits_a_second() -> None:
    unit, _ = started()
    assert unit.commit(T0 + 10 * NS) is None
    give_quote(unit)
    unit.advance("ticks", "5-1")
    assert unit.commit(T0 + NS // 2) is None
    commit = unit.commit(T0 + NS)
    assert commit is not None and commit.cursors == {"ticks": "5-1"} and b'"seen":1' in commit.state


def test_a_commit_in_flight_is_the_same_until_confirmed() -> None:
    unit, probe = started()
    probe.script = lambda q: probe.buy(q.contract, 1)
    give_quote(unit)
    first = unit.commit(T0)
    assert unit.commit(T0 + 99 * NS) is first
    unit.committed(T0)
    assert unit.commit(T0) is None


def test_a_handler_that_raises_sends_nothing_and_is_named_with_its_line() -> None:
    unit, probe = started()

    def bad(q: Quote) -> None:
        probe.buy(q.contract, 1)
        raise ValueError("by design")

    probe.script = bad
    give_quote(unit)
    assert not unit.outbox.intents and unit.book.expected(IBM.con_id) == 0
    error = unit.recent_errors[-1]
    assert (error.event, error.error) == ("on_quote", "ValueError: by design") and "test_unit.py:" in error.where
    probe.script = lambda q: probe.buy(q.contract, 1)
    give_quote(unit)
    assert len(unit.outbox.intents) == 1


class Returns(Strategy):
    """Returns something from a handler."""

    def __init__(self, what: Any) -> None:
        super().__init__(self.Params())
        self.what = what

    def on_quote(self, quote: Quote) -> Any:
        self.buy(quote.contract, 1)
        return self.what


class Waits(Strategy):
    """Would like to wait."""

    async def on_quote(self, quote: Quote) -> None:  # type: ignore[override]
        self.buy(quote.contract, 1)


@pytest.mark.parametrize("what", [[("AAPL", 5)], 7, {"side": "BUY"}])
def test_a_handler_that_returns_nonsense_is_an_error_with_its_line_and_sends_nothing(what: Any) -> None:
    unit = unit_of(Returns(what))
    give_quote(unit)
    error = unit.recent_errors[-1]
    assert f"on_quote returned a {type(what).__name__}" in error.error and "test_unit.py:" in error.where
    commit = save(unit, force=True)
    assert commit is not None and commit.intents == ()


def test_a_handler_that_is_async_is_an_error_and_the_id_of_an_order_is_not() -> None:
    unit = unit_of(Waits(Waits.Params()))
    give_quote(unit)
    assert "on_quote is async: write `def`" in unit.recent_errors[-1].error
    fine = unit_of(Returns("a" * 20))
    give_quote(fine)
    assert fine.recent_errors == []


def test_too_many_errors_within_a_minute_pause_the_unit_until_resumed() -> None:
    unit, probe = started(Limits(max_errors=3))
    probe.script = lambda _: 1 / 0
    for second in (0, 40, 80, 90):
        assert not unit.why_not_trading
        give_quote(unit, T0 + second * NS)
    assert "ZeroDivisionError" in unit.why_not_trading
    seen = probe.state.seen
    give_quote(unit, T0 + 101 * NS)
    assert probe.state.seen == seen
    unit.resume()
    probe.script = lambda _: None
    give_quote(unit, T0 + 102 * NS)
    assert probe.state.seen == seen + 1


def test_a_blocked_handler_pauses_the_unit_although_the_strategy_catches_exceptions() -> None:
    unit, probe = started()

    def blocked(q: Quote) -> None:
        try:
            raise HandlerBlocked("it ran longer than 0.5 s")
        except Exception:
            probe.buy(q.contract, 1)

    probe.script = blocked
    give_quote(unit)
    assert "on_quote blocked" in unit.why_not_trading and not unit.outbox.intents


def test_target_position_counts_filled_working_and_unknown() -> None:
    unit, probe = started()
    intent = one_order(unit, probe, 10)
    probe.script = lambda q: probe.target_position(q.contract, 10)
    give_quote(unit)
    assert not unit.outbox.intents
    unit.decision(decision(intent), T0, T0, "1-1")
    unit.order_event(event(intent, OrderState.UNKNOWN), T0, T0, "1-2")
    give_quote(unit)
    assert not unit.outbox.intents
    unit.order_event(event(intent, OrderState.CANCELLED, filled=4), T0, T0, "1-3")
    give_quote(unit)  # 4 reported filled, not yet executed: they count
    assert [leg.quantity for one in unit.outbox.intents for leg in one.legs] == [Decimal(6)]


def test_a_quantity_counts_once_whether_the_fill_or_the_order_event_comes_first() -> None:
    for fill_first in (True, False):
        unit, probe = started()
        intent = one_order(unit, probe, 10)
        acts = [
            lambda unit=unit, intent=intent: unit.fill(fill(intent, 10), T0, T0, "1-2"),
            lambda unit=unit, intent=intent: unit.order_event(
                event(intent, OrderState.FILLED, filled=10), T0, T0, "1-3"
            ),
        ]
        for act in acts if fill_first else reversed(acts):
            act()
            assert unit.book.expected(IBM.con_id) == 10
        assert unit.position(IBM.con_id) == 10


def test_a_fill_counts_once_and_a_correction_replaces_it() -> None:
    unit, probe = started()
    intent = one_order(unit, probe, 10)
    for _ in range(2):
        unit.fill(fill(intent, 10), T0, T0, "1-2")
    unit.fill(fill(intent, 7, revision=2), T0, T0, "1-3")
    assert unit.position(IBM.con_id) == 7
    assert [one.position for one in probe.told] == [10, 7]


def test_a_second_order_that_the_broker_made_moves_the_position_and_says_nothing_of_the_first() -> None:
    unit, probe = started()
    intent = one_order(unit, probe, 10, limit=90)
    unit.order_event(event(intent, OrderState.WORKING), T0, T0, "1-1")
    probe.told.clear()
    for state in (OrderState.WORKING, OrderState.CANCELLED):
        double = event(intent, state).model_copy(update={"is_external": True, "order_ref": "", "perm_id": 100})
        unit.order_event(double, T0, T0, "1-2")
    assert probe.told == [] and [row.state for row in unit.book.state.orders.values()] == [OrderState.WORKING]
    unit.fill(fill(intent, 4).model_copy(update={"is_double": True, "perm_id": 100}), T0, T0, "1-3")
    assert [told.quantity for told in probe.told] == [4]
    (row,) = unit.book.state.orders.values()
    assert row.executed == 0 and unit.book.state.holdings[IBM.con_id].quantity == 4


def test_another_strategys_fill_is_not_ours() -> None:
    unit, probe = started()
    intent = one_order(unit, probe, 10)
    unit.fill(fill(intent, 10).model_copy(update={"strategy": "other"}), T0, T0, "1-2")
    assert unit.position(IBM.con_id) == 0 and not probe.told


def test_risks_rejection_ends_the_order_and_tells_the_strategy() -> None:
    unit, probe = started()
    intent = one_order(unit, probe, 10)
    unit.decision(decision(intent, approved=False), T0, T0, "1-2")
    assert unit.book.expected(IBM.con_id) == 0
    assert [(one.state, one.by, one.code) for one in probe.told] == [(OrderState.REJECTED, "risk", "RISK_TEST")]


def test_an_intent_is_appended_again_with_the_same_id_until_it_is_answered() -> None:
    unit, probe = started()
    intent = one_order(unit, probe)
    assert unit.commit(T0 + NS) is None
    again = save(unit, T0 + 2 * NS)
    assert again is not None and again.intents == (intent,)
    assert unit.commit(T0 + 3 * NS) is None  # ever more rarely
    later = save(unit, T0 + 7 * NS)
    assert later is not None and later.intents == (intent,)
    unit.decision(decision(intent), T0, T0, "1-2")
    answered = save(unit, T0 + 60 * NS)
    assert answered is not None and not answered.intents


def test_an_unanswered_intent_is_appended_again_after_a_move() -> None:
    unit, probe = started()
    intent = one_order(unit, probe)
    commit = unit.commit(T0 + 5 * NS)
    assert commit is not None
    other = unit_of(Probe())
    other.restore(
        commit=commit.number, state=commit.state, timers=commit.timers, cursors=commit.cursors, past=commit.past or b""
    )
    assert other.commit(T0 + 5 * NS) is None
    again = other.commit(T0 + 8 * NS)
    assert again is not None and again.intents == (intent,)


def test_no_more_orders_while_risk_answers_nothing() -> None:
    unit, probe = started()
    probe.script = lambda q: probe.buy(q.contract, 1)
    for _ in range(MAX_UNANSWERED + 5):
        give_quote(unit)
        save(unit)
    assert len(unit.saved.pending) == MAX_UNANSWERED and "without an answer" in unit.why_not_trading


def test_an_event_that_is_out_of_date_makes_no_order() -> None:
    unit, probe = started()
    probe.script = lambda q: probe.buy(q.contract, 1)
    unit.quote(Quote(IBM, 1.0, 1.0, 2.0, 1.0, T0), T0, T0 + 6 * NS, "1-1")
    assert not unit.outbox.intents and unit.outbox.stale == 1


def test_a_blocking_gap_stops_trading_until_it_is_accepted_also_after_a_move() -> None:
    unit, probe = started()
    unit.gap(Gap("ticks", "1-1", "9-1", blocks=True), T0, T0)
    probe.script = lambda q: probe.buy(q.contract, 1)
    give_quote(unit)
    assert not unit.outbox.intents and "gap" in unit.why_not_trading
    commit = save(unit, force=True)
    assert commit is not None
    other = Probe()
    moved = unit_of(other)
    moved.restore(
        commit=commit.number, state=commit.state, timers=commit.timers, cursors=commit.cursors, past=commit.past or b""
    )
    assert "gap" in moved.why_not_trading
    other.accept_gap()
    other.script = lambda q: other.buy(q.contract, 1)
    give_quote(moved)
    assert len(moved.outbox.intents) == 1


def test_a_leaders_marker_does_not_stop_trading() -> None:
    unit, probe = started()
    unit.gap(Gap("ticks", "1-1", "1-1", blocks=False), T0, T0)
    assert not unit.why_not_trading and len(probe.told) == 1


def test_paused_units_still_see_their_fills_and_may_cancel() -> None:
    unit, probe = started()
    intent = one_order(unit, probe)
    unit.operator_pause = "lunch"
    unit.fill(fill(intent, 10), T0, T0, "1-2")
    assert unit.position(IBM.con_id) == 10
    probe.cancel_all()
    assert [one.intent_id for one in unit.outbox.cancels] == [intent.intent_id]


def test_timers_fire_once_in_order_repeat_and_move_with_the_unit() -> None:
    unit, probe = started()

    def set_both(_: Quote) -> None:
        probe.set_timer("b", 2)
        probe.set_timer("a", 1, every_s=1)

    probe.script = set_both
    give_quote(unit)
    assert unit.deadline_ns() == T0 + NS
    commit = save(unit, force=True)
    assert commit is not None
    other = Probe()
    moved = unit_of(other)
    moved.restore(
        commit=commit.number, state=commit.state, timers=commit.timers, cursors=commit.cursors, past=commit.past or b""
    )
    moved.tick(T0 + NS // 2)
    assert not other.told
    moved.tick(T0 + 2 * NS)
    assert [one.name for one in other.told] == ["a", "b"]
    moved.tick(T0 + 3 * NS)
    assert [one.name for one in other.told] == ["a", "b", "a"]


def test_a_wish_for_an_empty_state_is_met_once_and_leaves_the_book() -> None:
    unit, probe = started()
    probe.script = lambda q: probe.buy(q.contract, 10)
    give_quote(unit)
    commit = save(unit, force=True)
    assert commit is not None
    anew = unit_of(other := Probe())
    anew.restore(commit=commit.number, state=commit.state, timers=commit.timers, cursors={}, fresh="w1")
    assert other.state.seen == 0 and len(anew.book.open_orders()) == 1
    anew.start(T0, T0)
    give_quote(anew)
    commit = save(anew, force=True)
    assert commit is not None
    last = unit_of(third := Probe())
    last.restore(commit=commit.number, state=commit.state, timers=commit.timers, cursors={}, fresh="w1")
    assert third.state.seen == 1, "the same wish again changes nothing"


def test_state_is_there_again_and_a_state_that_does_not_fit_is_said() -> None:
    unit, _ = started()
    give_quote(unit)
    commit = save(unit, force=True)
    assert commit is not None
    other = Probe()
    unit_of(other).restore(
        commit=commit.number, state=commit.state, timers=commit.timers, cursors={}, past=commit.past or b""
    )
    assert other.state.seen == 1 and other.is_resumed

    class Edited(Probe):
        class State(BaseModel):
            seen: int = 0
            fresh: int

        def __init__(self) -> None:
            Strategy.__init__(self, self.Params())

    edited = Edited.__new__(Edited)
    edited.params, edited.state, edited._unit = None, Edited.State(fresh=1), None
    with pytest.raises(BadInput, match="fresh"):
        unit_of(edited).restore(
            commit=commit.number, state=commit.state, timers=commit.timers, cursors={}, past=commit.past or b""
        )
