"""What the gateway takes from the guard's answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.gateway.core.halt_memory import HaltMemory
from services.gateway.shell.guard import GuardControl
from tests.support import eventually


class Answering(GuardControl):
    """A guard that answers as told."""

    answer: dict[str, object] | None = None

    async def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, object] | None:
        assert (method, path, body) == ("GET", "/epoch", None), "asking must change nothing"
        return self.answer


@pytest.mark.parametrize(
    "answer, expected",
    [
        (None, None),
        ({"epoch": 3, "holding": True}, None),  # an older guard says no time: it cannot be compared
        (
            {"holding": True, "who": "bert", "reason": "news", "at_ns": 7},
            HaltMemory(is_halted=True, who="bert", reason="news", at_ns=7),
        ),
        ({"holding": False, "at_ns": 9}, HaltMemory(is_halted=False, at_ns=9)),
    ],
)
async def test_a_halt_at_the_guard_is_known_with_its_time(answer: Any, expected: Any) -> None:
    guard = Answering("http://guard")
    guard.answer = answer
    assert await guard.halt_memory() == expected


async def test_without_a_guard_nothing_is_known_and_everything_is_allowed() -> None:
    guard = GuardControl("")
    assert await guard.halt_memory() is None
    assert await guard.halt("a", "b") and await guard.resume("a", "b")


async def test_following_the_guard_keeps_its_epoch_and_its_latch_as_last_seen() -> None:
    guard = Answering("http://guard")
    guard.answer = {"epoch": 3, "holding": True}
    following = asyncio.ensure_future(guard.run())
    await eventually(lambda: guard.is_holding and guard.epoch == 3)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
