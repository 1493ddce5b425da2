from __future__ import annotations

from services.simulator.core.faults import DROP, KINDS, SEND, Faults, MessageRule, Verdict
from shared.tws.responses import CurrentTime, OpenOrderEnd, TickSize

SIZE, TIME = TickSize(1, 0, 1.0), CurrentTime(1)


def test_nothing_is_touched_without_a_fault() -> None:
    assert not Faults().is_active
    assert Faults().on_send(1, 1, TIME, 0) is SEND


def test_silence_ends_by_itself_and_is_for_those_it_was_meant_for() -> None:
    faults = Faults(silent_until_ns=100, silent_sessions=frozenset({1}))
    assert faults.on_send(1, 5, TIME, 99) is DROP
    assert faults.on_send(2, 6, TIME, 99) is SEND
    assert faults.on_send(1, 5, TIME, 100) is SEND
    assert not faults.is_active


def test_data_and_the_rest_are_told_apart() -> None:
    faults = Faults(data_silent_until_ns=100)
    assert faults.on_send(1, 1, SIZE, 50) is DROP and faults.on_send(1, 1, TIME, 50) is SEND
    faults = Faults(slow_until_ns=100, slow_ns=7)
    assert faults.on_send(1, 1, SIZE, 50) is SEND and faults.on_send(1, 1, TIME, 50) == Verdict(7)


def test_rules_count_down() -> None:
    faults = Faults()
    faults.rules = [MessageRule("currentTime", "twice", 2, 9), MessageRule("openOrderEnd", "drop", 1, client_id=4)]
    assert faults.on_send(1, 1, OpenOrderEnd(), 0) is SEND, "another client's"
    assert faults.on_send(1, 4, OpenOrderEnd(), 0) is DROP
    assert [faults.on_send(1, 1, TIME, 0) for _ in range(3)] == [Verdict(0, 9), Verdict(0, 9), SEND]
    assert not faults.is_active


def test_one_feed_can_be_silent() -> None:
    faults = Faults(stalled={7: 100})
    assert faults.is_stalled(7, 99) and not faults.is_stalled(8, 99)
    assert not faults.is_stalled(7, 100) and not faults.stalled


def test_alarms_are_for_a_number_of_orders() -> None:
    faults = Faults(alarms=(399,), alarms_left=1)
    assert [faults.take_alarms() for _ in range(2)] == [(399,), ()]


def test_every_message_has_a_name() -> None:
    assert {"orderStatus", "openOrder", "execDetails", "commissionReport", "historicalData"} <= set(KINDS)


def test_a_feed_that_sleeps_until_it_is_asked_for_wakes_with_a_new_subscription() -> None:
    faults = Faults(stalled={7: 100, 8: 100}, stalled_until_asked={7})
    faults.asked_anew(8)
    assert faults.is_stalled(7, 1) and faults.is_stalled(8, 1)
    faults.asked_anew(7)
    assert not faults.is_stalled(7, 1) and not faults.stalled_until_asked
