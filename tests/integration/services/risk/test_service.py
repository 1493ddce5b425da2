"""The real risk service on a real Redis: one decision per intent, races for the last slice of a limit, take-over."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from shared.bus.keys import Role
from shared.errors import OutcomeUnknown, TransientError
from shared.messages.control import Control, ControlAction
from shared.messages.orders import (
    CancelCommand,
    CancelRequest,
    Command,
    Decision,
    Fill,
    OrderEvent,
    OrderState,
    Side,
)
from tests.risk_desk import ACCOUNT, D, leg_of, number_id
from tests.risk_market import CON_ID, Market, start
from tests.support import ROOT, RedisServer, Spawner, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process]


async def test_decides_each_intent_once_and_passes_cancels_before_ready(
    market: Market, redis_server: RedisServer, deployment: str, spawn: Spawner
) -> None:
    start(spawn, redis_server, deployment)
    await market.ask(market.intent(1))
    refused = await market.answer(1)
    assert refused.code == "RISK_NOT_READY" and not refused.approved

    cancel = CancelRequest(cancel_id="c1", intent_id=number_id(77), account=ACCOUNT)
    await market.bus.append(market.keys.cancels, cancel, source="test")
    passed = await eventually(lambda: market.messages(market.keys.cancel_commands))
    assert isinstance(passed[0], CancelCommand) and passed[0].cancel == cancel

    await market.reconciled()
    await market.ask(market.intent(2))
    approved = await market.answer(2)
    assert approved.approved, approved
    await market.ask(market.intent(2))  # its author did not see the answer and asks again
    await market.ask(market.intent(3, quantity=100_000))
    too_large = await market.answer(3)
    assert too_large.code == "RISK_ORDER_QUANTITY_MAX"
    assert {result.code for result in too_large.failed} >= {"RISK_ORDER_NOTIONAL_MAX", "RISK_POSITION_MAX"}

    commands = await market.messages(market.keys.commands)
    assert [command.intent.intent_id for command in commands if isinstance(command, Command)] == [number_id(2)]
    decisions = [message.intent_id for message in await market.messages(market.keys.decisions)]
    assert decisions == [number_id(1), number_id(2), number_id(3)]


async def test_unreadable_intents_are_answered_and_dead_lettered_and_stop_nothing(
    market: Market, redis_server: RedisServer, deployment: str, spawn: Spawner
) -> None:
    await market.reconciled()
    with redis_server.client() as client:
        client.xadd(market.keys.intents, {"type": "intent", "id": number_id(5), "body": b"\xff\xffnonsense"})
        client.xadd(market.keys.intents, {"what": "ever"})
        client.xadd(market.keys.cancels, {"type": "cancel", "id": "x", "body": b"\xc1"})
    await market.ask(market.intent(6))
    start(spawn, redis_server, deployment)
    assert (await market.answer(6)).approved
    assert (await market.answer(5)).code == "RISK_MALFORMED"
    await eventually(lambda: _length(market, market.keys.dead_letter, 3))


async def _length(market: Market, stream: str, length: int) -> bool:
    return await market.bus.stream_length(stream) == length


async def test_halt_refuses_entries_and_lets_a_position_be_reduced(
    market: Market, redis_server: RedisServer, deployment: str, spawn: Spawner
) -> None:
    await market.reconciled()
    fill = Fill(
        exec_id="a.01", exec_stem="a", intent_id=number_id(50), strategy="s", account=ACCOUNT, con_id=CON_ID,
        side=Side.BUY, quantity=D(100), price=D(100),
    )  # fmt: skip
    await market.publish(market.keys.fills, fill)
    start(spawn, redis_server, deployment)
    halt = Control(control_id="h1", action=ControlAction.HALT, who="test", reason="drill")
    await market.bus.append(market.keys.control, halt, source="test")
    await market.ask(market.intent(1, "SELL", 100))
    assert (await market.answer(1)).approved
    await market.ask(market.intent(2, "SELL", 1))
    refused = await market.answer(2)
    assert refused.code == "RISK_HALTED" and "drill" in refused.text


async def test_a_killed_leader_is_followed_by_its_standby_which_forgets_nothing(
    market: Market, redis_server: RedisServer, deployment: str, spawn: Spawner
) -> None:
    await market.reconciled()
    limits = {"MAX_POSITION_SIZE": "100"}
    first = start(spawn, redis_server, deployment, "r1", **limits)
    await market.ask(market.intent(1, quantity=60))
    assert (await market.answer(1)).approved
    start(spawn, redis_server, deployment, "r2", **limits)
    first.kill()
    await market.ask(market.intent(2, quantity=60))  # would be 120 with the reservation of the first leader
    second = await market.answer(2, 20.0)
    assert second.code == "RISK_POSITION_MAX", second
    await market.ask(market.intent(3, quantity=40))
    assert (await market.answer(3)).approved
    decided = [message.intent_id for message in await market.messages(market.keys.decisions)]
    assert sorted(decided) == [number_id(1), number_id(2), number_id(3)]


RACER = """
import asyncio, sys
from shared.bus.keys import Keys
from shared.bus.redis_client import open_bus
from shared.clock import SYSTEM_CLOCK
from shared.messages.orders import Intent, OrderLeg

async def main(url, deployment, con_id, first, count, incarnation, account):
    bus = open_bus(url, Keys(deployment), client_name="racer")
    for number in range(first, first + count):
        now = SYSTEM_CLOCK.wall_ns()
        leg = OrderLeg(side="BUY", quantity=3, order_type="LMT", limit_price="100.00")
        intent = Intent(intent_id=f"{number:020d}", legs=(leg,), con_id=con_id, strategy=f"s{first}", account=account,
                        incarnation=incarnation, valid_until_ns=now + 60 * 10**9, ts_init_ns=now)
        await bus.append(bus.keys.intents, intent, source=f"racer:{first}")
    await bus.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), *sys.argv[6:]))
"""


@pytest.mark.slow
async def test_eight_processes_race_for_the_last_slice_of_a_limit(
    market: Market, redis_server: RedisServer, deployment: str, spawn: Spawner, tmp_path: Path
) -> None:
    await market.reconciled()
    limits = tmp_path / "limits.toml"
    limits.write_text(
        '[limits]\nposition_quantity_max = 100\nopen_orders_side_max = "unlimited"\n'
        'strategy_rate_burst = "unlimited"\naccount_rate_burst = "unlimited"\nmessages_per_s_max = "unlimited"\n'
    )
    start(spawn, redis_server, deployment, RISK_LIMITS_FILE=str(limits))
    script = tmp_path / "racer.py"
    script.write_text(RACER)
    each = 125
    racers = [
        await asyncio.create_subprocess_exec(
            sys.executable, str(script), redis_server.url, deployment, str(CON_ID), str(1000 * (n + 1)), str(each),
            market.incarnation, ACCOUNT, env={"PYTHONPATH": str(ROOT)},
        )
        for n in range(8)
    ]  # fmt: skip
    for racer in racers:
        assert await racer.wait() == 0

    async def all_decided() -> bool:
        return await market.bus.stream_length(market.keys.decisions) == 8 * each

    await eventually(all_decided, 60.0)
    commands = [message for message in await market.messages(market.keys.commands) if isinstance(message, Command)]
    total = sum((command.intent.legs[0].quantity for command in commands), Decimal(0))
    assert total == 99, "never exceeded, always used up: 33 orders of 3 fit into 100"
    decisions = [message for message in await market.messages(market.keys.decisions) if isinstance(message, Decision)]
    assert len({decision.intent_id for decision in decisions}) == 8 * each


async def test_a_broken_limits_file_lets_only_reductions_pass(
    market: Market, redis_server: RedisServer, deployment: str, spawn: Spawner, tmp_path: Path
) -> None:
    await market.reconciled()
    working = OrderEvent(
        intent_id=number_id(50), state=OrderState.FILLED, strategy="s", account=ACCOUNT, con_id=CON_ID, side=Side.SELL,
        quantity=D(30), filled=D(30), order_type="MKT",
    )  # fmt: skip
    await market.publish(market.keys.orders, working)
    limits = tmp_path / "limits.toml"
    limits.write_text("[limits]\norder_quantity_max = -3\n")
    start(spawn, redis_server, deployment, RISK_LIMITS_FILE=str(limits))
    await market.ask(market.intent(1, "SELL", 10))
    refused = await market.answer(1)
    assert refused.code == "RISK_LIMITS_BROKEN" and "line 2" in refused.text
    await market.ask(market.intent(2, legs=(leg_of("BUY", 30, None),)))
    assert (await market.answer(2)).approved


async def test_a_restarted_redis_is_another_incarnation_and_nothing_passes_before_reconciliation(
    market: Market, redis_server: RedisServer, deployment: str, spawn: Spawner
) -> None:
    await market.reconciled()
    start(spawn, redis_server, deployment, MAX_POSITION_SIZE="100")
    await market.ask(market.intent(1, quantity=60))
    assert (await market.answer(1)).approved
    old = market.incarnation
    redis_server.kill()
    redis_server.restart()

    async def reopened() -> bool:
        try:
            seen = await market.bus.lease_view(Role.GATEWAY)
            token = await market.bus.lease_acquire(Role.GATEWAY, "g1", seen, at_least_epoch=seen.epoch)
        except (TransientError, OutcomeUnknown):
            return False
        assert token is not None
        market.token, market.incarnation = token, token.incarnation
        await market.bus.raise_fence(token)
        return True

    await eventually(reopened)
    assert market.incarnation != old
    await market.price(100.0)
    await market.ask(market.intent(2, quantity=10))
    assert (await market.answer(2, 20.0)).code == "RISK_NOT_READY"
    await market.reconciled()
    await market.ask(market.intent(3, quantity=10, incarnation=old))
    assert (await market.answer(3)).code == "RISK_INCARNATION"
    await market.ask(market.intent(4, quantity=41))
    assert (await market.answer(4)).code == "RISK_POSITION_MAX", "the reservation of the first life still counts"
    await market.ask(market.intent(5, quantity=40))
    assert (await market.answer(5)).approved
