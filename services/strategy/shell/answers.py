"""Read what comes back for this worker's questions, each answer once, whatever else has gone wrong between them."""

from __future__ import annotations

from shared.bus.ports import FIRST, Bus
from shared.errors import BadInput
from shared.messages.base import Message
from shared.messages.codec import decode_fields

_AT_ONCE = 100


class Answers:
    """The answer stream of one client, read from its beginning."""

    def __init__(self, bus: Bus, *, client: str, source: str) -> None:
        self._bus = bus
        self._stream = bus.keys.answers(client)
        self._source = source
        self._cursor = FIRST

    async def take(self) -> list[Message]:
        """Return the answers that came since the last call; an entry that cannot be read goes to `dead-letter`.

        Raises:
            BusUnavailable: Redis is away; the next call reads on from where this one stopped.
        """
        found: list[Message] = []
        for entry in (await self._bus.read({self._stream: self._cursor}, count=_AT_ONCE)).get(self._stream, []):
            self._cursor = entry.entry_id
            try:
                found.append(decode_fields(entry.fields, entry_id=entry.entry_id, stream=self._stream).message)
            except BadInput as e:
                await self._bus.dead_letter(entry, consumer=self._source, error=str(e))
        return found
