"""A reply that was lost leaves entries pending that nobody saw: the next read finds them."""

from __future__ import annotations

import pytest

from shared.bus.consumer import GroupReader
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import Entry
from shared.errors import BusUnavailable
from shared.messages.orders import CancelRequest


class LosesReplies(MemoryBus):
    """Delivers, and then the reply does not come."""

    lost = 0

    async def group_new(
        self, stream: str, group: str, consumer: str, *, count: int, block_ms: int | None
    ) -> list[Entry]:
        found = await super().group_new(stream, group, consumer, count=count, block_ms=block_ms)
        if found and self.lost:
            self.lost -= 1
            raise BusUnavailable("the reply was lost")
        return found

    async def group_ack(self, stream: str, group: str, entry_ids: object) -> None:
        if self.lost:
            self.lost -= 1
            raise BusUnavailable("the reply was lost")
        await super().group_ack(stream, group, entry_ids)  # type: ignore[arg-type]


@pytest.fixture
async def bus() -> LosesReplies:
    opened = LosesReplies(MemoryServer(), Keys("test"))
    await opened.group_ensure("s", "g")
    await opened.append("s", CancelRequest(cancel_id="1", intent_id="i" * 20), source="x")
    return opened


async def test_entries_whose_delivery_was_lost_come_first_at_the_next_read(bus: LosesReplies) -> None:
    reader = GroupReader(bus, "s", "g", "a")
    bus.lost = 1
    with pytest.raises(BusUnavailable):
        await reader.read(block_ms=None)
    assert len((await reader.read(block_ms=None)).entries) == 1


async def test_entries_not_known_to_be_acknowledged_come_back(bus: LosesReplies) -> None:
    reader = GroupReader(bus, "s", "g", "a")
    first = (await reader.read(block_ms=None)).entries
    bus.lost = 1
    with pytest.raises(BusUnavailable):
        await reader.ack(first)
    again = (await reader.read(block_ms=None)).entries
    assert again == first
    await reader.ack(again)
    assert (await reader.read(block_ms=None)).entries == ()


async def test_others_are_looked_at_again_every_so_often(bus: LosesReplies) -> None:
    heir = GroupReader(bus, "s", "g", "heir", idle_ms=0, claim_every=3)
    assert len((await GroupReader(bus, "s", "g", "dead").read(block_ms=None)).entries) == 1
    found = (await heir.read(block_ms=None)).entries
    assert len(found) == 1
    await heir.ack(found)
    await bus.append("s", CancelRequest(cancel_id="2", intent_id="i" * 20), source="x")
    assert len((await GroupReader(bus, "s", "g", "dead").read(block_ms=None)).entries) == 1
    reads = [len((await heir.read(block_ms=None)).entries) for _ in range(5)]
    assert sum(reads) == 1
