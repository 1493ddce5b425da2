"""A visit asks under another id of the pool about orders of ours there, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from services.gateway.shell import apart
from services.gateway.shell.apart import Apart
from services.gateway.shell.visits import EVERY_S, Visits
from shared.clock import ManualClock
from shared.errors import BrokerUnavailable, TimedOut


class World:
    """The leader around its visits, and the broker that they reach."""

    def __init__(self) -> None:
        self.clock = ManualClock(monotonic_ns=10**12)
        self.turn: asyncio.Lock
        self.settings: Any = SimpleNamespace(
            trading_client_ids=(101, 102, 103), endpoint=("h", 1), connect_limit_s=1.0, tws_time_zone=""
        )
        self.client_id, self.can_send, self.is_halted, self.complaint = 102, True, False, ""
        self.orders = [(101, False), (102, False), (103, True), (104, False)]
        self.book: Any = SimpleNamespace(
            open_tracks=lambda: [SimpleNamespace(client_id=one, is_external=hand) for one, hand in self.orders]
        )
        self.desk = None
        self.visited: list[int] = []
        self.closed: list[int] = []
        self.asked_again = 0
        self.refusal: Exception | None = None
        self.failure: Exception | None = None

    def claim(self) -> str:
        return "claim"

    def ask(self, _reason: str) -> None:
        self.asked_again += 1

    async def take_day_of(self, session: Any) -> int:
        if self.failure is not None:
            raise self.failure
        self.visited.append(session.client_id)
        return 0

    async def passes(self) -> None:
        """Let the time until the next visit pass."""
        for _ in range(5):
            await asyncio.sleep(0)
        self.clock.advance(EVERY_S + 0.1)
        for _ in range(20):
            await asyncio.sleep(0)


class Session:
    """A session of another client id."""

    accounts = ("DU1",)

    def __init__(self, world: World, client_id: int, *, options: str) -> None:
        assert options == "claim"
        self.client_id, self._world = client_id, world

    async def open(self, *_where: Any, limit_s: float) -> None:
        if self._world.refusal is not None:
            raise self._world.refusal

    async def close(self) -> None:
        self._world.closed.append(self.client_id)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    made = World()
    monkeypatch.setattr(
        apart, "IbSession", lambda client_id, _listener, *, options, **_: Session(made, client_id, options=options)
    )
    trading: Any = made
    sessions = Apart(made.settings, trading, check_accounts=lambda _accounts: made.complaint, clock=made.clock)
    made.turn = sessions.turn
    loop = Visits(
        made.settings, trading, made.book, sessions, is_halted=lambda: made.is_halted, clock=made.clock
    )  # fmt: skip
    running = asyncio.create_task(loop.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_ids_of_the_pool_with_orders_of_ours_are_visited_but_for_the_one_in_use(world: World) -> None:
    await world.passes()
    assert world.visited == [101] and world.closed == [101]
    world.client_id = 101
    await world.passes()
    assert world.visited == [101, 102]


@pytest.mark.parametrize("why", ["not ready", "halted", "nothing there"])
async def test_nobody_is_visited(world: World, why: str) -> None:
    world.can_send, world.is_halted = why != "not ready", why == "halted"
    if why == "nothing there":
        world.orders = [(102, False), (101, True)]
    await world.passes()
    assert not world.visited and not world.closed


async def test_a_refused_visit_is_tried_again_and_one_that_fails_has_everything_listed_again(world: World) -> None:
    world.refusal = BrokerUnavailable("326")
    await world.passes()
    assert world.closed == [101] and not world.asked_again
    world.refusal, world.failure = None, TimedOut("no end of the executions")
    await world.passes()
    assert world.closed == [101, 101] and world.asked_again == 1 and not world.visited
    world.failure = None
    await world.passes()
    assert world.visited == [101]


async def test_a_visit_waits_until_no_other_session_of_an_id_is_open(world: World) -> None:
    async with world.turn:
        await world.passes()
        world.is_halted = True
    await world.passes()
    assert not world.closed, "and looks again whether it may, once it is its turn"
    world.is_halted = False
    await world.passes()
    assert world.visited == [101]


async def test_another_accounts_login_is_asked_nothing(world: World) -> None:
    world.complaint = "another account"
    await world.passes()
    assert not world.visited and world.closed == [101]
