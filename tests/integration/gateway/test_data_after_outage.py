"""After an outage kept market data go on (1102), what stays silent is asked for anew; lost ones all are (1101)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from services.gateway.shell.feed import LISTEN_S
from shared.messages.control import BrokerStatus
from shared.messages.market import Tick, TickKind, unpack_ticks
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(90)]
AAPL, MSFT = 265598, 272093


async def ticks(desk: Any, con_id: int) -> list[Tick]:
    keys = desk.bus.keys
    entries = await desk.bus.read_range(keys.ticks(keys.partition(con_id)))
    return [tick for entry in entries for tick in unpack_ticks(entry.fields[b"body"]) if tick.con_id == con_id]


async def begun(desk: Any, con_id: int) -> int:
    """Return how many times a contract was subscribed: each begins with a marker."""
    return sum(tick.kind == TickKind.MARKER for tick in await ticks(desk, con_id))


async def flow(desk: Any, *con_ids: int, timeout_s: float) -> None:
    """Wait until more than a snapshot comes of each."""
    before = {con_id: len(await ticks(desk, con_id)) for con_id in con_ids}

    async def all_flow() -> bool:
        return all([len(await ticks(desk, con_id)) > before[con_id] + 10 for con_id in con_ids])

    await eventually(all_flow, timeout_s)


async def until_told(desk: Any, code: int) -> None:
    async def is_told() -> bool:
        found = [each for each in await desk.messages(desk.bus.keys.broker_status) if isinstance(each, BrokerStatus)]
        return any(each.code == code for each in found)

    await eventually(is_told, 10.0)


async def test_kept_subscriptions_go_on_and_one_that_stays_silent_is_asked_for_anew(
    start_gateway: Callable[..., Any], desk: Any
) -> None:
    start_gateway("a", 1)
    await desk.ready_leader()
    await desk.subscribe(AAPL, MSFT)
    await flow(desk, AAPL, MSFT, timeout_s=20.0)
    desk.broker.fault("outage", seconds=1.5, code=1102)
    desk.broker.fault("data_stall", seconds=3600.0, symbol="AAPL", until_asked=True)
    await until_told(desk, 1100)
    await flow(desk, MSFT, timeout_s=5.0)
    assert await begun(desk, MSFT) == await begun(desk, AAPL) == 1, (
        "IB says that it kept them: nothing is asked for yet"
    )
    await flow(desk, AAPL, timeout_s=LISTEN_S + 5.0)
    assert await begun(desk, AAPL) == 2 and await begun(desk, MSFT) == 1


async def test_lost_subscriptions_are_asked_for_anew_at_once(start_gateway: Callable[..., Any], desk: Any) -> None:
    start_gateway("a", 1)
    await desk.ready_leader()
    await desk.subscribe(AAPL, MSFT)
    await flow(desk, AAPL, MSFT, timeout_s=20.0)
    desk.broker.fault("outage", seconds=1.5, code=1101)
    await until_told(desk, 1100)
    began = time.monotonic()
    await flow(desk, AAPL, MSFT, timeout_s=LISTEN_S)
    assert time.monotonic() - began < LISTEN_S / 2, "not by listening for a while"
    assert await begun(desk, AAPL) == await begun(desk, MSFT) == 2
