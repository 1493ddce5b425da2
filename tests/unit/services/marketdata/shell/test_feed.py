from __future__ import annotations

import pytest

from services.marketdata.settings import MarketdataSettings
from services.marketdata.shell.feed import Feed
from services.marketdata.shell.reference import Reference
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import Entry
from shared.clock import ManualClock
from shared.messages.market import pack_ticks, trade_tick

APPLE = 265598
S = 1_000_000_000


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    monkeypatch.setenv("CQ_MODE", "sim")
    monkeypatch.setenv("IB_SIM_ACCOUNT", "DUSIM0001")
    bus = MemoryBus(MemoryServer(), Keys("sim"))
    return Feed(bus, MarketdataSettings(_env_file=None), Reference(bus, "trading"), ManualClock())


async def test_a_batch_that_is_none_is_dead_lettered_once_however_often_bars_are_built_anew(feed: Feed) -> None:
    bus = feed._bus
    stream = bus.keys.ticks(0)
    bad = [Entry(stream, f"{number}-0", {b"body": b"x" * 63}) for number in (5, 6)]
    good = Entry(stream, "7-0", {b"body": pack_ticks([trade_tick(APPLE, 7 * S, 7 * S, 1, 187.25, 7)])})
    for _ in range(3):  # after each loss of Redis the ticks are read again
        await feed.resume()
        await feed._take([*bad, good], 8 * S, [])
    assert len(await bus.read_last(bus.keys.dead_letter, 10)) == 2
    assert feed.ticks_read == 3
