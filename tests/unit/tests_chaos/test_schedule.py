from __future__ import annotations

from services.simulator.core.faults import END_MARKERS
from services.simulator.core.faults import KINDS as MESSAGES
from tests.chaos.schedule import KINDS, draw


def test_a_seed_gives_the_same_schedule_and_another_seed_another() -> None:
    assert draw(7, 300) == draw(7, 300)
    assert draw(7, 300) != draw(8, 300)


def test_faults_come_in_order_within_the_run_at_the_pace_asked_for() -> None:
    faults = draw(3, 1000, every_s=2.0)
    times = [fault.at_s for fault in faults]
    assert times == sorted(times)
    assert times[0] > 0 and times[-1] < 1000
    assert 400 < len(faults) <= 520


def test_a_place_is_left_alone_after_a_fault_for_as_long_as_the_fault_needs() -> None:
    free: dict[str, float] = {}
    for fault in draw(5, 2000, every_s=0.5):
        assert fault.at_s >= free.get(fault.place, 0.0) - 0.011, fault.text()  # times are rounded to 10 ms
        rests = [kind.rest_s for kind in KINDS if kind.name == fault.name and kind.place == fault.place]
        free[fault.place] = fault.at_s + min(rests)


def test_every_kind_is_drawn_in_a_long_run() -> None:
    assert {fault.name for fault in draw(1, 5000, every_s=1.0)} == {kind.name for kind in KINDS}


def test_pauses_of_the_leader_are_shorter_and_longer_than_the_lease() -> None:
    seconds = [fault.parameters["seconds"] for fault in draw(1, 3000, every_s=1.0) if fault.name == "pause_leader"]
    assert min(seconds) < 0.8 < 1.3 < max(seconds)
    assert not [one for one in seconds if 0.85 < one < 1.25], "neither certainly shorter nor certainly longer"


def test_the_messages_named_are_the_simulators() -> None:
    for kind in KINDS:
        name = kind.fixed.get("name")
        if name is not None:
            assert name in (END_MARKERS if kind.name == "missing_end" else MESSAGES), kind


def test_with_a_longer_lease_pauses_are_as_many_times_as_long() -> None:
    pauses = [fault for fault in draw(1, 3000, every_s=1.0, lease_s=3.0) if fault.name == "pause_leader"]
    seconds = [fault.parameters["seconds"] for fault in pauses]
    assert min(seconds) < 2.4 < 3.9 < max(seconds)
    assert not [one for one in seconds if 2.55 < one < 3.75]
