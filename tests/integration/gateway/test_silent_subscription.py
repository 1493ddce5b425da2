"""One subscription dies without a word while everything else goes on: it is noticed, asked for anew, and comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.messages.market import SubscriptionRequest, TickKind, unpack_ticks
from tests.support import RedisServer, Spawner, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(90)]
AAPL, MSFT = 265598, 272093


async def quotes(desk: Any, con_id: int) -> int:
    """Return how many quotes of a contract are on the bus."""
    keys = desk.bus.keys
    entries = await desk.bus.read_range(keys.ticks(keys.partition(con_id)))
    ticks = (tick for entry in entries for tick in unpack_ticks(entry.fields[b"body"]))
    return sum(tick.con_id == con_id and tick.kind == TickKind.QUOTE for tick in ticks)


async def test_it_comes_back_by_itself_and_the_others_are_left_alone(
    start_gateway: Callable[..., Any], desk: Any, spawn: Spawner, redis_server: RedisServer, deployment: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    gateway = start_gateway("a", 1)
    await desk.ready_leader()
    env = {
        "CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_server.url, "CQ_HTTP_PORT": "0",
        "MARKETDATA_STALE_S": "2.0", "MARKETDATA_CACHE_DIR": str(tmp_path / "history"),
    }  # fmt: skip
    spawn("services.marketdata", env=env, name="marketdata")
    for con_id in (AAPL, MSFT):
        await desk.watch(con_id)

    async def both_flow() -> bool:
        return await quotes(desk, AAPL) > 5 and await quotes(desk, MSFT) > 5

    await eventually(both_flow, 30.0)
    epoch = (await desk.bus.lease_view("gateway")).epoch
    desk.broker.fault("data_stall", seconds=3600.0, symbol="AAPL", until_asked=True)
    before = await quotes(desk, AAPL)

    async def flows_again() -> bool:
        return await quotes(desk, AAPL) > before + 20

    await eventually(flows_again, 30.0)
    requests = [each for each in await desk.messages(desk.bus.keys.subscriptions)]
    renewed = [each.renew for each in requests if isinstance(each, SubscriptionRequest) and each.renew]
    assert renewed and set(renewed) == {(AAPL,)}
    assert (await desk.bus.lease_view("gateway")).epoch == epoch and "data_link.lost" not in gateway.output
