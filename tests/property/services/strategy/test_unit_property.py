"""P9: wherever a unit crashes between two events, its committed intents are those of a run without a crash."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from services.strategy.api import Quote, Strategy, Timer
from services.strategy.core.saved import Commit
from services.strategy.core.unit import Unit
from tests.unit.services.strategy.parts import IBM, NS, T0, unit_of


class Every(Strategy):
    """Orders on every third quote and on a timer; what it orders follows from its state alone."""

    class State(BaseModel):
        seen: int = 0

    def on_quote(self, quote: Quote) -> None:
        self.state.seen += 1
        if self.state.seen % 3 == 0:
            for number in range(self.state.seen % 2 + 1):
                self.buy(quote.contract, 1, reason=f"{self.state.seen}.{number}")
        if self.state.seen % 5 == 0:
            self.set_timer("t", 2.5)
        if self.state.seen % 7 == 0:
            raise RuntimeError("now and then")

    def on_timer(self, timer: Timer) -> None:
        self.sell(IBM, 1, reason=f"timer {self.state.seen}")


@dataclass
class Store:
    """The commit script, in memory: once per number, only for the owner."""

    owner: int = 0
    number: int = 0
    commit: Commit | None = None
    past: bytes = b""
    intents: list[tuple[str, str]] = field(default_factory=list)

    def save(self, owner: int, commit: Commit) -> bool:
        if owner != self.owner:
            return False
        if commit.number == self.number + 1:
            self.number, self.commit = commit.number, commit
            self.past = self.past if commit.past is None else commit.past
            known = {one for one, _ in self.intents}
            self.intents += [(one.intent_id, one.reason) for one in commit.intents if one.intent_id not in known]
        return True


def fresh(store: Store) -> Unit:
    unit = unit_of(Every(Every.Params()))
    if store.commit is not None:
        saved = store.commit
        unit.restore(
            commit=saved.number, state=saved.state, timers=saved.timers, cursors=saved.cursors, past=store.past
        )
    store.owner += 1
    return unit


def turn(unit: Unit, number: int) -> None:
    at_ns = T0 + number * NS
    unit.tick(at_ns)
    unit.quote(Quote(IBM, 1.0, 1.0, 2.0, 1.0, at_ns), at_ns, at_ns, f"{number}-0")
    unit.advance("ticks", f"{number}-0")


def position_of(unit: Unit) -> int:
    return int(unit.cursors.get("ticks", "0-0").split("-")[0])


def undisturbed(events: int) -> list[str]:
    store = Store()
    unit = fresh(store)
    for number in range(1, events + 1):
        turn(unit, number)
        commit = unit.commit(T0 + number * NS, force=True)
        assert commit is not None
        store.save(store.owner, commit)
        unit.committed(T0 + number * NS)
    return [reason for _, reason in store.intents]


POINT = st.sampled_from(["before the commit", "commit lost", "reply lost", "after"])


@given(st.integers(5, 40), st.lists(st.tuples(st.integers(1, 40), POINT), max_size=12), st.integers(1, 4))
def test_a_crash_anywhere_changes_no_effect(events: int, crashes: list[tuple[int, str]], commit_every: int) -> None:
    plan = dict(crashes)
    store = Store()
    unit, owner = fresh(store), store.owner
    stragglers: list[tuple[int, Commit]] = []
    while position_of(unit) < events:
        number = position_of(unit) + 1
        turn(unit, number)
        point = plan.pop(number, None)
        if point == "before the commit":
            unit = fresh(store)
            owner = store.owner
            continue
        commit = unit.commit(T0 + number * NS, force=number % commit_every == 0 or number == events)
        if commit is None:
            continue
        if point == "commit lost":
            stragglers.append((owner, commit))  # it may still arrive, after the next owner took the unit
            unit = fresh(store)
            owner = store.owner
            continue
        assert store.save(owner, commit)
        if point == "reply lost":
            assert store.save(owner, commit)  # the retry does nothing
        unit.committed(T0 + number * NS)
        if point == "after":
            unit = fresh(store)
            owner = store.owner
        for old_owner, old in stragglers:
            assert not store.save(old_owner, old)
    assert [reason for _, reason in store.intents] == undisturbed(events)
    assert len({one for one, _ in store.intents}) == len(store.intents)
