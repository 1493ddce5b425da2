from __future__ import annotations

from services.simulator.core.history_pacing import HistoryPacing

S = 1_000_000_000


def test_an_identical_request_within_15_seconds() -> None:
    pacing = HistoryPacing()
    assert pacing.admit("a", "a/1", 0)
    assert not pacing.admit("a", "a/1", 14 * S)
    assert pacing.admit("a", "a/1", 15 * S)


def test_six_alike_within_two_seconds() -> None:
    pacing = HistoryPacing()
    assert all(pacing.admit("a", f"a/{number}", number * S // 10) for number in range(5))
    assert not pacing.admit("a", "a/5", S)
    assert pacing.admit("b", "b/5", S)
    assert pacing.admit("a", "a/5", 2 * S + 1)


def test_sixty_in_ten_minutes_and_bid_ask_counts_twice() -> None:
    pacing = HistoryPacing()
    admitted = [pacing.admit(str(number), str(number), number * S, weight=2) for number in range(31)]
    assert admitted == [True] * 30 + [False]
    assert not pacing.admit("x", "x", 599 * S)
    assert pacing.admit("x", "x", 601 * S)


def test_memory_is_bounded() -> None:
    pacing = HistoryPacing()
    for number in range(5000):
        pacing.admit(str(number), str(number), number * 11 * S)
    assert len(pacing._identical) == len(pacing._alike) == 1000
