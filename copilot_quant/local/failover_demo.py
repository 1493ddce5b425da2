"""Show a failover to a person: start the system, let orders flow, kill the leader, and draw what everybody saw.

To make it hard, an order of ours rests at the broker at the kill and is filled there while no gateway leads: its fill
must be found out by the successor.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from copilot_quant.desk import Desk, OrderTicket, open_desk
from copilot_quant.local.books import Verdict, fetch_truth, judge
from copilot_quant.local.failover_story import Story, tell
from copilot_quant.local.system import LocalOptions, LocalSystem
from shared.bus.keys import Role
from shared.clock import NS_PER_S, SYSTEM_CLOCK
from shared.errors import BrokerUnavailable, CqError, TimedOut
from shared.messages.base import Message
from shared.messages.codec import decode_fields
from shared.messages.market import ContractInfo
from shared.messages.orders import Side
from shared.settings import BrokerSettings, load_settings

ORDER_EVERY_S = 0.1
FLOW_S = 3.0
AFTER_S = 4.0
START_LIMIT_S = 90.0
TAKEOVER_LIMIT_S = 30.0
SETTLE_LIMIT_S = 30.0
Progress = Callable[[str], None]


@dataclass
class _Scene:
    """What the steps share."""

    system: LocalSystem
    desk: Desk
    http: aiohttp.ClientSession
    contract: ContractInfo
    progress: Progress


async def run_failover_demo(strategies_file: str, progress: Progress, *, keep_files: bool = False) -> Story:
    """Run the demo and return what happened.

    Raises:
        CqError: the system did not come up, nobody took over, or nothing flowed again.
    """
    system = LocalSystem(LocalOptions(strategies_file=strategies_file, keep_files=keep_files), Path.cwd())
    try:
        await system.start(progress)
        os.environ.update({**system.operator_env(), "CQ_ENV_FILE": ""})
        settings = load_settings(BrokerSettings)
        async with open_desk(settings, client_name="cq-demo") as desk, aiohttp.ClientSession() as http:
            await _until("a leading gateway and a warm standby", START_LIMIT_S, lambda: _pair(desk))
            contract = await _until("an answer about AAPL", START_LIMIT_S, lambda: _resolved(desk))
            await _until("prices", START_LIMIT_S, lambda: _has_prices(desk, contract))
            return await _play(_Scene(system, desk, http, contract, progress))
    finally:
        await asyncio.to_thread(system.stop)


async def _play(scene: _Scene) -> Story:
    desk = scene.desk
    resting = await _until("an order that rests", START_LIMIT_S, lambda: _rest(scene))
    try:
        killed, killed_ns, first_tick_ns = await _kill_under_flow(scene, resting)
    except ExceptionGroup as e:  # what broke the flow of orders is the reason
        raise e.exceptions[0] from e
    scene.progress("the strategies stop; comparing with the broker's books")
    verdict = await _settled(scene)
    truth = await fetch_truth(scene.system.simulator_http)
    messages = await _messages(desk)
    return tell(killed, killed_ns, truth, await _ledger(scene), messages, first_tick_ns, verdict)


async def _kill_under_flow(scene: _Scene, resting: int) -> tuple[str, int, int]:
    """Order, kill the leader, fill what rests, wait; return who was killed when, and when the next ticks came."""
    desk = scene.desk
    async with asyncio.TaskGroup() as group:
        flow = group.create_task(_order(scene))
        scene.progress("orders flow; one rests at the broker")
        await SYSTEM_CLOCK.sleep(FLOW_S)
        killed, epoch = await _until("a leading gateway", START_LIMIT_S, lambda: _pair(desk))
        killed_ns = SYSTEM_CLOCK.wall_ns()
        scene.system.supervisor.kill(killed)
        scene.progress(f"SIGKILL to {killed}, which leads")
        await SYSTEM_CLOCK.sleep(0.3)
        await _command(scene, "manual_fill", {"perm_id": resting})
        first_tick_ns = await _until("the successor's ticks", TAKEOVER_LIMIT_S, lambda: _first_tick(desk, epoch))
        await _until("a take-over", TAKEOVER_LIMIT_S, lambda: _pair(desk, newer_than=epoch))
        await SYSTEM_CLOCK.sleep(AFTER_S)
        flow.cancel()
    return killed, killed_ns, first_tick_ns


async def _until(what: str, limit_s: float, look: Callable[[], Any]) -> Any:
    deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(limit_s * NS_PER_S)
    while True:
        found = await look()
        if found:
            return found
        if SYSTEM_CLOCK.monotonic_ns() > deadline_ns:
            raise TimedOut(f"{what} did not show up within {limit_s:g} s: run it with --keep and look at the logs")
        await SYSTEM_CLOCK.sleep(0.05)


async def _resolved(desk: Desk) -> ContractInfo | None:
    try:
        return await desk.resolve("AAPL", limit_s=10.0)
    except CqError:
        return None  # the leader's data session may still be on its way


async def _has_prices(desk: Desk, contract: ContractInfo) -> bool:
    await desk.watch(contract.con_id)
    return bool(await desk.last_price(contract.con_id))


async def _pair(desk: Desk, *, newer_than: int = 0) -> tuple[str, int] | None:
    """Return the READY leader and its epoch, if another gateway could take over (or `newer_than` is given)."""
    view = await desk.bus.lease_view(Role.GATEWAY)
    rows = [row for row in await desk.heartbeats() if row["service"] == "gateway"]
    leads = any(row["instance"] == view.owner and row.get("link") == "READY" for row in rows)
    warm = any(row.get("role") == "standby" and row.get("data_link") == "READY" for row in rows)
    return (view.owner, view.epoch) if leads and view.epoch > newer_than and (warm or newer_than) else None


async def _rest(scene: _Scene) -> int:
    """Let an order rest at the broker, a little below the market; return its permId, 0 while risk knows no price."""
    last = await scene.desk.last_price(scene.contract.con_id)
    price = Decimal(last.get("last") or last.get("bid") or "0")
    ticket = OrderTicket(Side.BUY, Decimal(7), limit_price=round(price * Decimal("0.97"), 2))
    result = await scene.desk.place(scene.contract, ticket)
    if result.state == "rejected" and result.by == "risk":
        return 0
    truth = await fetch_truth(scene.system.simulator_http)
    return next((int(row["perm_id"]) for row in truth["orders"] if result.intent_id in str(row["order_ref"])), 0)


async def _order(scene: _Scene) -> None:
    """Buy a share, sell a share, until cancelled."""
    number = 0
    while True:
        number += 1
        side = Side.BUY if number % 2 else Side.SELL
        await scene.desk.submit(scene.contract, OrderTicket(side, Decimal(1)))
        if number % 100 == 0:
            await scene.desk.watch(scene.contract.con_id)
        await SYSTEM_CLOCK.sleep(ORDER_EVERY_S)


async def _command(scene: _Scene, name: str, parameters: dict[str, Any]) -> None:
    url = f"{scene.system.simulator_http}/commands/{name}"
    async with scene.http.post(url, json=parameters) as reply:
        if reply.status != 200:
            raise BrokerUnavailable(f"the simulator refused {name}: {await reply.text()}")


async def _ledger(scene: _Scene) -> list[dict[str, Any]]:
    async with scene.http.get(f"{scene.system.simulator_http}/truth/ledger") as reply:
        return [json.loads(line) for line in (await reply.text()).splitlines()]


async def _first_tick(desk: Desk, epoch: int) -> int:
    """Return when the first tick of a later epoch was published, 0 while there is none."""
    found = []
    for number in range(desk.keys.tick_partitions):
        for entry in await desk.bus.read_last(desk.keys.ticks(number), 500):
            if int(entry.fields.get(b"epoch", b"0")) > epoch:
                found.append(int(entry.entry_id.partition("-")[0]) * 1_000_000)
                break
    return min(found, default=0)


async def _messages(desk: Desk) -> list[Message]:
    return [
        decode_fields(entry.fields, entry_id=entry.entry_id, stream=stream).message
        for stream in (desk.keys.broker_status, desk.keys.fills)
        for entry in await desk.bus.read_range(stream)
    ]


async def _settled(scene: _Scene) -> Verdict:
    for info in scene.system.supervisor.processes():
        if info.name.startswith("strategy-"):
            await asyncio.to_thread(scene.system.supervisor.stop_process, info.name)
    deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(SETTLE_LIMIT_S * NS_PER_S)
    while True:
        verdict = await judge(scene.desk, scene.system.simulator_http)
        if (verdict.is_clean and verdict.executions) or SYSTEM_CLOCK.monotonic_ns() > deadline_ns:
            return verdict
        await SYSTEM_CLOCK.sleep(0.5)
