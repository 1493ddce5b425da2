"""The three stages of a live deployment, whole: the real risk and gateway, a simulated TWS with a live account (P8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from copilot_quant.desk import Desk, OrderTicket, open_desk
from shared.clock import SYSTEM_CLOCK
from shared.messages.control import ControlAction
from shared.messages.market import ContractInfo
from shared.messages.orders import Side
from shared.preflight import ITEMS, Entry, Result, write_result
from shared.settings import BrokerSettings
from tests.support import RedisServer, SpawnedProcess, Spawner, eventually, free_port

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(180)]

ACCOUNT = "U1234567"
LIMITS = 'profile = "small-paper"\nrules = 2\n[limits]\nmarket_closed = "allow"\nduplicates = "allow"\n'


class Live:
    """A live deployment at a simulated TWS; risk is started and stopped by the test, stage by stage."""

    def __init__(self, spawn: Spawner, env: dict[str, str], desk: Desk, folder: Path) -> None:
        self._spawn, self._env, self.desk, self._folder = spawn, env, desk, folder
        self._risk: SpawnedProcess | None = None
        self.stage = ""
        self.checklist = folder / "preflight.json"
        self.contract: ContractInfo | None = None

    async def begin(self, stage: str, **more: str) -> None:
        """Run risk in a stage."""
        if self._risk is not None:
            self._risk.kill()
        env = {**self._env, "LIVE_STAGE": stage, "RISK_PREFLIGHT_FILE": str(self.checklist), **more}
        name = f"risk-{stage}-{len(more)}-{SYSTEM_CLOCK.monotonic_ns()}"
        self._risk = self._spawn("services.risk", env={**env, "CQ_INSTANCE": name}, name=name)
        self.stage = stage

        async def decides() -> bool:
            rows = await self.desk.heartbeats()
            return any(row["instance"] == name and row.get("deciding") and not row.get("not_ready") for row in rows)

        await eventually(decides, 30.0)

    def check_off(self) -> None:
        """Store a checklist in which everything is in order, as `cq preflight --live` does."""
        now_ns = SYSTEM_CLOCK.wall_ns()
        entries = tuple(Entry(one.key, "ok", "answered" if one.question else "checked", now_ns, "") for one in ITEMS)
        write_result(self.checklist, Result("live", ACCOUNT, now_ns, entries))

    async def order(self, side: Side, quantity: int) -> Any:
        """Place a market order and return what became of it."""
        assert self.contract is not None
        return await self.desk.place(self.contract, OrderTicket(side, Decimal(quantity), strategy="s"))

    async def holds(self, quantity: int) -> bool:
        return sum(row.position for row in await self.desk.positions()) == quantity


@pytest.fixture
async def live(
    spawn: Spawner, redis_server: RedisServer, deployment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Live]:
    port = free_port()
    exchange = {"SIM_ACCOUNTS": ACCOUNT, "SIM_PORT": str(port), "SIM_HTTP_PORT": str(free_port()), "SIM_TICK_RATE": "9"}
    spawn("services.simulator", env=exchange, name="tws").wait_for_output("exchange.opened", 40)
    env = {
        "CQ_MODE": "live", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_server.url, "IB_LIVE_PORT": str(port),
        "IB_LIVE_ACCOUNT": ACCOUNT, "CQ_LEASE_TTL_S": "1.0",
    }  # fmt: skip
    gateway = {"CQ_INSTANCE": "g1", "GATEWAY_STATE_DIR": str(tmp_path / "gateway")}
    spawn("services.gateway", env={**env, **gateway}, name="gateway")
    market = {"CQ_INSTANCE": "m1", "MARKETDATA_CACHE_DIR": str(tmp_path / "history")}
    spawn("services.marketdata", env={**env, **market}, name="marketdata")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    async with open_desk(BrokerSettings(), client_name="test") as desk:
        made = Live(spawn, env, desk, tmp_path)

        async def is_ready() -> bool:
            rows = await desk.heartbeats()
            return any(row["service"] == "gateway" and row.get("link") == "READY" for row in rows)

        await eventually(is_ready, 30.0)
        yield made


async def test_observe_limited_and_armed(live: Live, tmp_path: Path) -> None:
    limits = tmp_path / "limits.toml"
    limits.write_text(LIMITS)
    desk = live.desk
    made = await desk.resolve("AAPL")
    live.contract = made
    await desk.watch(made.con_id)
    await live.begin("observe", RISK_LIMITS_FILE=str(limits))
    refused = await live.order(Side.BUY, 5)
    assert "RISK_HALTED" in str(refused), "a live deployment that never was resumed is halted"

    async def resumed() -> bool:
        return (await desk.halt_status()).get("stage") == "none"

    await desk.control(ControlAction.RESUME, who="test", reason="looked at")
    await eventually(resumed, 10.0)

    await asyncio.sleep(0.5)
    assert (await live.order(Side.BUY, 5)).code == "RISK_NOT_ARMED"

    await live.begin("limited")
    refused = await live.order(Side.BUY, 5)
    assert refused.code == "RISK_PREFLIGHT_MISSING", refused
    assert "RISK_LIMITS_FILE" in refused.text and "cq preflight" in refused.text
    await live.begin("limited", RISK_LIMITS_FILE=str(limits))
    refused = await live.order(Side.BUY, 5)
    assert refused.code == "RISK_PREFLIGHT_MISSING" and "RISK_LIMITS_FILE" not in refused.text
    live.check_off()

    async def opened() -> bool:
        return (await live.order(Side.BUY, 5)).state == "filled"

    await eventually(opened, 15.0)  # the running risk has seen the checklist
    assert (await live.order(Side.BUY, 11)).code == "RISK_ORDER_QUANTITY_MAX", "tiny-live allows ten"
    await live.begin("armed", RISK_LIMITS_FILE=str(limits))
    assert (await live.order(Side.BUY, 11)).state == "filled"

    live.checklist.unlink()
    await live.begin("armed", RISK_LIMITS_FILE=str(limits))
    assert (await live.order(Side.BUY, 1)).code == "RISK_PREFLIGHT_MISSING"
    await eventually(lambda: live.holds(16), 10.0)
    assert (await live.order(Side.SELL, 16)).state == "filled", "a position can always be reduced"
