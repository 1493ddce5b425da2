from __future__ import annotations

from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.once import RECENT, append_once
from shared.messages.control import Control, ControlAction


def halt(name: str) -> Control:
    return Control(control_id=name, action=ControlAction.HALT, who="test", reason="test")


async def test_a_message_is_appended_once_as_long_as_it_is_recent() -> None:
    bus = MemoryBus(MemoryServer(), Keys("sim"))
    stream = bus.keys.control
    assert await append_once(bus, stream, halt("a"), source="test")
    assert await append_once(bus, stream, halt("b"), source="test")
    assert not await append_once(bus, stream, halt("a"), source="test")
    assert await bus.stream_length(stream) == 2
    for number in range(RECENT):
        await bus.append(stream, halt(str(number)), source="test")
    assert await append_once(bus, stream, halt("a"), source="test")
