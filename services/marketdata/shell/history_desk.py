"""Answer history queries (`history-queries`): strategies, `cq history` and the SDK ask here, never the gateway.

A query is answered before its deadline or never; what was asked while nobody led is still answered if its deadline
allows. One that failed gets an error, never an empty answer. An answer comes in pieces of `PIECE` bars. Above `WAITING`
queries at once the next is refused with a clear error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.marketdata.metrics import HISTORY_ANSWERED
from services.marketdata.shell.history import History, HistoryFailed, Wish
from shared.bus.ports import Bus, Entry, LeaseToken
from shared.clock import NS_PER_S, Clock
from shared.errors import BadInput, CqError, OutcomeUnknown, PacingRefused, TimedOut, TransientError
from shared.logs import get_logger
from shared.messages import decode_fields
from shared.messages.requests import BarsAnswer, BarsQuery, HistoryBar

WAITING = 200
RECENT = 500
"""A new leader looks at so many queries for those that nobody answered."""
PIECE = 1000


class HistoryDesk:
    """The leader's third loop: history queries in, pieces of bars out."""

    def __init__(
        self,
        bus: Bus,
        history: History,
        source: str,
        clock: Clock,
        note: Callable[[BarsAnswer], None] | None = None,
    ) -> None:
        """`note` is told what units were given to look back on: the last closed bars of a kind."""
        self._bus = bus
        self._history = history
        self._source = source
        self._clock = clock
        self._note = note
        self._running = 0

    async def run(self, token: LeaseToken, may_act: Callable[[], bool]) -> None:
        """Answer until the lease is lost."""
        stream = self._bus.keys.history_queries
        entries: list[Entry] | None = None
        cursor = "0-0"
        async with self._history.open(), asyncio.TaskGroup() as group:
            while may_act():
                try:
                    if entries is None:
                        entries = await self._bus.read_last(stream, RECENT)
                    else:
                        entries = (await self._bus.read({stream: cursor}, block_ms=500)).get(stream, [])
                except (TransientError, OutcomeUnknown):
                    await self._clock.sleep(0.2)
                    continue
                for entry in entries:
                    cursor = entry.entry_id
                    query = await self._decoded(entry)
                    if query is not None and query.deadline_ns > self._clock.wall_ns():
                        self._accept(query, token, group)

    async def _decoded(self, entry: Entry) -> BarsQuery | None:
        try:
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
        except BadInput as e:
            get_logger().warning("entry.dead_lettered", stream=entry.stream, entry_id=entry.entry_id, error=str(e))
            try:
                await self._bus.dead_letter(entry, consumer=self._source, error=str(e))
            except (TransientError, OutcomeUnknown) as failed:
                get_logger().error("dead_letter.failed", error=str(failed))
            return None
        return message if isinstance(message, BarsQuery) else None

    def _accept(self, query: BarsQuery, token: LeaseToken, group: asyncio.TaskGroup) -> None:
        if self._running >= WAITING:
            answer = _failed(query, "QUERIES_FULL", f"{self._running} history queries wait already: ask later")
            group.create_task(self._reply(query, [answer], token))
            return
        self._running += 1
        group.create_task(self._handle(query, token))

    async def _handle(self, query: BarsQuery, token: LeaseToken) -> None:
        try:
            answers = await self._answers(query, token)
        finally:
            self._running -= 1
        HISTORY_ANSWERED.labels("failed" if answers[0].error else "answered").inc()
        if self._note is not None and query.count and query.closed_only:
            for answer in answers:
                if not answer.error:
                    self._note(answer)
        await self._reply(query, answers, token)

    async def _answers(self, query: BarsQuery, token: LeaseToken) -> list[BarsAnswer]:
        wish = Wish(
            query.con_id, query.bar_size, query.start_ns, query.end_ns, query.count, query.closed_only,
            query.what_to_show.upper(), query.use_rth,
        )  # fmt: skip
        try:
            bars = await self._history.bars(wish, deadline_ns=query.deadline_ns)
        except BadInput as e:
            return [_failed(query, "BAD_QUERY", str(e))]
        except PacingRefused as e:
            return [_failed(query, e.code, e.text)]
        except HistoryFailed as e:
            return [_failed(query, e.code, str(e))]
        except TimedOut as e:
            return [_failed(query, "TIMED_OUT", str(e))]
        except (TransientError, OutcomeUnknown) as e:
            return [_failed(query, "BUS_AWAY", str(e))]
        except (CqError, ValueError) as e:  # whatever one query meets, the others are answered
            get_logger().error("history.query_failed", query_id=query.query_id, error=f"{type(e).__name__}: {e}")
            return [_failed(query, "HISTORY_FAILED", str(e))]
        return pieces_of(query, bars, f"{self._source}.{token.epoch}.{query.query_id}", self._clock.wall_ns())

    async def _reply(self, query: BarsQuery, answers: list[BarsAnswer], token: LeaseToken) -> None:
        for answer in answers:
            while self._clock.wall_ns() < query.deadline_ns + NS_PER_S:
                try:
                    await self._bus.answer(query.client, answer, source=self._source, epoch=token.epoch)
                except TransientError:
                    await self._clock.sleep(0.1)
                    continue
                except OutcomeUnknown:
                    continue  # a piece that comes twice is one piece
                break


def pieces_of(query: BarsQuery, bars: list[HistoryBar], series: str, now_ns: int) -> list[BarsAnswer]:
    """Return an answer's pieces, oldest bars first."""
    return [
        BarsAnswer(
            ts_init_ns=now_ns, query_id=query.query_id, con_id=query.con_id, bar_size=query.bar_size,
            series=series, first=first, total=len(bars), bars=tuple(bars[first : first + PIECE]),
        )
        for first in range(0, len(bars), PIECE)
    ]  # fmt: skip


def _failed(query: BarsQuery, code: str, error: str) -> BarsAnswer:
    return BarsAnswer(query_id=query.query_id, con_id=query.con_id, error=error, code=code)
