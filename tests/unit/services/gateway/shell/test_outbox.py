from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from services.gateway.shell.outbox import Outbox
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import LeaseToken
from shared.errors import Fenced
from shared.messages import decode_fields
from shared.messages.orders import Fill, OrderEvent, OrderState, Side


def event(ref: str, state: OrderState) -> OrderEvent:
    return OrderEvent(
        order_ref=ref, state=state, strategy="demo", account="DU1", con_id=1, side=Side.BUY, quantity=Decimal(1),
        order_type="LMT",
    )  # fmt: skip


@pytest.fixture
async def bus() -> MemoryBus:
    return MemoryBus(MemoryServer(), Keys("sim"))


@pytest.fixture
async def token(bus: MemoryBus) -> LeaseToken:
    taken = await bus.lease_acquire("gateway", "a", await bus.lease_view("gateway"), at_least_epoch=1)
    assert taken is not None
    await bus.raise_fence(taken)
    return taken


async def run_until_flushed(outbox: Outbox, token: LeaseToken) -> None:
    running = asyncio.create_task(outbox.run(token, lambda: True))
    await asyncio.wait_for(outbox.flushed(), 2.0)
    running.cancel()


async def test_events_go_in_order_and_the_hash_holds_what_is_open(bus: MemoryBus, token: LeaseToken) -> None:
    outbox = Outbox(bus, "gateway:a")
    outbox.open()
    outbox.put_orders([event("one", OrderState.WORKING), event("two", OrderState.WORKING)])
    outbox.put_orders([event("one", OrderState.FILLED)])
    await run_until_flushed(outbox, token)
    entries = await bus.read_range(bus.keys.orders)
    seen = [decode_fields(entry.fields).message for entry in entries]
    assert [(each.order_ref, each.state) for each in seen if isinstance(each, OrderEvent)] == [
        ("one", OrderState.WORKING), ("two", OrderState.WORKING), ("one", OrderState.FILLED),
    ]  # fmt: skip
    assert set(await bus.hash_get_all(bus.keys.open_orders)) == {"two"}
    assert outbox.waiting == 0


async def test_a_fill_that_is_put_twice_is_published_once(bus: MemoryBus, token: LeaseToken) -> None:
    outbox = Outbox(bus, "gateway:a")
    outbox.open()
    fill = Fill(
        exec_id="e.01", exec_stem="e", strategy="demo", account="DU1", con_id=1, side=Side.BUY, quantity=Decimal(1),
        price=Decimal(2),
    )  # fmt: skip
    outbox.put_fill(fill)
    outbox.put_fill(fill)
    await run_until_flushed(outbox, token)
    assert await bus.stream_length(bus.keys.fills) == 1


async def test_without_the_lease_nothing_is_written(bus: MemoryBus, token: LeaseToken) -> None:
    outbox = Outbox(bus, "gateway:a")
    outbox.open()
    outbox.put_orders([event("one", OrderState.WORKING)])
    with pytest.raises(Fenced):
        await outbox.run(token, lambda: False)
    assert await bus.stream_length(bus.keys.orders) == 0


async def test_another_leader_ends_the_run(bus: MemoryBus, token: LeaseToken) -> None:
    outbox = Outbox(bus, "gateway:a")
    outbox.open()
    await bus.lease_acquire("gateway", "b", await bus.lease_view("gateway"), at_least_epoch=9)
    outbox.put_orders([event("one", OrderState.WORKING)])
    with pytest.raises(Fenced):
        await outbox.run(token, lambda: True)


async def test_a_closed_outbox_takes_nothing_and_a_full_one_gives_up(bus: MemoryBus, token: LeaseToken) -> None:
    outbox = Outbox(bus, "gateway:a", limit=2)
    outbox.put_orders([event("one", OrderState.WORKING)])
    assert outbox.waiting == 0
    outbox.open()
    outbox.put_orders([event("one", OrderState.WORKING), event("two", OrderState.WORKING)])
    with pytest.raises(Fenced):
        await outbox.run(token, lambda: True)
