"""The gateway's part for tests of the real risk service on a real Redis: leadership, account, prices, questions."""

from __future__ import annotations

from typing import Any

from shared.bus.keys import Role
from shared.bus.ports import LeaseToken, LeaseView
from shared.bus.redis_client import RedisBus
from shared.clock import SYSTEM_CLOCK
from shared.messages import decode_fields
from shared.messages.account import AccountSnapshot, AccountTag, PositionsComplete
from shared.messages.codec import encode_body
from shared.messages.control import BrokerStatus, LinkState, Reconciled
from shared.messages.market import pack_ticks, quote_tick
from shared.messages.orders import Decision, Intent
from tests.risk_desk import ACCOUNT, info, intent_of, number_id
from tests.support import RedisServer, SpawnedProcess, Spawner, eventually

CON_ID = 265598


class Market:
    """The gateway's part, played by the test: leadership, account, prices."""

    def __init__(self, bus: RedisBus) -> None:
        self.bus = bus
        self.keys = bus.keys
        self.token = LeaseToken(Role.GATEWAY, "", 0, "")
        self.incarnation = ""

    async def open(self) -> None:
        token = await self.bus.lease_acquire(Role.GATEWAY, "g1", LeaseView(), at_least_epoch=1)
        assert token is not None
        self.token = token
        self.incarnation = token.incarnation
        await self.bus.raise_fence(token)
        await self.bus.hash_set(self.keys.halt, {"stage": "none"})
        await self.bus.hash_set(self.keys.contracts, {str(CON_ID): encode_body(info(CON_ID))})
        tags = (AccountTag(tag="BuyingPower", value="1000000", currency="USD"),)
        await self.publish(
            self.keys.account, AccountSnapshot(account=ACCOUNT, currency="USD", values=tags, is_full=True)
        )
        await self.publish(self.keys.account, PositionsComplete(account=ACCOUNT))
        status = BrokerStatus(instance="g1", state=LinkState.READY, is_leader=True, epoch=token.epoch)
        await self.publish(self.keys.broker_status, status)
        await self.price(100.0)

    async def reconciled(self) -> None:
        message = Reconciled(instance="g1", epoch=self.token.epoch, incarnation=self.incarnation)
        await self.publish(self.keys.broker_status, message)

    async def publish(self, stream, message) -> None:
        await self.bus.publish(self.token, [(stream, message)], source="gateway:g1")

    async def price(self, price: float) -> None:
        now_ns = SYSTEM_CLOCK.wall_ns()
        tick = quote_tick(CON_ID, now_ns, now_ns, 1, price - 0.01, 100, price + 0.01, 100)
        batch = (self.keys.partition(CON_ID), pack_ticks([tick]))
        await self.bus.publish_ticks(self.token, [batch], source="gateway:g1")

    def intent(self, number: int, side: str = "BUY", quantity: object = 10, **values) -> Intent:
        fields = {
            "con_id": CON_ID, "incarnation": self.incarnation,
            "valid_until_ns": SYSTEM_CLOCK.wall_ns() + 60 * 10**9, "ts_init_ns": SYSTEM_CLOCK.wall_ns(),
        }  # fmt: skip
        return intent_of(number, side, quantity, **{**fields, **values})

    async def ask(self, intent: Intent) -> None:
        await self.bus.append(self.keys.intents, intent, source="test")

    async def messages(self, stream: str) -> list[Any]:
        return [decode_fields(entry.fields).message for entry in await self.bus.read_range(stream)]

    async def answer(self, number: int, timeout_s: float = 10.0) -> Decision:
        async def found():
            for message in await self.messages(self.keys.decisions):
                if isinstance(message, Decision) and message.intent_id == number_id(number):
                    return message
            return None

        return await eventually(found, timeout_s)


def environment(server: RedisServer, deployment: str, **values: str) -> dict[str, str]:
    return {
        "REDIS_URL": server.url, "CQ_DEPLOYMENT": deployment, "CQ_MODE": "sim", "CQ_LEASE_TTL_S": "1.0",
        "IB_SIM_ACCOUNT": ACCOUNT, **values,
    }  # fmt: skip


def start(spawn: Spawner, server: RedisServer, deployment: str, name: str = "r1", **values: str) -> SpawnedProcess:
    return spawn("services.risk", env=environment(server, deployment, CQ_INSTANCE=name, **values), name=name)
