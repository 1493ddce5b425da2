from __future__ import annotations

import pytest

from services.gateway.core.pacing import Budget, HistoryPacer, Lane, Pacer
from shared.errors import PacingRefused

S = 1_000_000_000


def test_cancels_go_first_and_data_never_uses_up_their_room() -> None:
    pacer: Pacer[str] = Pacer()
    for number in range(100):
        pacer.submit(Lane.SUBSCRIPTION, f"s{number}")
    assert len(pacer.take(0)) == 30
    pacer.submit(Lane.HISTORY, "h")
    pacer.submit(Lane.ORDER, "o")
    pacer.submit(Lane.CANCEL, "c")
    assert pacer.take(1) == ["c", "o"]


def test_never_more_than_the_budget_within_any_second() -> None:
    pacer: Pacer[int] = Pacer()
    for number in range(200):
        pacer.submit(Lane.CANCEL, number)
    now, sent = 0, []
    while pacer.waiting:
        sent += [now] * len(pacer.take(now))
        now = max(now + 1, pacer.deadline_ns() or 0)
    assert len(sent) == 200
    for at in sent:
        assert sum(1 for each in sent if at <= each < at + S) <= 45


def test_a_group_waits_for_room_for_all_of_it() -> None:
    pacer: Pacer[str] = Pacer()
    for number in range(38):
        pacer.submit(Lane.ORDER, str(number))
    pacer.submit(Lane.ORDER, "bracket", cost=3)
    assert "bracket" not in pacer.take(0)
    deadline = pacer.deadline_ns()
    assert deadline == S
    assert pacer.take(deadline) == ["bracket"]


def test_a_full_queue_refuses_with_a_code() -> None:
    pacer: Pacer[int] = Pacer(Budget(queues=(1, 1, 1, 1, 1)))
    pacer.submit(Lane.ORDER, 1)
    with pytest.raises(PacingRefused) as caught:
        pacer.submit(Lane.ORDER, 2)
    assert caught.value.code == "PACING_QUEUE_FULL"
    assert pacer.drain() == [1] and pacer.waiting == 0


def test_history_waits_for_the_same_request_for_bursts_and_for_ten_minutes() -> None:
    pacer = HistoryPacer()
    pacer.sent("same", "aapl", cost=1, now_ns=0)
    assert pacer.ready_ns("same", "other", cost=1, now_ns=1) == 15 * S + S // 2
    for number in range(4):
        pacer.sent(f"r{number}", "aapl", cost=1, now_ns=0)
    assert pacer.ready_ns("new", "aapl", cost=1, now_ns=1) == 2 * S + S // 2
    for number in range(53):
        pacer.sent(f"q{number}", f"c{number}", cost=1, now_ns=S)
    assert pacer.ready_ns("x", "y", cost=1, now_ns=2 * S) == 600 * S + S // 2
    assert pacer.ready_ns("x", "y", cost=1, now_ns=601 * S) == 601 * S
