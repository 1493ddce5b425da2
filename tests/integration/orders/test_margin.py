"""The broker's word on margin, whole: risk asks through the gateway, the exchange reckons, and nobody else waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.messages.orders import OrderState, Side
from tests.integration.gateway.conftest import market
from tests.integration.orders.conftest import answer
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(150)]
AAPL = 265598


async def test_an_entry_is_decided_by_what_the_broker_reckons(
    desk: Any, start_gateway: Callable[..., Any], start_risk: Callable[..., Any], tmp_path: Path
) -> None:  # fmt: skip
    start_gateway("a", 1, CQ_LEASE_TTL_S="6.0")
    await desk.ready_leader(40.0)
    limits = tmp_path / "limits.toml"
    limits.write_text("rules = 5\n[limits]\nwhat_if_margin_percent = 1\nwhat_if_wait_s = 8\n")
    start_risk(CQ_LEASE_TTL_S="6.0", RISK_LIMITS_FILE=str(limits))
    await desk.watch(AAPL)

    def asked() -> int:
        return int(desk.broker.truth()["counts"].get("what_if_received", 0))

    async def bought() -> Any:
        """Until risk leads and knows prices and the account it refuses, and asks nobody."""
        intent = await desk.intent(market(Side.BUY, 10))
        decision = await answer(desk, intent)
        return intent if decision.approved else None

    intent = await eventually(bought, 60.0)
    await desk.until(intent, OrderState.FILLED, timeout_s=20.0)
    before = await asyncio.to_thread(asked)
    assert before >= 1

    refused = await answer(desk, await desk.intent(market(Side.BUY, 300)))
    assert refused.code == "RISK_MARGIN_AFTER" and "the broker reckons" in refused.text, refused
    assert await asyncio.to_thread(asked) == before + 1
    closing = await answer(desk, await desk.intent(market(Side.SELL, 10)))
    assert closing.approved and closing.is_reducing
    assert await asyncio.to_thread(asked) == before + 1, "what only reduces is not asked about"
