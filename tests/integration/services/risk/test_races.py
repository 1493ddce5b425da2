"""Eight strategy processes race for the last slice of a limit, round after round; a burst loses nothing.

`CQ_RACE_ROUNDS=1000` runs the number of rounds that is promised; without it a few, for every run of the tests.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from shared.clock import SYSTEM_CLOCK
from shared.messages.codec import encode_body
from shared.messages.market import pack_ticks, quote_tick
from shared.messages.orders import Command, Decision
from tests.risk_desk import ACCOUNT, info, number_id
from tests.risk_market import Market, start
from tests.support import ROOT, RedisServer, Spawner, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(1800)]
ROUNDS = int(os.environ.get("CQ_RACE_ROUNDS", "15"))
RACERS, EACH, QUANTITY, LIMIT = 8, 1, 30, 100
FREE = (
    'open_orders_max = "unlimited"\nopen_orders_side_max = "unlimited"\nstrategy_rate_burst = "unlimited"\n'
    'account_rate_burst = "unlimited"\nmessages_per_s_max = "unlimited"\n'
    'data_age_max_s = "unlimited"\nexposure_gross_max = "unlimited"\n'
    'exposure_net_max = "unlimited"\nbuying_power_share = "unlimited"\nturnover_day_max = "unlimited"\n'
)
RACER = """
import asyncio, sys, time
import redis
from shared.bus.keys import Keys
from shared.bus.redis_client import open_bus
from shared.clock import SYSTEM_CLOCK
from shared.messages.orders import Intent, OrderLeg

async def main(url, deployment, racer, rounds, racers, each, quantity, incarnation, account):
    bus, line = open_bus(url, Keys(deployment), client_name="racer"), redis.Redis.from_url(url)
    for number in range(1, rounds + 1):
        line.incr(f"line:{number}")
        while int(line.get(f"line:{number}") or 0) < racers:
            time.sleep(0.0005)  # all stand at the line
        for shot in range(each):
            now = SYSTEM_CLOCK.wall_ns()
            leg = OrderLeg(side="BUY", quantity=quantity, order_type="LMT", limit_price="100.00")
            intent = Intent(intent_id=f"{racer:04d}{number:08d}{shot:08d}", legs=(leg,), con_id=number,
                            strategy=f"racer{racer}", account=account, incarnation=incarnation,
                            valid_until_ns=now + 900 * 10**9, ts_init_ns=now)
            await bus.append(bus.keys.intents, intent, source=f"racer:{racer}")
    await bus.close()

numbers = [int(one) for one in sys.argv[3:8]]
asyncio.run(main(sys.argv[1], sys.argv[2], *numbers, *sys.argv[8:]))
"""


async def test_eight_processes_never_exceed_a_limit_and_always_use_it_up(
    market: Market, redis_server: RedisServer, deployment: str, spawn: Spawner, tmp_path: Path
) -> None:
    await market.reconciled()
    for first in range(1, ROUNDS + 1, 200):
        numbers = range(first, min(first + 200, ROUNDS + 1))
        await market.bus.hash_set(market.keys.contracts, {str(n): encode_body(info(n)) for n in numbers})
    limits = tmp_path / "limits.toml"
    limits.write_text(f"[limits]\nposition_quantity_max = {LIMIT}\n{FREE}")
    start(spawn, redis_server, deployment, RISK_LIMITS_FILE=str(limits))
    now_ns = SYSTEM_CLOCK.wall_ns()
    for number in range(1, ROUNDS + 1):
        tick = quote_tick(number, now_ns, now_ns, 1, 99.99, 100, 100.01, 100)
        await market.bus.publish_ticks(
            market.token, [(market.keys.partition(number), pack_ticks([tick]))], source="gateway:g1"
        )
    script = tmp_path / "racer.py"
    script.write_text(RACER)
    racers = [
        await asyncio.create_subprocess_exec(
            sys.executable, str(script), redis_server.url, deployment, str(racer), str(ROUNDS), str(RACERS), str(EACH),
            str(QUANTITY), market.incarnation, ACCOUNT, env={"PYTHONPATH": str(ROOT)},
        )
        for racer in range(RACERS)
    ]  # fmt: skip
    for racer in racers:
        assert await racer.wait() == 0
    total = ROUNDS * RACERS * EACH

    async def all_decided() -> bool:
        return await market.bus.stream_length(market.keys.decisions) >= total

    await eventually(all_decided, 600.0, every_s=0.5)
    taken: defaultdict[int, Decimal] = defaultdict(Decimal)
    for command in await market.messages(market.keys.commands):
        assert isinstance(command, Command)
        taken[command.intent.con_id] += command.intent.legs[0].quantity
    most = LIMIT // QUANTITY * QUANTITY
    assert taken == dict.fromkeys(range(1, ROUNDS + 1), Decimal(most)), "never exceeded, always used up"
    decisions = [one for one in await market.messages(market.keys.decisions) if isinstance(one, Decision)]
    assert len({one.intent_id for one in decisions}) == len(decisions) == total
    assert {one.code for one in decisions} == {"", "RISK_POSITION_MAX"}


@pytest.mark.long
async def test_ten_thousand_intents_in_a_burst_lose_none_and_keep_their_order(
    market: Market, redis_server: RedisServer, deployment: str, spawn: Spawner, tmp_path: Path
) -> None:
    strategies, each = 20, 500
    await market.reconciled()
    limits = tmp_path / "limits.toml"
    limits.write_text(f'[limits]\nposition_quantity_max = "unlimited"\nposition_notional_max = "unlimited"\n{FREE}')
    numbers = {n: f"s{n % strategies}" for n in range(strategies * each)}
    for first in range(0, strategies * each, 500):  # before risk runs: the whole burst waits for it
        wave = [market.intent(n, quantity=1, strategy=numbers[n]) for n in range(first, first + 500)]
        async with asyncio.TaskGroup() as group:
            for intent in wave:
                group.create_task(market.ask(intent))
    asked = [one.intent_id for one in await market.messages(market.keys.intents)]
    assert len(asked) == strategies * each
    start(spawn, redis_server, deployment, RISK_LIMITS_FILE=str(limits))

    async def all_decided() -> bool:
        return await market.bus.stream_length(market.keys.decisions) >= strategies * each

    await eventually(all_decided, 300.0, every_s=0.5)
    decided = [one.intent_id for one in await market.messages(market.keys.decisions)]
    assert sorted(decided) == sorted(number_id(n) for n in numbers)
    for strategy in range(strategies):
        mine = {number_id(n) for n in numbers if n % strategies == strategy}
        assert [one for one in decided if one in mine] == [one for one in asked if one in mine]
    commands = [one.intent.intent_id for one in await market.messages(market.keys.commands)]
    approved = set(commands)
    assert commands == [one for one in decided if one in approved] and commands
