"""Keep what could not be decoded or handled, where a person finds it: original fields, error, consumer.

Invariants (P10):
1. An entry is dead-lettered for its content, never for a crash count: only `BadInput` leads here.
2. The original bytes are kept as they are, under `original:<field>`, so that a fixed release can read them again.
3. An unreadable entry of the order path (`commands`, `orders`, `fills`, `control`) is *also* its reader's cause to
   enter its safe state; `is_order_path` says which streams these are.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.bus.keys import Keys
from shared.bus.ports import Bus, Entry
from shared.errors import BadInput
from shared.messages.codec import Envelope, decode_fields
from shared.metrics import DEAD_LETTERS

DEAD_LETTER_ENTRIES = 10_000
"""About how many dead letters are kept: a flood of bad input must not fill the server."""
MAX_ERROR_CHARACTERS = 2000


def dead_letter_fields(entry: Entry, *, consumer: str, error: str) -> dict[str, bytes]:
    """Return the fields of a dead letter; an entry deleted while pending has no original fields."""
    original = {f"original:{name.decode(errors='replace')}": value for name, value in entry.fields.items()}
    return {
        "type": b"dead_letter",
        "key": entry.stream.encode(),
        "id": entry.entry_id.encode(),
        "source": consumer.encode(),
        "error": error[:MAX_ERROR_CHARACTERS].encode(),
        **original,
    }


def is_order_path(keys: Keys, stream: str) -> bool:
    """Return whether an unreadable entry of this stream could have meant an order, a fill or a halt (P10)."""
    return stream in (keys.commands, keys.cancel_commands, keys.orders, keys.fills, keys.control)


def original_fields(dead: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the fields an entry had before it was dead-lettered."""
    mark = b"original:"
    return {name.removeprefix(mark): value for name, value in dead.items() if name.startswith(mark)}


def is_readable(entry: Entry) -> bool:
    """Return whether an entry decodes, for a reader that leaves dead letters to another one."""
    try:
        decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream)
    except BadInput:
        return False
    return True


async def decode_or_keep(bus: Bus, entry: Entry, *, consumer: str) -> Envelope | None:
    """Return the envelope of an entry, or None after keeping it as a dead letter.

    Raises:
        BusUnavailable: the dead letter could not be written; the entry was not handled, read it again.
    """
    try:
        return decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream)
    except BadInput as e:
        await bus.dead_letter(entry, consumer=consumer, error=str(e))
        DEAD_LETTERS.labels(entry.stream).inc()
        return None
