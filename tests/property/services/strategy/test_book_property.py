"""A unit's book is saved in two parts, now and past; together they are the whole book, after any events at all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.strategy.api import Quote, Strategy
from services.strategy.core.saved import Commit
from services.strategy.core.unit import Unit
from shared.messages.account import BookMove
from shared.messages.orders import Intent, OrderState
from tests.unit.services.strategy.parts import IBM, T0, decision, event, fill, give_quote, unit_of

STATES = (
    OrderState.CLAIMED, OrderState.WORKING, OrderState.UNKNOWN, OrderState.CANCELLED, OrderState.FILLED,
    OrderState.EXPIRED,
)  # fmt: skip
NUMBERS = st.integers(0, 99)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.booleans(), st.integers(1, 9)),
        st.tuples(st.just("change"), NUMBERS, st.integers(1, 9)),
        st.tuples(st.just("decide"), NUMBERS, st.booleans()),
        st.tuples(st.just("event"), NUMBERS, st.sampled_from(STATES), st.integers(0, 9)),
        st.tuples(st.just("fill"), NUMBERS, st.integers(1, 9), st.integers(1, 30)),
        st.tuples(st.just("move"), st.integers(1, 3), st.integers(-9, 9).filter(bool)),
        st.tuples(st.just("look")),
        st.tuples(st.just("save")),
    ),
    max_size=120,
)


class Places(Strategy):
    """Does at a quote what the test says."""

    def __init__(self) -> None:
        super().__init__(self.Params())
        self.script: Any = None

    def on_quote(self, quote: Quote) -> None:
        if self.script is not None:
            script, self.script = self.script, None
            script()


class World:
    """One unit, and what was saved of it."""

    def __init__(self) -> None:
        self.strategy = Places()
        self.unit = unit_of(self.strategy)
        self.unit.start(T0, T0)
        self.saved: Commit | None = None
        self.past = b""
        self.pasts = 0
        self.intents: list[Intent] = []
        self.executions = 0

    def save(self, *, force: bool = True) -> None:
        commit = self.unit.commit(T0, force=force)
        if commit is None:
            return
        self.saved = commit
        if commit.past is not None:
            self.past, self.pasts = commit.past, self.pasts + 1
        self.unit.committed(T0)
        self.intents += commit.intents

    def restored(self) -> Unit:
        assert self.saved is not None
        unit, saved = unit_of(Places()), self.saved
        unit.restore(commit=saved.number, state=saved.state, timers=saved.timers, cursors=saved.cursors, past=self.past)
        return unit

    def do(self, script: Any) -> None:
        self.strategy.script = script
        give_quote(self.unit)

    def step(self, what: str, *args: Any) -> None:
        if what == "place":
            is_buy, quantity = args
            self.do(lambda: (self.strategy.buy if is_buy else self.strategy.sell)("IBM", quantity, limit=90))
        elif what == "move":
            number, quantity = args
            move = BookMove(
                move_id=f"m{number}", con_id=IBM.con_id, account="DU1", strategy="probe", taken_from="unassigned",
                quantity=Decimal(quantity), who="test", reason="test",
            )  # fmt: skip
            self.unit.move(move)
        elif what == "look":
            self.unit.book.expected(IBM.con_id)
        elif what == "save":
            self.save()
        elif self.intents:
            self._about(self.intents[args[0] % len(self.intents)], what, *args[1:])

    def _about(self, intent: Intent, what: str, *args: Any) -> None:
        unit = self.unit
        if what == "change":
            open_ids = {row.intent_id for row in unit.book.open_orders()}
            if intent.intent_id in open_ids:
                self.do(lambda: self.strategy.modify(intent.intent_id, quantity=args[0]))
        elif what == "decide":
            unit.decision(decision(intent, approved=args[0]), T0, T0, "1-1")
        elif what == "event":
            unit.order_event(event(intent, args[0], filled=args[1]), T0, T0, "1-1")
        else:
            quantity, stem = args
            unit.fill(fill(intent, quantity, stem=f"e{stem}"), T0, T0, "1-1")


def saves_the_whole(world: World, *, force: bool) -> None:
    before = world.saved
    world.save(force=force)
    if world.saved is not before:
        whole, again = world.unit.book.state, world.restored().book.state
        assert again.orders == whole.orders
        assert again.executions == whole.executions
        assert (again.holdings, again.modifies) == (whole.holdings, whole.modifies)
        assert world.restored().book.expected(IBM.con_id) == world.unit.book.expected(IBM.con_id)


@given(steps=STEPS, forced=st.lists(st.booleans(), min_size=1))
@settings(max_examples=200)
def test_what_is_saved_in_two_parts_is_the_whole_book(steps: list[tuple[Any, ...]], forced: list[bool]) -> None:
    """Forced and due commits write the past whenever it changed, those of orders only now and then."""
    world = World()
    world.save()
    for number, step in enumerate(steps):
        world.step(*step)
        saves_the_whole(world, force=forced[number % len(forced)])


def test_orders_one_after_another_write_the_past_now_and_then_and_never_lose_of_it() -> None:
    """Enough that orders and executions are forgotten, as time goes by."""
    world = World()
    world.save()
    longest, pasts, corrected = 0, world.pasts, 0
    for number in range(230):
        world.step("place", True, 1)
        saves_the_whole(world, force=False)
        assert world.saved is not None
        longest = max(longest, len(world.saved.state))
        world.step("event", number, OrderState.FILLED, 1)
        world.step("fill", number, 1, number)
        if number % 7 == 6:  # a late word on an order that is over
            world.step("event", number - 3, OrderState.FILLED, 1)
            corrected += 1
    assert corrected > 30
    assert 10 < world.pasts - pasts < 40
    assert longest < len(world.past) / 2


def test_a_commit_that_ends_nothing_leaves_the_past_alone() -> None:
    world = World()
    for number in range(40):
        world.step("place", True, 1)
        world.save()
        world.step("event", number, OrderState.FILLED, 1)
        world.step("fill", number, 1, number)
        world.save()
    pasts, size = world.pasts, len(world.past)
    world.step("place", True, 1)
    world.save()
    assert world.pasts == pasts
    assert world.saved is not None and len(world.saved.state) < size / 4
