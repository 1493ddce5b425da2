"""Let what reduces pass orders that wait for room in the broker's message budget.

Commands are read one after another. Where an order waits for its turn, what stands behind it in the stream is looked at
meanwhile: orders that reduce are claimed and sent at once, in the lane that goes before that of other orders
(architecture §5). Their claims leave the cursor where it is: when the reader comes to them, they are done, and a
successor that begins before them finds their final results in the ledger.

Invariants:
1. What reduces keeps its own order; only orders that add exposure, and changes, are passed.
2. A claim under way is never cut short: the wait ends when it is over, however long the waiting order has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from shared.bus.ports import Bus, Entry
from shared.clock import NS_PER_S, Clock
from shared.errors import BadInput, Refused, TransientError
from shared.logs import get_logger
from shared.messages.codec import decode_fields
from shared.messages.orders import Command, IntentAction

LOOK_EVERY_S = 0.02
LOOK_AT = 500
"""How many entries one look takes; the next one goes on behind them."""


class Overtaking:
    """The reader of `commands` while it waits.

    Args:
        place: claims and sends a command; an entry without an id leaves the cursor.
    """

    def __init__(self, bus: Bus, place: Callable[[Command, Entry], Awaitable[None]], *, clock: Clock) -> None:
        self._bus = bus
        self._place = place
        self._clock = clock
        self._done: dict[str, None] = {}

    def took(self, entry_id: str) -> bool:
        """Return whether an entry was carried out before its turn; asked once, when its turn has come."""
        return self._done.pop(entry_id, entry_id) is None

    async def wait(self, slot: asyncio.Future[None], limit_s: float, after: str) -> None:
        """Wait for a slot, and let what reduces and stands behind an entry pass meanwhile; without an entry only wait.

        Raises:
            TimeoutError: it took longer.
            BrokerUnavailable: the session went away.
        """
        until_ns = self._clock.monotonic_ns() + int(limit_s * NS_PER_S)
        while not slot.done():
            left_s = (until_ns - self._clock.monotonic_ns()) / NS_PER_S
            if left_s <= 0:
                slot.cancel()
                raise TimeoutError
            if after:
                after = await self._look(after)
            await asyncio.wait([slot], timeout=min(left_s, LOOK_EVERY_S) if after else left_s)
        await slot

    async def _look(self, after: str) -> str:
        """Carry out what reduces behind an entry; return the last entry that was looked at."""
        stream = self._bus.keys.commands
        try:
            entries = (await self._bus.read({stream: after}, count=LOOK_AT)).get(stream, [])
        except TransientError:
            return after
        for entry in entries:
            after = entry.entry_id
            command = _reducing(entry)
            if command is not None and after not in self._done:
                await self._pass(command, entry)
        return after

    async def _pass(self, command: Command, entry: Entry) -> None:
        try:
            await self._place(command, replace(entry, entry_id=""))
        except (BadInput, Refused) as e:  # its turn comes, and says so once more
            get_logger().warning("command.not_passed", intent_id=command.intent.intent_id, error=str(e))
            return
        self._done[entry.entry_id] = None


def _reducing(entry: Entry) -> Command | None:
    """Return the command of an entry that places what only reduces, None for every other entry."""
    try:
        message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
    except BadInput:
        return None
    is_placed = isinstance(message, Command) and message.intent.action is IntentAction.PLACE
    return message if is_placed and isinstance(message, Command) and message.is_reducing else None
