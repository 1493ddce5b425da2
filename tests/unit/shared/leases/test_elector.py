"""Elections on the bus in memory: the same elector, no server."""

from __future__ import annotations

import asyncio
import time

import pytest

from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus, MemoryRenewal
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import LeaseToken, LeaseView
from shared.errors import BusUnavailable, ConfigError, OutcomeUnknown
from shared.leases.core import LeaseTiming
from shared.leases.elector import Elector
from tests.support import eventually

TIMING = LeaseTiming.of_ttl(1.0)
"""Long enough for a machine that is busy with other tests."""


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer()


def elector(server: MemoryServer, owner: str, **options: object) -> Elector:
    return Elector(MemoryBus(server, Keys("test")), "risk", owner, TIMING, **options)  # type: ignore[arg-type]


async def test_a_leader_renews_and_a_candidate_waits_until_it_resigns(server: MemoryServer) -> None:
    first, second = elector(server, "a"), elector(server, "b")
    token = await first.win()
    waiting = asyncio.create_task(second.win())
    await asyncio.sleep(2 * TIMING.ttl_s)
    assert first.has_lease() and first.token == token and not waiting.done()
    await first.resign("over")
    assert not first.has_lease()
    assert await first.lost() == "over"
    assert (await asyncio.wait_for(waiting, 10)).epoch > token.epoch
    await second.resign("over")


async def test_a_server_that_is_away_ends_leadership_and_brings_it_back(server: MemoryServer) -> None:
    leader = elector(server, "a")
    first = await leader.win()
    server.is_away = True
    assert await asyncio.wait_for(leader.lost(), 10)
    assert not leader.has_lease()
    again = asyncio.create_task(leader.win())
    await asyncio.sleep(TIMING.ttl_s)
    assert not again.done()
    server.is_away = False
    assert (await asyncio.wait_for(again, 10)).epoch > first.epoch
    await leader.resign("over")


async def test_who_is_not_prepared_leaves_the_lease_to_others_and_watches_it_meanwhile(server: MemoryServer) -> None:
    prepared = {"b": False}
    first, second = elector(server, "a"), elector(server, "b", is_prepared=lambda: prepared["b"])
    waiting = asyncio.create_task(second.win())
    await asyncio.sleep(0.3)
    assert not waiting.done(), "a lease that nobody holds"
    await first.win()
    first._end("it died")  # the lease stands there, and nobody renews it
    await asyncio.sleep(1.5 * TIMING.ttl_s)
    assert not waiting.done()
    prepared["b"] = True
    await asyncio.wait_for(waiting, TIMING.ttl_s / 2)  # a whole lease time has been seen already
    await second.resign("over")


class LateOnce(MemoryBus):
    """A bus of which every other renewal comes to nothing after half a lease time."""

    renewals = 0

    def open_renewal(self, token: LeaseToken, *, limit_s: float) -> MemoryRenewal:
        bus = self

        class Late(MemoryRenewal):
            def renew(self) -> None:
                bus.renewals += 1
                if bus.renewals % 2:
                    time.sleep(limit_s)
                    raise BusUnavailable("no reply")
                super().renew()

        return Late(self, token)


async def test_the_renewal_has_a_thread_of_its_own_and_asks_again_at_once_when_no_reply_comes(
    server: MemoryServer,
) -> None:
    """The main loop is busy for half a lease again and again, and half of all replies are lost: the lease is kept."""
    bus = LateOnce(server, Keys("test"))
    timing = LeaseTiming.of_ttl(2.0)
    leader = Elector(bus, "risk", "a", timing)
    token = await leader.win()
    for _ in range(5):
        time.sleep(timing.ttl_s / 2)  # nothing else of this loop runs meanwhile
        await asyncio.sleep(0.01)
        assert leader.token == token
    assert bus.renewals >= 4
    await leader.resign("over")


async def test_another_incarnation_ends_leadership(server: MemoryServer) -> None:
    leader = elector(server, "a")
    await leader.win()
    server.restart()
    await eventually(lambda: not leader.has_lease())
    assert "incarnation" in leader.loss_reason


async def test_the_epoch_exceeds_the_guards(server: MemoryServer) -> None:
    leader = elector(server, "a", at_least_epoch=lambda: 5 * 10**15)
    assert (await leader.win()).epoch == 5 * 10**15 + 1
    await leader.resign("over")


def test_times_that_cannot_work_are_refused_at_once(server: MemoryServer) -> None:
    with pytest.raises(ConfigError):
        Elector(MemoryBus(server, Keys("test")), "risk", "a", LeaseTiming(1.0, 0.9, 0.1))


class SlowAnswer(MemoryBus):
    """A bus whose first answer to an acquisition comes when the lease has run out already, or not at all."""

    is_lost = False
    acquisitions = 0

    async def lease_acquire(self, role: str, owner: str, seen: LeaseView, *, at_least_epoch: int) -> LeaseToken | None:
        self.acquisitions += 1
        token = await super().lease_acquire(role, owner, seen, at_least_epoch=at_least_epoch)
        if self.acquisitions > 1:
            return token
        if self.is_lost:
            raise OutcomeUnknown("the reply was lost")
        await asyncio.sleep(TIMING.ttl_s)
        return token


@pytest.mark.parametrize("is_lost", [True, False])
async def test_a_lease_whose_answer_was_of_no_use_is_taken_again_at_once(server: MemoryServer, is_lost: bool) -> None:
    # Under load this doubled the time without a leader: the own name was waited out like another's.
    bus = SlowAnswer(server, Keys("test"))
    bus.is_lost = is_lost
    leader = Elector(bus, "risk", "a", TIMING)
    began = time.monotonic()
    token = await asyncio.wait_for(leader.win(), 10)
    late_s = 0 if is_lost else TIMING.ttl_s
    assert time.monotonic() - began < late_s + TIMING.ttl_s / 2
    assert bus.acquisitions == 2 and leader.has_lease() and leader.token == token
    await leader.resign("over")


async def test_a_lease_of_our_name_that_we_did_not_ask_for_is_waited_out(server: MemoryServer) -> None:
    other = elector(server, "a")
    await other.win()
    twin = elector(server, "a")
    waiting = asyncio.create_task(twin.win())
    await asyncio.sleep(2 * TIMING.ttl_s)
    assert other.has_lease() and not waiting.done()
    waiting.cancel()
    await other.resign("over")
