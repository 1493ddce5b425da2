from __future__ import annotations

from typing import Any

from services.strategy.core.patience import NS_PER_S, Patience, Sample, Verdict

STEP_NS = NS_PER_S // 20


def looks(patience: Patience, count: int, *, cpu_share: float | None = 1.0, **changes: Any) -> Verdict | None:
    """Look so many times at one call that goes on, every 50 ms."""
    for number in range(count):
        content: dict[str, Any] = {"calls": 7, "unit": "dip/IBM", "is_running": True, "is_waiting": False, **changes}
        cpu_ns = None if cpu_share is None else int(number * STEP_NS * cpu_share)
        verdict = patience.look(Sample(now_ns=NS_PER_S + number * STEP_NS, cpu_ns=cpu_ns, **content))
        if verdict is not None:
            return verdict
    return None


def test_a_call_that_uses_the_processor_beyond_the_limit_has_to_go_and_is_named() -> None:
    assert looks(Patience(0.5), 15) is None
    verdict = looks(Patience(0.5), 20)
    assert verdict is not None and verdict.unit == "dip/IBM" and "did not return within 0.5 s" in verdict.why


def test_one_that_waits_gets_longer_and_one_found_stuck_inside_no_time_at_all() -> None:
    assert looks(Patience(0.5), 38, cpu_share=0.0, is_waiting=True) is None
    assert looks(Patience(0.5), 45, cpu_share=0.0, is_waiting=True) is not None
    assert looks(Patience(0.5), 3, is_stuck=True) is not None
    assert looks(Patience(0.5), 45, cpu_share=None, is_waiting=None) is not None  # a system that shows neither


def test_starved_stopped_debugged_and_idle_processes_are_left_alone() -> None:
    assert looks(Patience(0.5), 400, cpu_share=0.0) is None
    assert looks(Patience(0.5), 400, is_held=True) is None
    assert looks(Patience(0.5), 400, is_debugged=True) is None
    assert looks(Patience(0.5), 400, is_running=False) is None


def test_many_calls_and_a_machine_that_slept_begin_anew() -> None:
    patience = Patience(0.5)
    for number in range(400):
        sample = Sample(
            now_ns=number * STEP_NS, calls=number // 10, unit="a", is_running=True, cpu_ns=number * STEP_NS
        )  # fmt: skip
        assert patience.look(sample) is None
    assert looks(patience, 14) is None
    slept = Sample(now_ns=NS_PER_S * 900, calls=7, unit="dip/IBM", is_running=True, is_waiting=True, cpu_ns=0)
    assert patience.look(slept) is None


def test_memory_is_laid_to_the_unit_that_was_measured_then_to_the_one_that_runs_then_to_nobody() -> None:
    def verdict(**changes: Any) -> Verdict | None:
        sample = Sample(**{"now_ns": 1, "calls": 1, "unit": "a", "is_running": True, "memory_mb": 1001.0, **changes})
        return Patience(0.5, memory_mb=1000).look(sample)

    assert verdict(memory_mb=999.0) is None
    measured = verdict(greediest="b")
    assert measured is not None and measured.unit == "b" and measured.is_memory
    assert "grew to 1001 MB (limit 1000)" in measured.why
    running = verdict()
    assert running is not None and running.unit == "a"
    assert verdict(is_running=False) is None


def test_handlers_are_measured_once_half_of_the_memory_is_taken() -> None:
    patience = Patience(0.5, memory_mb=1000)
    assert [patience.is_uneasy(Sample(1, 1, "a", False, memory_mb=size)) for size in (499, 501)] == [False, True]
    assert not Patience(0.5).is_uneasy(Sample(1, 1, "a", False, memory_mb=9000))
