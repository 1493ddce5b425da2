from __future__ import annotations

import pytest

from services.gateway.shell.contracts import Contracts
from services.gateway.shell.outbox import Outbox
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.errors import BrokerUnavailable
from shared.messages.codec import encode_body
from shared.messages.market import ContractInfo

APPLE = ContractInfo(con_id=265598, name="AAPL", symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(MemoryServer(), Keys("sim"))


def contracts(bus: MemoryBus) -> Contracts:
    return Contracts(bus, Outbox(bus, "gateway:a"), lambda: None, limit_s=1.0)


async def test_what_another_gateway_found_out_is_known_without_the_broker(bus: MemoryBus) -> None:
    known = contracts(bus)
    await known.load()
    with pytest.raises(BrokerUnavailable):
        await known.get(APPLE.con_id)
    await bus.hash_set(bus.keys.contracts, {str(APPLE.con_id): encode_body(APPLE), "7": b"of another release"})
    await known.load()
    assert await known.get(APPLE.con_id) == APPLE and known.known(7) is None


async def test_what_is_known_is_not_read_again(bus: MemoryBus) -> None:
    known = contracts(bus)
    await bus.hash_set(bus.keys.contracts, {str(APPLE.con_id): encode_body(APPLE)})
    await known.load()
    await bus.hash_set(bus.keys.contracts, {str(APPLE.con_id): b"damaged since"})
    await known.load()
    assert known.known(APPLE.con_id) == APPLE
