"""The real service as a process on a real server: bars survive its death, each exactly once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from shared.bus.keys import Keys
from shared.bus.ports import LeaseToken
from shared.bus.redis_client import RedisBus, open_bus
from shared.messages import decode_fields
from shared.messages.account import PositionReport
from shared.messages.codec import encode_body
from shared.messages.market import Bar, ContractInfo, SubscriptionRequest, Tick, pack_ticks, quote_tick, trade_tick
from tests.support import Spawner, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process]
S = 1_000_000_000
APPLE, SPY = 265598, 756733


@pytest.fixture
async def bus(redis_url: str, deployment: str) -> AsyncIterator[RedisBus]:
    bus = open_bus(redis_url, Keys(deployment, 4))
    yield bus
    await bus.close()


@pytest.fixture
async def gateway(bus: RedisBus) -> LeaseToken:
    await bus.load_functions()
    token = await bus.lease_acquire("gateway", "gw", await bus.lease_view("gateway"), at_least_epoch=1)
    assert token is not None
    await bus.raise_fence(token)
    for con_id, symbol in ((APPLE, "AAPL"), (SPY, "SPY")):
        info = ContractInfo(con_id=con_id, name=symbol, symbol=symbol, sec_type="STK", exchange="SMART", currency="USD")
        await bus.hash_set(bus.keys.contracts, {str(con_id): encode_body(info)})
    return token


def environment(redis_url: str, deployment: str, **more: str) -> dict[str, str]:
    return {
        "CQ_MODE": "sim",
        "CQ_DEPLOYMENT": deployment,
        "REDIS_URL": redis_url,
        "CQ_LEASE_TTL_S": "0.5",
        "MARKETDATA_BARS": "1s,5s",
        **more,
    }


async def send(bus: RedisBus, gateway: LeaseToken, ticks: list[Tick]) -> None:
    parts: dict[int, list[Tick]] = {}
    for tick in ticks:
        parts.setdefault(bus.keys.partition(tick.con_id), []).append(tick)
    await bus.publish_ticks(gateway, [(part, pack_ticks(rows)) for part, rows in parts.items()], source="gateway:gw")


async def bars(bus: RedisBus) -> list[Bar]:
    found = []
    for partition in range(4):
        for entry in await bus.read_range(bus.keys.bars(partition)):
            message = decode_fields(entry.fields).message
            assert isinstance(message, Bar)
            found.append(message)
    return found


async def heartbeat(bus: RedisBus) -> dict[str, Any]:
    for key in await bus.scan(bus.keys.heartbeat_pattern()):
        content: dict[str, Any] = json.loads(await bus.get_text(key) or b"{}")
        if content.get("role") == "leader" and content.get("ready"):
            return content
    return {}


def expected_seconds(trades: list[Tick]) -> dict[tuple[int, int], tuple[Decimal, ...]]:
    groups: dict[tuple[int, int], list[Tick]] = {}
    for trade in trades:
        groups.setdefault((trade.con_id, trade.ts_event_ns // S * S), []).append(trade)
    return {
        key: tuple(
            Decimal(str(number))
            for number in (
                rows[0].a,
                max(row.a for row in rows),
                min(row.a for row in rows),
                rows[-1].a,
                sum(row.b for row in rows),
            )
        )
        for key, rows in groups.items()
    }


async def test_no_bar_is_lost_or_doubled_when_the_service_is_killed(
    bus: RedisBus, gateway: LeaseToken, redis_url: str, deployment: str, spawn: Spawner
) -> None:
    env = environment(redis_url, deployment)
    service = spawn("services.marketdata", env=env)
    await eventually(lambda: heartbeat(bus), 20)
    sent: list[Tick] = []
    began = time.monotonic()
    number = 0
    was_killed = False
    while time.monotonic() - began < 6.5:
        number += 1
        now_ns = time.time_ns()
        price = 100 + (number * 7 % 50) / 100
        ticks = [trade_tick(con_id, now_ns, now_ns, 1, price, 1 + number % 3) for con_id in (APPLE, SPY)]
        sent += ticks
        await send(bus, gateway, ticks)
        if not was_killed and time.monotonic() - began > 2.3:
            service.kill()
            spawn("services.marketdata", env=env)
            was_killed = True
        await asyncio.sleep(0.05)
    expected = expected_seconds(sent)

    async def all_there() -> bool:
        latest = {(bar.con_id, bar.ts_open_ns): bar for bar in await bars(bus) if bar.interval == "1s"}
        assert latest.keys() == expected.keys()
        for key, bar in latest.items():
            assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == expected[key]
        return True

    await eventually(all_there, 15)
    first_issues = [bar.envelope_id() for bar in await bars(bus) if not bar.is_revised]
    assert len(first_issues) == len(set(first_issues))
    volume = sum(bar.volume for bar in {b.envelope_id(): b for b in await bars(bus) if b.interval == "5s"}.values())
    assert volume > 0
    assert await bus.read_last(bus.keys.dead_letter, 10) == []


async def test_last_prices_wants_and_a_batch_that_is_none(
    bus: RedisBus, gateway: LeaseToken, redis_url: str, deployment: str, spawn: Spawner
) -> None:
    env = environment(redis_url, deployment, MARKETDATA_CONTRACTS="#4815747", MARKETDATA_STALE_S="0.6")
    position = PositionReport(account="DUSIM0001", con_id=SPY, position=Decimal(5))
    await bus.hash_set(bus.keys.positions, {str(SPY): encode_body(position)})
    await bus.hash_set(bus.keys.strategies, {"momentum/a": json.dumps({"contracts": [APPLE]}), "broken/b": "no json"})
    spawn("services.marketdata", env=env)

    async def wanted() -> tuple[int, ...]:
        entries = await bus.read_last(bus.keys.subscriptions, 1)
        message = decode_fields(entries[0].fields).message if entries else None
        return message.con_ids if isinstance(message, SubscriptionRequest) else ()

    async def all_wanted() -> bool:
        return await wanted() == (APPLE, SPY, 4815747)

    await eventually(all_wanted, 20)
    with_garbage = [(bus.keys.partition(APPLE), b"x" * 63)]
    await bus.publish_ticks(gateway, with_garbage, source="gateway:gw")
    now_ns = time.time_ns()
    await send(
        bus,
        gateway,
        [
            quote_tick(APPLE, now_ns, now_ns, 3, 187.2, 100, float("nan"), 0),
            trade_tick(APPLE, now_ns, now_ns, 3, 187.25, 7),
        ],
    )

    async def last() -> dict[str, bytes]:
        return await bus.hash_get_all(bus.keys.last(APPLE))

    found = await eventually(last, 10)
    shown = {
        name: found[name].decode() for name in ("symbol", "bid", "bid_size", "ask", "last", "last_size", "quality")
    }
    assert shown == {
        "symbol": "AAPL",
        "bid": "187.2",
        "bid_size": "100",
        "ask": "",
        "last": "187.25",
        "last_size": "7",
        "quality": "DELAYED",
    }
    assert int(found["ts_ns"]) == now_ns
    assert len(await bus.read_last(bus.keys.dead_letter, 10)) == 1

    async def apple_is_silent() -> bool:
        return "AAPL" in (await heartbeat(bus)).get("silent", [])

    await eventually(apple_is_silent, 10)
    await bus.hash_delete(bus.keys.strategies, ["momentum/a"])

    async def apple_is_gone() -> bool:
        return await wanted() == (SPY, 4815747)

    await eventually(apple_is_gone, 10)


async def test_a_standby_takes_over(
    bus: RedisBus, gateway: LeaseToken, redis_url: str, deployment: str, spawn: Spawner
) -> None:
    first = spawn("services.marketdata", env=environment(redis_url, deployment, CQ_INSTANCE="one"))
    leader = await eventually(lambda: heartbeat(bus), 20)
    spawn("services.marketdata", env=environment(redis_url, deployment, CQ_INSTANCE="two"))
    first.kill()

    async def other_leads() -> dict[str, Any]:
        content = await heartbeat(bus)
        return content if content.get("instance") == "two" else {}

    successor = await eventually(other_leads, 20)
    assert successor["epoch"] > leader["epoch"]
    now_ns = time.time_ns()
    await send(bus, gateway, [trade_tick(APPLE, now_ns, now_ns, 1, 10.0, 1)])
    await eventually(lambda: bars(bus), 10)


async def test_bars_across_a_change_of_the_leading_gateway_are_incomplete(
    bus: RedisBus, gateway: LeaseToken, redis_url: str, deployment: str, spawn: Spawner
) -> None:
    spawn("services.marketdata", env=environment(redis_url, deployment, MARKETDATA_BARS="1s"))
    await eventually(lambda: heartbeat(bus), 20)

    async def one_trade(token: LeaseToken) -> None:
        now_ns = time.time_ns()
        await send(bus, token, [trade_tick(con_id, now_ns, now_ns, 1, 10.0, 1) for con_id in (APPLE, SPY)])

    async def at_second(fraction: float) -> None:
        await asyncio.sleep((fraction - time.time() % 1) % 1)

    await at_second(0.1)
    await one_trade(gateway)  # the first second of a contract is never known whole
    for _ in range(2):
        await at_second(0.1)
        await one_trade(gateway)
    successor = await bus.lease_acquire("gateway", "gw2", await bus.lease_view("gateway"), at_least_epoch=1)
    assert successor is not None
    await bus.raise_fence(successor)
    for _ in range(2):
        await at_second(0.1)
        await one_trade(successor)

    async def five() -> list[bool]:
        found = [bar.is_complete for bar in await bars(bus) if bar.con_id == APPLE]
        return found if len(found) == 5 else []

    complete = await eventually(five, 10)
    # the third closed right around the change: either is true of it
    assert [complete[0], complete[1], complete[3], complete[4]] == [False, True, False, True]
