"""A bus of each kind, what a test may do to its server, and the messages the bus tests send."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import Bus, ClaimRequest, ClaimResult, LeaseToken
from shared.bus.redis_client import open_bus
from shared.messages import decode_fields
from shared.messages.orders import Intent, OrderEvent, OrderLeg, OrderState, OrderType, Side
from tests.fakes import FakeRedis
from tests.support import RedisServer

SOURCE = "test:1"


class Bench:
    """A bus and what a test may do to its server."""

    def __init__(self, keys: Keys, server: RedisServer | FakeRedis | None) -> None:
        self._keys = keys
        self._memory = MemoryServer()
        self._server = server
        self.bus = self.another()

    def another(self) -> Bus:
        if self._server is None:
            return MemoryBus(self._memory, self._keys)
        return open_bus(self._server.url, self._keys)

    def restart(self) -> None:
        if self._server is None:
            self._memory.restart()
        else:
            self._server.restart()

    def forget_everything(self) -> None:
        """Come back empty, as another incarnation."""
        if self._server is None:
            life = self._memory.life + 1
            self._memory.__init__()  # type: ignore[misc]
            self._memory.life = life
        else:
            self._server.flush()
            self._server.restart()

    def kill(self) -> None:
        if self._server is None:
            self._memory.is_away = True
        else:
            self._server.kill()


async def lead(bus: Bus, role: str = "gateway", owner: str = "a") -> LeaseToken:
    token = await bus.lease_acquire(role, owner, await bus.lease_view(role), at_least_epoch=10**15)
    assert token is not None
    await bus.raise_fence(token)
    return token


def an_event(state: OrderState, intent: str = "i" * 20, leg: int = 0) -> OrderEvent:
    return OrderEvent(
        intent_id=intent,
        leg=leg,
        state=state,
        strategy="s",
        account="DUSIM0001",
        con_id=265598,
        side=Side.BUY,
        quantity=Decimal(1),
        order_type="MKT",
    )


def an_intent(intent: str = "i" * 20, incarnation: str = "") -> Intent:
    leg = OrderLeg(side=Side.BUY, quantity=Decimal(1), order_type=OrderType.MARKET)
    return Intent(
        intent_id=intent,
        legs=(leg,),
        con_id=265598,
        strategy="s",
        account="DUSIM0001",
        valid_until_ns=1,
        incarnation=incarnation,
    )


def a_claim(token: LeaseToken, intent: str = "i" * 20, *, legs: int = 2, **changes: Any) -> ClaimRequest:
    numbers = range(legs)
    content: dict[str, Any] = {
        "intent_id": intent,
        "legs": legs,
        "client_id": 101,
        "order_ids": tuple(7 + leg for leg in numbers),
        "not_after_ns": 10,
        "now_ns": 9,
        "is_reducing": False,
        "made_in": token.incarnation,
        "cursor_entry": "5-1",
        "if_claimed": tuple(an_event(OrderState.CLAIMED, intent, leg) for leg in numbers),
        "if_refused": {
            result: tuple(an_event(OrderState.REFUSED, intent, leg) for leg in numbers)
            for result in ClaimResult
            if result is not ClaimResult.CLAIMED
        },
    }
    return ClaimRequest(**{**content, **changes})


async def states_of(bus: Bus) -> list[str]:
    found = []
    for entry in await bus.read_range(bus.keys.orders):
        message = decode_fields(entry.fields).message
        assert isinstance(message, OrderEvent)
        found.append(message.state.value)
    return found
