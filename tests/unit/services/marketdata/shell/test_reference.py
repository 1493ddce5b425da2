from __future__ import annotations

from services.marketdata.shell.reference import Reference
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.messages.codec import encode_body
from shared.messages.market import ContractInfo

S = 1_000_000_000


async def test_contracts_are_read_once_and_again_when_they_change() -> None:
    bus = MemoryBus(MemoryServer(), Keys("test"))
    info = ContractInfo(
        con_id=1,
        name="AAPL@NASDAQ",
        symbol="AAPL",
        sec_type="STK",
        exchange="SMART",
        currency="USD",
        time_zone="UTC",
        trading_hours="20231114:0400-20231114:2000",
        liquid_hours="20231114:0930-20231114:1600",
    )
    await bus.hash_set(bus.keys.contracts, {"1": encode_body(info), "2": b"garbage"})
    liquid, trading = Reference(bus, "liquid"), Reference(bus, "trading")
    assert await liquid.load() == [1]
    assert await liquid.load() == []
    assert (liquid.name(1), liquid.symbol(1), liquid.name(2), liquid.symbol(2)) == ("AAPL@NASDAQ", "AAPL", "#2", "")
    await trading.load()
    early_ns = 1_699_941_600 * S  # 2023-11-14 06:00 UTC: before the regular hours
    assert liquid.calendar(1).day_of(early_ns) is None
    assert trading.calendar(1).day_of(early_ns) is not None
    await bus.hash_set(bus.keys.contracts, {"1": encode_body(info.model_copy(update={"symbol": "AAPL2"}))})
    assert await liquid.load() == [1]
    assert liquid.symbol(1) == "AAPL2"
