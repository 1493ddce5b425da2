"""A visit asks under another id of the pool about orders of ours there, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from services.gateway.ports import ClientIdInUse
from services.gateway.shell import apart
from services.gateway.shell.apart import LISTED_AGAIN_S, Apart
from services.gateway.shell.sending import Sending
from services.gateway.shell.visits import AGAIN_S, EVERY_S, Visits
from shared.clock import ManualClock
from shared.errors import TimedOut
from tests.unit.services.gateway.shell.test_adoption import may_send


class World:
    """The leader around its visits, and the broker that they reach."""

    def __init__(self) -> None:
        self.clock = ManualClock(monotonic_ns=10**12)
        self.turn: asyncio.Lock
        self.settings: Any = SimpleNamespace(
            trading_client_ids=(101, 102), endpoint=("h", 1), connect_limit_s=1.0, tws_time_zone="", guard=""
        )
        self.client_id, self.can_send, self.is_holding, self.complaint = 102, True, False, ""
        self.rounds = 0
        self.sending = Sending()
        self.sent_during: list[bool] = []
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
        self.sent_during.append(await self.may_send())
        return 0

    async def may_send(self) -> bool:
        """Return whether a command would have its turn now, and a halt is not kept waiting either way."""
        async with self.sending:
            pass
        return await may_send(self.sending)

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
    sessions = Apart(
        made.settings, trading, check_accounts=lambda _accounts: made.complaint, sending=made.sending,
        is_holding=lambda: made.is_holding, clock=made.clock,
    )  # fmt: skip
    made.turn = sessions.turn
    loop = Visits(made.settings, trading, made.book, sessions, clock=made.clock)
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


async def test_an_id_without_orders_is_visited_once_and_once_more_after_there_were_some(world: World) -> None:
    # Simulation, seed 200093: what was executed under an id of before was known to have ended, and never fetched.
    world.orders = []
    for _ in range(3):
        await world.passes()
    assert world.visited == [101]
    world.orders = [(101, False)]
    for _ in range(2):
        await world.passes()
    world.orders = []
    for _ in range(3):
        await world.passes()
    assert world.visited == [101] * 4
    world.client_id = 101
    for _ in range(3):
        await world.passes()
    assert world.visited == [101] * 4 + [102], "the id that was in use is another one now"


async def test_nobody_is_visited_while_the_trading_session_is_not_ready(world: World) -> None:
    world.can_send = False
    await world.passes()
    assert not world.visited and not world.closed


async def test_a_refused_visit_is_tried_again_and_one_that_fails_has_everything_listed_again(world: World) -> None:
    world.refusal = ClientIdInUse("326")
    await world.passes()
    assert world.closed == [101] and not world.asked_again
    world.refusal, world.failure = None, TimedOut("no end of the executions")
    await world.passes()
    assert world.closed == [101, 101] and world.asked_again == 1 and not world.visited
    world.failure = None
    await world.passes()
    assert world.visited == [101]


async def test_an_id_in_use_where_nothing_of_ours_works_is_not_asked_for_all_the_time(world: World) -> None:
    world.orders, world.refusal = [], ClientIdInUse("326")
    for _ in range(int(AGAIN_S * 4 / EVERY_S)):
        await world.passes()
    assert 3 <= len(world.closed) <= 5


async def test_a_visit_waits_until_no_other_session_of_an_id_is_open(world: World) -> None:
    async with world.turn:
        await world.passes()
        world.client_id = 101
    await world.passes()
    assert world.visited == [102], "and looks again whether it may, once it is its turn"


@pytest.mark.parametrize("guard, is_holding, may_send", [("g", True, False), ("g", False, True), ("", True, True)])
async def test_orders_wait_during_a_visit_behind_a_guard_that_holds(
    world: World, guard: str, *, is_holding: bool, may_send: bool
) -> None:
    world.settings.guard, world.is_holding = guard, is_holding
    await world.passes()
    assert world.visited == [101] and world.sent_during == [may_send]
    assert await world.may_send()


@pytest.mark.parametrize("is_listed", [True, False])
async def test_after_a_failed_one_they_wait_until_all_was_listed_again_and_not_for_ever(
    world: World, *, is_listed: bool
) -> None:
    world.settings.guard, world.is_holding, world.failure = "g", True, TimedOut("no end of the executions")
    await world.passes()
    assert world.asked_again == 1 and not await world.may_send()
    world.rounds += is_listed
    world.clock.advance(0.1 if is_listed else LISTED_AGAIN_S + 0.1)
    for _ in range(20):
        await asyncio.sleep(0)
    assert await world.may_send()


async def test_an_id_in_use_keeps_no_order_waiting(world: World) -> None:
    world.settings.guard, world.is_holding, world.refusal = "g", True, ClientIdInUse("326")
    await world.passes()
    assert world.closed == [101] and not world.asked_again and await world.may_send()


async def test_another_accounts_login_is_asked_nothing(world: World) -> None:
    world.complaint = "another account"
    await world.passes()
    assert not world.visited and world.closed == [101]
