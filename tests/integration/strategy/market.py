"""What the gateway and marketdata would put on the bus, for tests of strategy workers."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from shared.bus.keys import Keys
from shared.bus.ports import Bus, LeaseToken
from shared.bus.redis_client import RedisBus, open_bus
from shared.clock import SYSTEM_CLOCK
from shared.messages.codec import decode_fields, encode_body
from shared.messages.market import ContractInfo, pack_ticks, quote_tick
from shared.messages.orders import Decision, Intent

COUNTER = """
from pydantic import BaseModel
from services.strategy.api import Quote, Strategy


class Counter(Strategy):
    class State(BaseModel):
        seen: int = 0

    def on_quote(self, quote: Quote) -> None:
        number = int(quote.bid)
        if number != self.state.seen + 1:
            self.buy(quote.contract, 1, reason=f"WRONG {number} after {self.state.seen}")
        self.state.seen = number
        self.buy(quote.contract, 1, reason=str(number))


class Silent(Strategy):
    class State(BaseModel):
        seen: int = 0

    def on_quote(self, quote: Quote) -> None:
        self.state.seen += 1


class Raises(Strategy):
    def on_quote(self, quote: Quote) -> None:
        raise RuntimeError("by design")


class Freezes(Strategy):
    # Counts to three, then calls into C for ever: no signal and no other thread gets through.

    class State(BaseModel):
        seen: int = 0

    def on_quote(self, quote: Quote) -> None:
        self.state.seen += 1
        if self.state.seen > 3:
            sum(range(10**12))


class Eats(Strategy):
    def on_quote(self, quote: Quote) -> None:
        self.eaten = [*getattr(self, "eaten", []), bytearray(20_000_000)]


class Blocks(Strategy):
    def on_quote(self, quote: Quote) -> None:
        while True:
            pass
"""


def contract_of(con_id: int) -> ContractInfo:
    return ContractInfo(
        con_id=con_id, name=f"C{con_id}", symbol=f"C{con_id}", sec_type="STK", exchange="SMART", currency="USD"
    )


class Market:
    """A gateway's part: identity, contracts and quotes numbered by their bid, per contract 1, 2, 3 …"""

    def __init__(self, url: str, deployment: str, con_ids: list[int]) -> None:
        self.bus: RedisBus = open_bus(url, Keys(deployment))
        self.con_ids = con_ids
        self.sent = 0
        self._answered = "0-0"
        self.token: LeaseToken | None = None

    async def open(self) -> None:
        bus = self.bus
        await bus.hash_set(bus.keys.identity, {"id": "test-deployment", "account": "DUSIM0001", "mode": "sim"})
        for con_id in self.con_ids:
            info = contract_of(con_id)
            await bus.hash_set(bus.keys.contract_names, {info.name: str(con_id)})
            await bus.hash_set(bus.keys.contracts, {str(con_id): encode_body(info)})
        await self.lead()

    async def lead(self) -> None:
        """Take the gateway's lease, again after a restart of the server."""
        bus = self.bus
        self.token = await bus.lease_acquire("gateway", "g", await bus.lease_view("gateway"), at_least_epoch=1)
        assert self.token is not None
        await bus.raise_fence(self.token)

    async def reject_all(self) -> None:
        """Answer every new intent with a rejection, as risk would."""
        found = await self.bus.read({self.bus.keys.intents: self._answered}, count=1000)
        for entry in found.get(self.bus.keys.intents, []):
            self._answered = entry.entry_id
            intent = decode_fields(entry.fields).message
            assert isinstance(intent, Intent)
            decision = Decision(
                intent_id=intent.intent_id, approved=False, code="TEST", con_id=intent.con_id, strategy=intent.strategy
            )
            await self.bus.append(self.bus.keys.decisions, decision, source="test")

    async def quote_all(self) -> None:
        """Send the next quote of every contract."""
        assert self.token is not None
        self.sent += 1
        now_ns = SYSTEM_CLOCK.wall_ns()
        batches: dict[int, list[bytes]] = {}
        for con_id in self.con_ids:
            tick = quote_tick(con_id, now_ns, now_ns, 1, float(self.sent), 1.0, self.sent + 1.0, 1.0)
            batches.setdefault(self.bus.keys.partition(con_id), []).append(pack_ticks([tick]))
        packed = [(partition, b"".join(bodies)) for partition, bodies in batches.items()]
        await self.bus.publish_ticks(self.token, packed, source="test")


async def rows_of(market: Market) -> dict[str, dict[str, Any]]:
    """Return what workers write about their units."""
    stored = await market.bus.hash_get_all(market.bus.keys.strategies)
    return {unit: json.loads(text) for unit, text in stored.items()}


def strategies_file(folder: Path, tables: str) -> Path:
    (folder / "mine.py").write_text(COUNTER)
    path = folder / "strategies.toml"
    path.write_text(textwrap.dedent(tables))
    return path


def worker_env(url: str, deployment: str, name: str, file: Path, **extra: str) -> dict[str, str]:
    return {
        "CQ_MODE": "sim",
        "CQ_DEPLOYMENT": deployment,
        "CQ_INSTANCE": name,
        "REDIS_URL": url,
        "CQ_LEASE_TTL_S": "1.0",
        "STRATEGIES_FILE": str(file),
        "STRATEGY_RESEND_S": "60",
        **extra,
    }


async def intents_of(bus: Bus) -> dict[str, list[str]]:
    """Return unit → the reasons of its intents in the order of the stream; an intent appended again counts once."""
    found: dict[str, list[str]] = {}
    ids: set[str] = set()
    for entry in await bus.read_range(bus.keys.intents):
        message = decode_fields(entry.fields).message
        assert isinstance(message, Intent)
        if message.intent_id not in ids:
            found.setdefault(message.unit, []).append(message.reason)
        ids.add(message.intent_id)
    return found
