"""A whole gateway between a real Redis and the real simulator; risk is played by the test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shared.bus.keys import Keys, Role
from shared.bus.ports import LeaseToken
from shared.bus.redis_client import RedisBus, open_bus
from shared.clock import NS_PER_S, random_token
from shared.messages import decode_fields
from shared.messages.base import Message
from shared.messages.market import SubscriptionRequest
from shared.messages.orders import (
    CancelCommand,
    CancelRequest,
    Command,
    Commission,
    Decision,
    Fill,
    Group,
    Intent,
    IntentAction,
    OrderEvent,
    OrderLeg,
    OrderState,
    OrderType,
    Side,
)
from tests.support import RedisServer, SpawnedProcess, Spawner, eventually, free_port

ACCOUNT = "DUSIM0001"
AAPL = 265598
TRADING_ID = 101


@dataclass
class Broker:
    """The simulator as a process, and its own books over HTTP."""

    process: SpawnedProcess
    port: int
    control_port: int

    def truth(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.control_port}/truth", timeout=5) as reply:
            return dict(json.load(reply))

    def fault(self, fault_name: str, /, **parameters: Any) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.control_port}/faults/{fault_name}",
            data=json.dumps(parameters).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=5).read()

    def orders(self) -> dict[str, dict[str, Any]]:
        return {order["order_ref"]: order for order in self.truth()["orders"]}


@dataclass
class Desk:
    """What a test does as risk, strategy and operator, and what it sees on the bus."""

    bus: RedisBus
    broker: Broker
    gateways: list[SpawnedProcess] = field(default_factory=list)
    token: LeaseToken | None = None
    _entry: int = 0

    async def lead_risk(self) -> None:
        view = await self.bus.lease_view(Role.RISK)
        self.token = await self.bus.lease_acquire(Role.RISK, "test", view, at_least_epoch=time.time_ns() // 1000)
        assert self.token is not None
        await self.bus.raise_fence(self.token)

    async def approve(self, intent: Intent, *, is_reducing: bool = False, valid_s: float = 10.0) -> Intent:
        """Write the command of an intent as risk would."""
        assert self.token is not None
        self._entry += 1
        command = Command(
            ts_init_ns=time.time_ns(), intent=intent, not_after_ns=time.time_ns() + int(valid_s * 1e9),
            incarnation=intent.incarnation, is_reducing=is_reducing, risk_epoch=self.token.epoch,
        )  # fmt: skip
        decision = Decision(
            ts_init_ns=time.time_ns(), intent_id=intent.intent_id, approved=True, con_id=intent.con_id,
            strategy=intent.strategy, account=intent.account,
        )  # fmt: skip
        await self.bus.decide(
            self.token, entry_id=f"{self._entry}-0", decision=decision, command=command, source="risk:test"
        )
        return intent

    async def intent(self, *legs: OrderLeg, group: Group = Group.SINGLE, modifies: str = "", **more: Any) -> Intent:
        return Intent(
            ts_init_ns=time.time_ns(), intent_id=random_token(20), legs=legs, group=group, con_id=AAPL,
            contract="AAPL", strategy=more.pop("strategy", "demo"), account=ACCOUNT,
            incarnation=await self.bus.incarnation(), valid_until_ns=time.time_ns() + 10**10, modifies=modifies,
            action=IntentAction.MODIFY if modifies else IntentAction.PLACE, **more,
        )  # fmt: skip

    async def place(self, *legs: OrderLeg, is_reducing: bool = False, valid_s: float = 10.0, **more: Any) -> Intent:
        return await self.approve(await self.intent(*legs, **more), is_reducing=is_reducing, valid_s=valid_s)

    async def cancel(self, intent: Intent) -> None:
        assert self.token is not None
        self._entry += 1
        request = CancelRequest(cancel_id=random_token(8), intent_id=intent.intent_id, account=ACCOUNT)
        await self.bus.pass_cancel(
            self.token, entry_id=f"{self._entry}-0", command=CancelCommand(cancel=request), source="risk:test"
        )

    async def messages(self, stream: str) -> list[Message]:
        entries = await self.bus.read_range(stream)
        return [decode_fields(entry.fields, entry_id=entry.entry_id, stream=stream).message for entry in entries]

    async def events(self, intent: Intent | None = None, leg: int | None = None) -> list[OrderEvent]:
        found = [each for each in await self.messages(self.bus.keys.orders) if isinstance(each, OrderEvent)]
        if intent is not None:
            found = [each for each in found if each.intent_id == intent.intent_id]
        return [each for each in found if leg is None or each.leg == leg]

    async def state(self, intent: Intent, leg: int = 0) -> OrderState | None:
        events = await self.events(intent, leg)
        return events[-1].state if events else None

    async def until(self, intent: Intent, state: OrderState, leg: int = 0, timeout_s: float = 10.0) -> OrderEvent:
        async def reached() -> bool:
            return await self.state(intent, leg) is state

        try:
            await eventually(reached, timeout_s)
        except AssertionError:
            seen = [(each.state, each.code, each.text) for each in await self.events(intent, leg)]
            raise AssertionError(f"{intent.intent_id} leg {leg} never was {state}: {seen}") from None
        return (await self.events(intent, leg))[-1]

    async def fills(self) -> list[Fill]:
        return [each for each in await self.messages(self.bus.keys.fills) if isinstance(each, Fill)]

    async def commissions(self) -> list[Commission]:
        return [each for each in await self.messages(self.bus.keys.fills) if isinstance(each, Commission)]

    async def subscribe(self, *con_ids: int) -> None:
        await self.bus.append(self.bus.keys.subscriptions, SubscriptionRequest(con_ids=con_ids), source="test")

    async def watch(self, con_id: int) -> None:
        """Want a contract's prices where marketdata runs, which alone then says what is subscribed."""
        until_ns = time.time_ns() + 3600 * NS_PER_S
        await self.bus.hash_set(self.bus.keys.watches, {str(con_id): str(until_ns)})

    async def heartbeats(self) -> dict[str, dict[str, Any]]:
        found = {}
        for key in await self.bus.scan(self.bus.keys.heartbeat("gateway", "*")):
            text = await self.bus.get_text(key)
            if text:
                facts = json.loads(text)
                found[facts["instance"]] = facts
        return found

    async def ready_leader(self, timeout_s: float = 15.0, *, not_: str = "") -> str:
        async def leads() -> str:
            view = await self.bus.lease_view(Role.GATEWAY)
            for name, facts in (await self.heartbeats()).items():
                if name != not_ and name == view.owner and facts["link"] == "READY" and facts["epoch"] == view.epoch:
                    return name
            return ""

        return str(await eventually(leads, timeout_s))


def limit(side: Side, quantity: int, price: str, leg: int = 0, **more: Any) -> OrderLeg:
    return OrderLeg(
        leg=leg, side=side, quantity=Decimal(quantity), order_type=OrderType.LIMIT, limit_price=Decimal(price), **more
    )


def market(side: Side, quantity: int, leg: int = 0, **more: Any) -> OrderLeg:
    return OrderLeg(leg=leg, side=side, quantity=Decimal(quantity), order_type=OrderType.MARKET, **more)


@pytest.fixture
def legs() -> tuple[Callable[..., OrderLeg], Callable[..., OrderLeg]]:
    """Makers of a limit and a market leg."""
    return limit, market


def start_broker(spawn: Spawner, limit_s: float = 20.0, **more: str) -> Broker:
    """Start the real simulator and wait until it answers."""
    port, control = free_port(), free_port()
    process = spawn(
        "services.simulator",
        env={
            "SIM_PORT": str(port), "SIM_HTTP_PORT": str(control), "CQ_MODE": "sim", "SIM_TICK_RATE": "20",
            "CQ_HTTP_PORT": "0", **more,
        },
        name="simulator",
    )  # fmt: skip
    process.wait_for_output("service.started", limit_s)
    return Broker(process, port, control)


@pytest.fixture
def broker(spawn: Spawner) -> Broker:
    """The real simulator."""
    return start_broker(spawn, SIM_MAX_ORDERS_PER_SIDE="500")


@pytest.fixture
def start_guard(spawn: Spawner, broker: Broker, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Start a guard in front of the simulator; returns what a gateway's environment needs to use it."""

    def start(**more: str) -> dict[str, str]:
        port, http = free_port(), free_port()
        process = spawn(
            "services.guard",
            env={
                "CQ_MODE": "sim", "GUARD_LISTEN_PORT": str(port), "GUARD_UPSTREAM_PORT": str(broker.port),
                "GUARD_HTTP_PORT": str(http), "GUARD_STATE_DIR": str(tmp_path / "guard"), "CQ_HTTP_PORT": "0", **more,
            },
            name="guard",
        )  # fmt: skip
        process.wait_for_output("service.started", 20.0)
        return {"GATEWAY_GUARD": f"127.0.0.1:{port}", "GATEWAY_GUARD_HTTP": f"http://127.0.0.1:{http}"}

    return start


@pytest.fixture
async def desk(redis_server: RedisServer, deployment: str, broker: Broker) -> AsyncIterator[Desk]:
    """The bus with risk's lease held by the test."""
    bus = open_bus(redis_server.url, Keys(deployment), client_name="test")
    made = Desk(bus, broker)
    await made.lead_risk()
    yield made
    with contextlib.suppress(Exception):
        await bus.close()


@pytest.fixture
def start_gateway(
    spawn: Spawner, redis_server: RedisServer, deployment: str, broker: Broker, tmp_path: Path
) -> Callable[..., Any]:
    """Start one gateway process: `start_gateway("a", 1)`."""

    def start(name: str, client_id: int, **env: str) -> SpawnedProcess:
        return spawn(
            "services.gateway",
            env={
                "CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "CQ_INSTANCE": name, "REDIS_URL": redis_server.url,
                "IB_SIM_PORT": str(broker.port), "IB_SIM_CLIENT_ID": str(client_id), "CQ_LEASE_TTL_S": "1.0",
                "GATEWAY_OTHERS_S": "1.0", "GATEWAY_STATE_DIR": str(tmp_path / "gateway"),
                "CQ_LOG_LEVEL": "info", **env,
            },
            name=f"gateway-{name}",
        )  # fmt: skip

    return start


@pytest.fixture
def cq(redis_server: RedisServer, deployment: str, broker: Broker, tmp_path: Path) -> Callable[..., Any]:
    """Type a command as an operator would, in a directory of its own: `await cq("positions", "--json")`."""
    env = {
        "PATH": os.environ["PATH"], "CQ_ENV_FILE": "", "CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment,
        "REDIS_URL": redis_server.url, "IB_SIM_PORT": str(broker.port), "PYTHONPATH": str(Path.cwd()),
    }  # fmt: skip

    async def typed(*words: str, status: int = 0) -> str:
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-m", "copilot_quant.cli", *words], env=env, cwd=tmp_path,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == status, f"cq {' '.join(words)}: {done.returncode} {done.stdout} {done.stderr}"
        return done.stdout if not status else done.stderr

    return typed
