"""A handler that raised: what is kept, what comes of running it again, and what the edit of the code changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.strategy.core.saved import Limits, Watched
from services.strategy.shell.failures import Failure, Failures
from services.strategy.shell.feed import Dispatcher, RunningUnit
from services.strategy.shell.loader import forget_imports, load_strategies
from services.strategy.shell.rerun import rerun
from services.strategy.shell.units import UnitMaker
from shared.bus.keys import Keys, Role
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import LeaseToken, UnitCommit, UnitRecord
from shared.clock import SYSTEM_CLOCK
from shared.errors import BadInput, DecodeError
from shared.messages.market import pack_ticks, quote_tick
from tests.unit.services.strategy.parts import IBM

T0 = SYSTEM_CLOCK.wall_ns()
"""The bus in memory gives ids of today, and timers are compared with them."""

CODE = """
from pydantic import BaseModel
from services.strategy.api import Quote, Strategy, Timer


class Mine(Strategy):
    class State(BaseModel):
        seen: int = 0

    def on_start(self) -> None:
        self.set_timer("look", 3600)

    def on_quote(self, quote: Quote) -> None:
        self.state.seen += 1
        if quote.bid == 13:
            number = 1 / (self.state.seen - self.state.seen)
        self.buy(quote.contract, self.state.seen, reason=f"quote {self.state.seen}")

    def on_timer(self, timer: Timer) -> None:
        raise KeyError("nothing to look at")
"""
TABLE = '[strategy.mine]\nfile = "mine.py"\nclass = "Mine"\ncontracts = ["IBM"]\n'


class World:
    """One unit on a bus in memory, and its gateway."""

    def __init__(self, folder: Path) -> None:
        self.code = folder / "mine.py"
        self.code.write_text(CODE)
        (folder / "strategies.toml").write_text(TABLE)
        self.declared = load_strategies(folder / "strategies.toml", fresh=True).units["mine/IBM"]
        self.bus = MemoryBus(MemoryServer(), Keys("sim"))
        self.failures = Failures(self.bus)

    async def open(self) -> None:
        bus = self.bus
        self.gateway = await self._lease(Role.GATEWAY)
        self.worker = await self._lease(Role.strategy("w1"))
        assert await bus.take_unit(self.worker, "mine/IBM", seen=UnitRecord())
        maker = UnitMaker(bus, deployment_id="d", account="DU1", limits=Limits(), watched=Watched())
        self.running: RunningUnit = await maker.make(self.declared, [IBM], UnitRecord(), self.worker.incarnation)
        self.running.is_joined = True
        self.unit = self.running.unit
        self.dispatcher = Dispatcher(bus.keys, [self.running])
        self.unit.start(T0, T0)
        await self.save()

    async def _lease(self, role: str) -> LeaseToken:
        token = await self.bus.lease_acquire(role, "w1", await self.bus.lease_view(role), at_least_epoch=1)
        assert token is not None
        await self.bus.raise_fence(token)
        return token

    async def save(self) -> None:
        commit = self.unit.commit(T0, force=True)
        assert commit is not None
        content = (commit.number, commit.state, commit.cursors, commit.timers)
        await self.bus.commit_unit(self.worker, UnitCommit("mine/IBM", *content, intents=commit.intents), source="w1")
        self.unit.committed(T0)

    async def quote(self, *bids: float) -> None:
        """Publish quotes in one entry and hand it to the unit."""
        ticks = [quote_tick(IBM.con_id, T0, T0, 1, bid, 1.0, bid + 1, 1.0) for bid in bids]
        stream = self.bus.keys.ticks(self.bus.keys.partition(IBM.con_id))
        await self.bus.publish_ticks(
            self.gateway, [(self.bus.keys.partition(IBM.con_id), pack_ticks(ticks))], source="g"
        )
        (entry,) = await self.bus.read_last(stream, 1)
        self.dispatcher.handle(entry, T0)
        self.unit.advance(entry.stream, entry.entry_id)

    async def kept(self) -> Failure:
        stored = await self.bus.hash_get_all(self.bus.keys.strategy_failures)
        return Failure.unpack(list(stored.values())[-1])

    def edit(self, before: str, after: str) -> None:
        assert before in CODE
        self.code.write_text(self.code.read_text().replace(before, after))
        forget_imports()


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.open()
    return world


async def test_what_raised_raises_again_from_the_last_commit_and_stops_where_a_person_looks(world: World) -> None:
    await world.quote(10.0)
    await world.save()
    await world.quote(11.0)
    await world.quote(12.0, 13.0, 14.0)
    await world.failures.keep_new(world.running)
    failure = await world.kept()
    assert failure.handler == "on_quote" and failure.where.endswith("mine.py:16") and len(failure.entries) == 2
    again = rerun(failure)
    assert again.raised == "ZeroDivisionError: division by zero" and "mine.py" in again.trace
    assert again.calls == 4 and again.call == 3 and again.intents == []

    looked: list[Any] = []

    def debugger(handler: Any, quote: Any) -> None:
        looked.append((quote.bid, handler.__self__.state.seen))
        handler(quote)

    assert rerun(failure, debugger).raised == again.raised
    assert looked == [(13.0, 3)]  # one in the saved state, 11 and 12 since then


async def test_mended_code_shows_that_it_is_mended_and_what_it_would_order(world: World) -> None:
    await world.quote(12.0, 13.0)
    await world.failures.keep_new(world.running)
    failure = Failure.unpack((await world.kept()).pack())
    world.edit("number = 1 / (self.state.seen - self.state.seen)", "pass")
    mended = rerun(failure)
    assert mended.raised == "" and [intent.reason for intent in mended.intents] == ["quote 2"]
    assert await world.bus.read_range(world.bus.keys.intents) == []
    world.edit("class Mine", "class Other")
    with pytest.raises(BadInput, match="no strategy class 'Mine' any more"):
        rerun(failure)


async def test_a_timer_that_raised_is_run_again_at_its_time(world: World) -> None:
    await world.quote(10.0)
    world.unit.tick(T0 + 3601 * 10**9)
    await world.failures.keep_new(world.running)
    failure = await world.kept()
    assert failure.handler == "on_timer" and failure.event_id.startswith("at-")
    assert rerun(failure).raised == "KeyError: 'nothing to look at'"


async def test_each_failure_is_kept_once_and_only_the_last_ten(world: World) -> None:
    for _ in range(13):
        await world.quote(13.0)
        await world.failures.keep_new(world.running)
        await world.failures.keep_new(world.running)
        world.unit.resume()
    stored = await world.bus.hash_get_all(world.bus.keys.strategy_failures)
    assert len(stored) == 10
    with pytest.raises(DecodeError, match="no kept failure"):
        Failure.unpack(b"something else")
