"""Ask the gateway leader and wait for its answer."""

from __future__ import annotations

from typing import TypeVar

from shared.bus.ports import Bus
from shared.clock import NS_PER_MS, NS_PER_S, Clock, random_token
from shared.errors import BadInput, TimedOut
from shared.messages import decode_fields
from shared.messages.requests import Answer, ContractQuery, HistoryQuery

Q = TypeVar("Q", ContractQuery, HistoryQuery)
A = TypeVar("A", bound=Answer)
_SLICE_MS = 200


class Questions:
    """A client of `queries`; `client` names its own answer stream."""

    def __init__(self, bus: Bus, client: str, clock: Clock) -> None:
        self._bus = bus
        self._client = client
        self._clock = clock

    def head(self, timeout_s: float) -> dict[str, str | int]:
        """Return the fields every query carries: a new id, this client, and the deadline."""
        deadline_ns = self._clock.wall_ns() + int(timeout_s * NS_PER_S)
        return {"query_id": random_token(), "client": self._client, "deadline_ns": deadline_ns}

    async def ask(self, query: Q, answer_class: type[A]) -> A:
        """Send a query and return its answer, which may carry an error.

        Raises:
            TimedOut: no answer came before the query's deadline.
            BusUnavailable: Redis is away.
        """
        stream = self._bus.keys.answers(self._client)
        cursor = await self._bus.last_id(stream)
        await self._bus.append(self._bus.keys.queries, query, source=f"marketdata:{self._client}")
        while self._clock.wall_ns() < query.deadline_ns:
            left_ms = (query.deadline_ns - self._clock.wall_ns()) // NS_PER_MS + 1
            found = await self._bus.read({stream: cursor}, block_ms=min(_SLICE_MS, left_ms))
            for entry in found.get(stream, []):
                cursor = entry.entry_id
                try:
                    message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=stream).message
                except BadInput:
                    continue  # not for us to judge: ours either comes or times out
                if isinstance(message, answer_class) and message.query_id == query.query_id:
                    return message
        raise TimedOut(f"the gateway did not answer {query.TYPE} {query.query_id} in time: is a gateway READY?")
