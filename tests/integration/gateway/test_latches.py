"""A halt of one strategy or contract at real gateway and guard: refused, cleaned, kept over a kill and a loss (P6)."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from typing import Any

import pytest

from shared.clock import random_token
from shared.messages.control import Control, ControlAction
from shared.messages.orders import OrderState, Side
from tests.integration.gateway.conftest import AAPL
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(150)]


async def test_it_holds_at_claim_and_guard_through_a_kill_and_a_loss_until_its_own_resume(
    start_gateway: Any, start_guard: Any, desk: Any, legs: Any
) -> None:
    limit, halt_key, contract = legs[0], desk.bus.keys.halt, f"contract:{AAPL}"
    behind = start_guard()
    first = start_gateway("a", 1, CQ_LEASE_TTL_S="4.0", **behind)
    await desk.ready_leader(40.0)

    async def tell(action: ControlAction, scope: str) -> None:
        act = Control(
            ts_init_ns=time.time_ns(), control_id=random_token(12), action=action, who="anna", reason="test",
            scope=scope,
        )  # fmt: skip
        await desk.bus.append(desk.bus.keys.control, act, source="test")

    async def until_latch(scope: str, stage: bytes) -> None:
        async def shown() -> bool:
            return (await desk.bus.hash_get_all(halt_key)).get(f"halt:{scope}", b"").partition(b" ")[0] == stage

        await eventually(shown, 20.0)

    async def refused(**more: Any) -> bool:
        event = await desk.until(await desk.place(limit(Side.BUY, 1, "50"), **more), OrderState.REFUSED)
        return bool(event.code == "GATEWAY_SCOPE_HALTED")

    def contracts_at_guard() -> list[str]:
        with urllib.request.urlopen(behind["GATEWAY_GUARD_HTTP"] + "/halt", timeout=5) as reply:
            return list(json.load(reply)["contracts"])

    risky = await desk.place(limit(Side.BUY, 10, "50"))
    safe = await desk.place(limit(Side.SELL, 10, "900"), is_reducing=True)
    other = await desk.place(limit(Side.BUY, 1, "50"), strategy="other")
    for intent in (risky, safe, other):
        await desk.until(intent, OrderState.WORKING)
    await tell(ControlAction.HALT, "strategy:demo")
    assert await refused(), "it counts from the moment it is in `control`"
    await desk.until(risky, OrderState.CANCELLED)
    await until_latch("strategy:demo", b"holding")
    assert [await desk.state(one) for one in (safe, other)] == [OrderState.WORKING] * 2
    await desk.until(await desk.place(limit(Side.BUY, 1, "50"), strategy="other"), OrderState.WORKING)

    await tell(ControlAction.HALT, contract)
    await until_latch(contract, b"holding")
    assert await asyncio.to_thread(contracts_at_guard) == [str(AAPL)]
    await desk.until(other, OrderState.CANCELLED)

    first.kill()
    await desk.bus.hash_delete(halt_key, list(await desk.bus.hash_get_all(halt_key)))
    await desk.bus.hash_set(halt_key, {"stage": "none", "cursor": await desk.bus.last_id(desk.bus.keys.control)})
    start_gateway("b", 2, CQ_LEASE_TTL_S="4.0", **behind)
    await desk.ready_leader(40.0, not_="a")
    await until_latch(contract, b"holding")
    assert await refused(strategy="other") and await refused()
    assert await desk.state(safe) is OrderState.WORKING

    await tell(ControlAction.RESUME, contract)
    await until_latch(contract, b"")
    assert await asyncio.to_thread(contracts_at_guard) == []
    await desk.until(await desk.place(limit(Side.BUY, 1, "50"), strategy="other"), OrderState.WORKING)
    assert await refused()
    await tell(ControlAction.RESUME, "strategy:demo")
    await until_latch("strategy:demo", b"")
    await desk.until(await desk.place(limit(Side.BUY, 1, "50")), OrderState.WORKING)
