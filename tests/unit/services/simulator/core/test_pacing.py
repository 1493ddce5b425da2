from __future__ import annotations

from services.simulator.core.pacing import Pacing, Verdict

NS = 1_000_000_000


def test_delayed_messages_come_out_at_the_allowed_rate() -> None:
    pacing = Pacing("delay", 50)
    read_ns = [pacing.on_message(1, 0).delay_ns for _ in range(200)]
    assert read_ns == sorted(read_ns)
    for start in range(150):
        assert read_ns[start + 50] - read_ns[start] >= NS
    assert pacing.on_message(2, 0) == Verdict()


def test_a_quiet_second_frees_the_budget() -> None:
    pacing = Pacing("reject", 2)
    assert [pacing.on_message(1, 0).is_refused for _ in range(3)] == [False, False, True]
    assert not pacing.on_message(1, NS).is_refused
    pacing.forget(1)
    assert not pacing.on_message(1, NS).is_refused


def test_the_third_violation_is_the_last() -> None:
    pacing = Pacing("reject", 1)
    assert [pacing.on_message(1, 0).is_last for _ in range(4)] == [False, False, False, True]
    assert Pacing("off", 1).on_message(1, 0) == Verdict()
