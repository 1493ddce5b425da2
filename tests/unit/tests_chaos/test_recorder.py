from __future__ import annotations

import asyncio

import pytest

from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.messages.orders import CancelRequest
from tests.chaos import recorder as module
from tests.chaos.recorder import Recorder, read_all
from tests.support import eventually


def cancel(number: int) -> CancelRequest:
    return CancelRequest(cancel_id=str(number), intent_id="i" * 20)


async def test_what_the_server_loses_is_kept_and_nothing_is_counted_twice() -> None:
    server = MemoryServer()
    bus = MemoryBus(server, Keys("test"))
    stream = bus.keys.cancels
    recorder = Recorder(bus, (stream,))
    task = asyncio.create_task(recorder.run())
    await bus.append(stream, cancel(1), source="t")
    await bus.append(stream, cancel(2), source="t")
    await eventually(lambda: len(recorder.seen) == 2)
    server.restart()
    await bus.append(stream, cancel(3), source="t")
    await eventually(lambda: len(recorder.seen) == 3)
    task.cancel()
    assert [seen.message.envelope_id() for seen in recorder.seen] == ["1", "2", "3"]
    assert len(recorder.incarnations) == 2
    assert len(await read_all(bus, (stream,))) == 3


async def test_a_stream_is_read_in_pieces_each_entry_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 2)
    bus = MemoryBus(MemoryServer(), Keys("test"))
    for number in range(5):
        await bus.append(bus.keys.cancels, cancel(number), source="t")
    found = await read_all(bus, (bus.keys.cancels, bus.keys.fills))
    assert [seen.message.envelope_id() for seen in found] == ["0", "1", "2", "3", "4"]
