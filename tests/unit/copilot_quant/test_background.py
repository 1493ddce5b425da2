from __future__ import annotations

import asyncio
import threading

import pytest

from copilot_quant.background import Background
from shared.errors import InvariantBroken, TimedOut
from tests.support import eventually_sync


@pytest.fixture
def background():
    one = Background()
    yield one
    one.stop()


async def answer(value: int, after_s: float = 0.0) -> int:
    await asyncio.sleep(after_s)
    return value


def test_a_result_and_an_error_come_back(background: Background) -> None:
    async def fail() -> None:
        raise ValueError("no")

    assert background.run(answer(3), limit_s=5) == 3
    with pytest.raises(ValueError, match="no"):
        background.run(fail(), limit_s=5)


def test_a_wait_has_a_limit(background: Background) -> None:
    with pytest.raises(TimedOut):
        background.run(answer(3, 30), limit_s=0.05)


def test_the_work_s_own_timeout_is_its_own(background: Background) -> None:
    async def late() -> None:
        await asyncio.wait_for(asyncio.sleep(30), 0.01)

    with pytest.raises(TimeoutError) as caught:
        background.run(late(), limit_s=5)
    assert not isinstance(caught.value, TimedOut)


async def test_it_works_inside_a_running_loop(background: Background) -> None:
    assert background.run(answer(4), limit_s=5) == 4


def test_waiting_for_oneself_is_refused(background: Background) -> None:
    async def inner() -> None:
        background.run(answer(1), limit_s=1)

    with pytest.raises(InvariantBroken):
        background.run(inner(), limit_s=5)


def test_callbacks_come_in_order_and_a_bad_one_ends_nothing(background: Background) -> None:
    seen: list[tuple[int, bool]] = []

    def note(number: int) -> None:
        if number == 1:
            raise ValueError("mine")
        seen.append((background.run(answer(number), limit_s=5), threading.current_thread() is threading.main_thread()))

    for number in (0, 1, 2):
        background.tell(note, number)
    eventually_sync(lambda: len(seen) == 2, 5)
    assert seen == [(0, False), (2, False)]


def test_stopping_cancels_what_runs_and_a_later_use_begins_anew(background: Background) -> None:
    ended = threading.Event()

    async def for_ever() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    background.spawn(for_ever())
    background.run(answer(1), limit_s=5)
    background.stop()
    assert ended.is_set()
    assert background.run(answer(2), limit_s=5) == 2
