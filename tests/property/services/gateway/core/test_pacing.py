"""Never more than the budget in any second, and a cancel never waits for data."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.core.pacing import Lane, Pacer

S = 1_000_000_000
acts = st.lists(st.tuples(st.sampled_from(list(Lane)), st.integers(1, 3), st.integers(0, S // 20)), max_size=300)


@given(acts)
def test_no_window_exceeds_the_budget_and_everything_leaves(given_acts: list[tuple[Lane, int, int]]) -> None:
    pacer: Pacer[tuple[Lane, int]] = Pacer()
    now, sent = 0, []

    def take() -> None:
        for lane, cost in pacer.take(now):
            sent.extend([(now, lane)] * cost)

    for lane, cost, pause in given_acts:
        now += pause
        pacer.submit(lane, (lane, cost), cost=cost)
        take()
    turns = 0
    while pacer.waiting:
        deadline = pacer.deadline_ns()
        assert deadline is not None
        now = max(now + 1, deadline)
        take()
        turns += 1
        assert turns < 5000
    times = [at for at, _ in sent]
    assert len(times) == sum(cost for _, cost, _ in given_acts)
    for index, at in enumerate(times):
        assert sum(1 for each in times[index:] if each < at + S) <= 45


@given(acts)
def test_a_cancel_leaves_at_once_unless_cancels_alone_fill_the_window(given_acts: list[tuple[Lane, int, int]]) -> None:
    pacer: Pacer[str] = Pacer()
    now = 0
    for lane, cost, pause in given_acts:
        now += pause
        if lane > Lane.ORDER:
            pacer.submit(lane, "data", cost=cost)
            pacer.take(now)
    pacer.submit(Lane.CANCEL, "cancel")
    assert "cancel" in pacer.take(now)
