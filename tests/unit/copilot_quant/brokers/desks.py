"""A desk on the in-memory bus, used from the background loop as the facades do, and the rest of the system for it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

from copilot_quant.access import Access
from copilot_quant.background import BACKGROUND
from copilot_quant.desk import Desk
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.messages import decode_fields
from shared.messages.account import PositionReport
from shared.messages.base import Message
from shared.messages.codec import encode_body
from shared.messages.market import ContractInfo
from shared.messages.orders import Intent, OrderEvent, OrderState
from shared.settings import BrokerSettings

APPLE = ContractInfo(con_id=265598, name="AAPL", symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")


def do(work: Coroutine[Any, Any, Any]) -> Any:
    """Run on the background loop."""
    return BACKGROUND.run(work, limit_s=20.0)


def an_access() -> Access:
    """Return an access to a deployment that knows one contract and has an identity."""

    async def build() -> Access:
        bus = MemoryBus(MemoryServer(), Keys("paper"))
        await bus.hash_set(bus.keys.identity, {"mode": "paper", "account": "DUB267514", "id": "abc"})
        await bus.hash_set(bus.keys.contract_names, {"AAPL": "265598"})
        await bus.hash_set(bus.keys.contracts, {"265598": encode_body(APPLE)})
        await bus.hash_set(bus.keys.account_values, {"NetLiquidation:USD": "1000000.00", "BuyingPower:USD": "4000000"})
        settings = BrokerSettings(_env_file=None, paper_account="DUB267514")
        return Access(settings, Desk(bus, "DUB267514"))

    access: Access = do(build())
    return access


def an_event(intent: Intent, state: OrderState) -> OrderEvent:
    """Return the broker's word on an intent's first leg."""
    leg = intent.legs[0]
    filled = leg.quantity if state is OrderState.FILLED else Decimal(0)
    return OrderEvent(
        intent_id=intent.intent_id, state=state, strategy=intent.strategy, account=intent.account, con_id=intent.con_id,
        contract="AAPL", side=leg.side, quantity=leg.quantity, order_type=leg.order_type.value, filled=filled,
        by="broker",
    )  # fmt: skip


async def hold(desk: Desk, quantity: int) -> None:
    """Report a position."""
    report = PositionReport(
        account="DUB267514", con_id=265598, contract="AAPL", symbol="AAPL", position=Decimal(quantity),
        average_cost=Decimal("216.96"),
    )  # fmt: skip
    await desk.bus.hash_set(desk.keys.positions, {"265598": encode_body(report)})


async def serve_one(desk: Desk, answers: Callable[[Intent], list[tuple[str, Message]]]) -> Intent:
    """Be risk and the gateway for the next intent; return it."""
    while not (found := await desk.bus.read({desk.keys.intents: "0-0"}, block_ms=50)):
        pass
    intent = decode_fields(found[desk.keys.intents][-1].fields).message
    assert isinstance(intent, Intent)
    for stream, message in answers(intent):
        await desk.bus.append(stream, message, source="gateway:1")
    return intent
