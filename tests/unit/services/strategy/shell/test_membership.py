from __future__ import annotations

from services.strategy.shell.membership import Membership
from shared.bus.keys import Keys, Role
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import LeaseToken
from shared.clock import ManualClock


async def lead(bus: MemoryBus, worker: str) -> LeaseToken:
    role = Role.strategy(worker)
    token = await bus.lease_acquire(role, worker, await bus.lease_view(role), at_least_epoch=1)
    assert token is not None
    await bus.raise_fence(token)
    return token


async def two() -> tuple[MemoryBus, ManualClock, Membership, LeaseToken, LeaseToken]:
    bus, clock = MemoryBus(MemoryServer(), Keys("x")), ManualClock()
    a, b = await lead(bus, "a"), await lead(bus, "b")
    ours, others = Membership(bus, "a", 1.0, clock, ["s/u"]), Membership(bus, "b", 1.0, clock, ["s/u"])
    await ours.join()
    await others.join()
    await ours.observe()
    return bus, clock, ours, a, b


async def test_a_worker_that_stops_renewing_is_gone_after_a_lease_time_and_its_units_are_free() -> None:
    bus, clock, ours, a, b = await two()
    assert ours.live == ["a", "b"]
    assert await bus.take_unit(b, "s/u", seen=await bus.load_unit("s/u"))
    assert not await ours.may_take(await bus.load_unit("s/u"), a)
    for _ in range(5):
        clock.advance(0.25)
        await bus.lease_renew(a)
        await ours.observe()
    assert ours.live == ["a"] and ours.is_mine("s/u")
    assert await ours.may_take(await bus.load_unit("s/u"), a)


async def test_a_worker_that_resigned_and_left_the_list_is_gone_at_once() -> None:
    bus, _, ours, _, b = await two()
    await bus.hash_delete(bus.keys.strategy_workers, ["b"])
    await bus.lease_release(b)
    await ours.observe()
    assert ours.live == ["a"]


async def test_an_owner_never_seen_before_is_watched_first() -> None:
    bus, _, ours, a, _ = await two()
    c = await lead(bus, "c")
    assert await bus.take_unit(c, "s/u", seen=await bus.load_unit("s/u"))
    assert not await ours.may_take(await bus.load_unit("s/u"), a)


async def test_who_is_paused_is_read_from_the_hash() -> None:
    bus, _, ours, _, _ = await two()
    await bus.hash_set(bus.keys.paused, {"s": "lunch"})
    await ours.observe()
    assert ours.paused == {"s": "lunch"}


async def test_a_pinned_unit_moves_and_a_wish_to_reload_is_seen() -> None:
    bus, _, ours, _, _ = await two()
    assert ours.reload_wish == ""
    await bus.hash_set(bus.keys.strategy_directives, {"pin:s/u": "b", "reload": "now"})
    await ours.observe()
    assert not ours.is_mine("s/u") and ours.reload_wish == "now"
    await bus.hash_set(bus.keys.strategy_directives, {"pin:s/u": "a"})
    await ours.observe()
    assert ours.is_mine("s/u")
    ours.set_units(["s/v"])
    assert not ours.is_mine("s/u")
