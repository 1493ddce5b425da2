from __future__ import annotations

import pytest

from services.gateway.core.takeover import Part, Step, Takeover


def test_the_steps_in_order() -> None:
    takeover = Takeover()
    seen = [takeover.step()]
    takeover.fenced()
    seen.append(takeover.step())
    takeover.read()
    seen.append(takeover.step())
    takeover.connected()
    for part in list(takeover.missing_parts()):
        seen.append(takeover.step())
        takeover.answered(part)
    seen.append(takeover.step())
    takeover.published()
    seen.append(takeover.step())
    takeover.announced()
    seen.append(takeover.step())
    assert seen == [
        Step.FENCE, Step.READ_STREAMS, Step.CONNECT, Step.ASK, Step.ASK, Step.ASK, Step.PUBLISH, Step.ANNOUNCE,
        Step.CONSUME,
    ]  # fmt: skip
    assert takeover.may_send


def test_a_lost_session_goes_back_to_connecting_and_asks_everything_again() -> None:
    takeover = Takeover()
    takeover.fenced()
    takeover.read()
    takeover.connected()
    takeover.answered(Part.OPEN_ORDERS)
    takeover.disconnected()
    assert takeover.step() is Step.CONNECT
    takeover.connected()
    assert takeover.missing_parts() == list(Part)


def test_nothing_is_announced_before_every_part_ended() -> None:
    takeover = Takeover()
    takeover.fenced()
    takeover.read()
    takeover.connected()
    takeover.answered(Part.OPEN_ORDERS)
    with pytest.raises(AssertionError):
        takeover.published()


def test_each_phase_is_timed_from_the_end_of_the_one_before() -> None:
    takeover = Takeover()
    for step, at_ms in ((Step.FENCE, 12), (Step.READ_STREAMS, 15), (Step.CONNECT, 40)):
        takeover.note(step, at_ms * 10**6)
    assert takeover.times_ms(10 * 10**6) == {"fence": 2.0, "read_streams": 3.0, "connect": 25.0}


def test_a_phase_that_was_repeated_counts_when_it_was_done_last() -> None:
    takeover = Takeover()
    for step, at_ms in ((Step.FENCE, 1), (Step.CONNECT, 2), (Step.ASK, 3), (Step.CONNECT, 10), (Step.ASK, 14)):
        takeover.note(step, at_ms * 10**6)
    assert takeover.times_ms(0) == {"fence": 1.0, "connect": 9.0, "ask": 4.0}


def test_a_day_that_is_known_is_not_waited_for_and_only_in_this_session() -> None:
    takeover = Takeover()
    takeover.fenced()
    takeover.read()
    takeover.connected()
    takeover.day_known()
    assert takeover.missing_parts() == [Part.OPEN_ORDERS, Part.EXECUTIONS]
    takeover.answered(Part.OPEN_ORDERS)
    with pytest.raises(AssertionError):
        takeover.published()
    takeover.answered(Part.EXECUTIONS)
    takeover.published()
    takeover.announced()
    assert takeover.may_send
    takeover.disconnected()
    takeover.connected()
    assert takeover.missing_parts() == list(Part)
