"""A long answer is told in turns of the event loop, in order, and what comes behind it waits."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from services.gateway.shell.ib_turns import TURN_NS, Turns
from shared.clock import NS_PER_S, ManualClock

MESSAGE_S = TURN_NS / NS_PER_S / 50


class Transport:
    """A socket that is read, or not."""

    def __init__(self) -> None:
        self.acts: list[str] = []
        self.is_closed = False

    def pause_reading(self) -> None:
        self.acts.append("pause")

    def resume_reading(self) -> None:
        self.acts.append("resume")

    def is_closing(self) -> bool:
        return self.is_closed


class Listener:
    """Takes a fiftieth of a turn for each message."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.told: list[str] = []
        self.turns: list[int] = []
        self.turns_of_others = 0
        self.transport = Transport()
        self.queue = Turns(self.take, self.ended, clock=self.clock)
        self.queue.transport = cast(Any, self.transport)

    def take(self, fields: list[str]) -> None:
        self.clock.advance(MESSAGE_S)
        self.told.append(fields[0])

    def ended(self) -> None:
        self.turns.append(len(self.told))

    def read(self, first: int, count: int) -> None:
        self.queue.take([[str(number)] for number in range(first, first + count)])

    async def others(self) -> None:
        """Something else that wants the event loop."""
        while True:
            await asyncio.sleep(0)
            self.turns_of_others += 1


@pytest.fixture
def listener() -> Listener:
    return Listener()


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


async def test_what_fits_in_a_turn_is_told_at_once(listener: Listener) -> None:
    listener.read(0, 40)
    assert listener.told == numbers(40)
    assert listener.turns == [40]
    assert not listener.transport.acts


async def test_a_long_answer_lets_others_have_their_turns_and_stays_in_order(listener: Listener) -> None:
    other = asyncio.create_task(listener.others())
    listener.read(0, 1000)
    assert 40 < len(listener.told) < 80, "one turn of the loop took longer than it may"
    assert listener.transport.acts == ["pause"]
    while len(listener.told) < 1000:
        await asyncio.sleep(0)
    assert listener.told == numbers(1000)
    assert listener.turns_of_others >= len(listener.turns) - 2 > 10
    assert listener.transport.acts == ["pause", "resume"]
    listener.read(1000, 1)
    assert listener.told == numbers(1001)
    other.cancel()


async def test_what_was_read_before_the_pause_held_waits_its_turn(listener: Listener) -> None:
    listener.read(0, 200)
    listener.read(200, 10)
    assert len(listener.told) < 200
    while len(listener.told) < 210:
        await asyncio.sleep(0)
    assert listener.told == numbers(210)


async def test_before_the_end_of_the_socket_all_that_came_is_told(listener: Listener) -> None:
    listener.read(0, 500)
    listener.transport.is_closed = True
    listener.queue.finish()
    assert listener.told == numbers(500)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert listener.transport.acts == ["pause"], "a socket that is closing is not read any more"


async def test_what_is_dropped_is_never_told(listener: Listener) -> None:
    listener.read(0, 500)
    told = len(listener.told)
    listener.queue.drop()
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(listener.told) == told
