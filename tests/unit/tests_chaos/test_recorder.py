from __future__ import annotations

import asyncio

from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.messages.orders import CancelRequest
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
