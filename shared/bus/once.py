"""Append what may have been appended before: by a predecessor, or by a call whose reply was lost."""

from __future__ import annotations

from shared.bus.ports import Bus
from shared.messages.base import Message

RECENT = 100
"""How far back an entry of the same id is looked for."""


async def append_once(bus: Bus, stream: str, message: Message, *, source: str) -> bool:
    """Append a message unless the last entries have one of its id; return whether it was appended.

    For one writer at a time: two that look at the same moment both append.
    """
    name = message.envelope_id().encode()
    if any(entry.fields.get(b"id") == name for entry in await bus.read_last(stream, RECENT)):
        return False
    await bus.append(stream, message, source=source)
    return True
