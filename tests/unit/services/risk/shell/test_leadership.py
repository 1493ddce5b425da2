"""The leadership of risk ends with its lease, and the process with its cancellation."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from services.risk.shell.leadership import Leadership
from shared.bus.ports import LeaseToken
from shared.clock import SYSTEM_CLOCK
from shared.errors import Fenced


class Elected:
    """Wins at once, again and again, and counts."""

    def __init__(self) -> None:
        self.wins = 0

    async def win(self) -> LeaseToken:
        self.wins += 1
        return LeaseToken("risk", "a", self.wins, "now")


async def test_a_cancellation_is_not_lost_to_a_lease_that_ends_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elected, nothing = Elected(), SimpleNamespace()
    parts: Any = nothing
    leadership = Leadership(parts, SYSTEM_CLOCK, elected, parts, parts, parts)  # type: ignore[arg-type]
    leads = asyncio.Event()

    async def fails_when_ended() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise Fenced("the lease is over")

    async def lead(_self: Leadership, _token: LeaseToken) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails_when_ended())
            leads.set()

    monkeypatch.setattr(Leadership, "_lead", lead)
    running = asyncio.create_task(leadership.run())
    await leads.wait()
    await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=5)
    assert done == {running} and running.cancelled() and elected.wins == 1
