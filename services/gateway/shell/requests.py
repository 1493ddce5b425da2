"""Answer queries: contract resolution, search, historical bars, what-if; bounded in number and time.

A query is answered before its deadline or never. One that failed gets an error, never an empty answer. Many may run at
once, up to `CONCURRENT`; above `WAITING` a query is refused at once with a clear error. That the broker refused one for
pacing stands in `broker-status` as well: who asked is told at once, `cq doctor` an hour later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.gateway import metrics
from services.gateway.core.pacing import HistoryPacer, Lane
from services.gateway.ports import QueryFailed
from services.gateway.shell.contracts import Contracts
from services.gateway.shell.ib_session import IbSession
from services.gateway.shell.outbox import Outbox
from services.gateway.shell.pace import Pace
from services.gateway.shell.what_if import WhatIf
from shared.bus.dead_letter import decode_or_keep
from shared.bus.ports import Bus, Entry
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.contracts import parse_contract
from shared.errors import (
    BrokerUnavailable,
    CqError,
    OutcomeUnknown,
    PacingRefused,
    TimedOut,
    TransientError,
    UnknownContract,
)
from shared.logs import get_logger
from shared.messages.control import PacingViolation
from shared.messages.market import ContractInfo
from shared.messages.requests import (
    NO_DATA,
    Answer,
    ContractAnswer,
    ContractQuery,
    HistoryAnswer,
    HistoryBar,
    HistoryQuery,
    Query,
    WhatIfAnswer,
    WhatIfQuery,
)

CONCURRENT = 8
WAITING = 200
KEEP_ANSWERS = 500
SMALL_BARS = ("1 secs", "5 secs", "10 secs", "15 secs", "30 secs")


class Requests:
    """The leader's answering desk."""

    def __init__(
        self, bus: Bus, outbox: Outbox, contracts: Contracts, *, source: str, instance: str, epoch: int,
        session: Callable[[], IbSession | None], pace: Pace, what_if: WhatIf, clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self._bus = bus
        self._outbox = outbox
        self._instance = instance
        self._contracts = contracts
        self._source = source
        self._epoch = epoch
        self._session = session
        self._clock = clock
        self._slots = asyncio.Semaphore(CONCURRENT)
        self._running = 0
        self._pacer = HistoryPacer()
        self._pace = pace
        self._what_if = what_if

    async def run(self) -> None:
        """Answer until cancelled; what was asked while nobody led is still answered if its deadline allows."""
        stream = self._bus.keys.queries
        entries = await self._recent(stream)
        cursor = "0-0"
        async with asyncio.TaskGroup() as group:
            while True:
                for entry in entries:
                    cursor = entry.entry_id
                    query = await self._decoded(entry)
                    if query is not None and query.deadline_ns > self._clock.wall_ns():
                        await self._accept(query, group)
                try:
                    entries = (await self._bus.read({stream: cursor}, block_ms=500)).get(stream, [])
                except TransientError:
                    entries = []
                    await self._clock.sleep(0.2)

    async def _recent(self, stream: str) -> list[Entry]:
        while True:
            try:
                return await self._bus.read_last(stream, KEEP_ANSWERS)
            except TransientError:
                await self._clock.sleep(0.2)

    async def _decoded(self, entry: Entry) -> Query | None:
        try:
            envelope = await decode_or_keep(self._bus, entry, consumer=self._source)
        except (TransientError, OutcomeUnknown) as e:  # whoever asked is told nothing, and asks again
            get_logger().error("dead_letter.failed", error=str(e))
            return None
        return envelope.message if envelope is not None and isinstance(envelope.message, Query) else None

    async def _accept(self, query: Query, group: asyncio.TaskGroup) -> None:
        if self._running >= WAITING:
            await self._reply(query, _failed(query, "QUERIES_FULL", f"{self._running} queries wait already: ask later"))
            return
        self._running += 1
        group.create_task(self._handle(query))

    async def _handle(self, query: Query) -> None:
        try:
            left_s = (query.deadline_ns - self._clock.wall_ns()) / NS_PER_S
            async with asyncio.timeout(max(0.001, left_s)), self._slots:
                answer = await self._answer(query)
        except TimeoutError:
            answer = _failed(query, "TIMED_OUT", "the broker did not answer before the query's deadline")
        except UnknownContract as e:
            answer = _failed(query, "UNKNOWN_CONTRACT", str(e), e.candidates)
        except PacingRefused as e:
            answer = _failed(query, e.code, e.text)
        except TimedOut as e:
            answer = _failed(query, "TIMED_OUT", str(e))
        except BrokerUnavailable as e:
            answer = _failed(query, _code_of(e), str(e))
            if isinstance(e, QueryFailed) and _is_pacing(e):
                self._note_pacing(query, e)
        except (CqError, ValueError) as e:
            answer = _failed(query, "BAD_QUERY", str(e))
        finally:
            self._running -= 1
        metrics.QUERIES.labels("failed" if answer.error else "answered").inc()
        await self._reply(query, answer)

    def _note_pacing(self, query: Query, e: QueryFailed) -> None:
        asked = f"{query.bar_size} bars of {query.duration}" if isinstance(query, HistoryQuery) else query.TYPE
        con_id = query.con_id if isinstance(query, HistoryQuery) else 0
        get_logger().warning("broker.pacing_violated", code=e.code, text=e.text, request=asked, con_id=con_id)
        said = PacingViolation(
            ts_init_ns=self._clock.wall_ns(), instance=self._instance, code=e.code, text=e.text, request=asked,
            con_id=con_id,
        )  # fmt: skip
        self._outbox.put(self._bus.keys.broker_status, said)

    async def _reply(self, query: Query, answer: Answer) -> None:
        while self._clock.wall_ns() < query.deadline_ns + NS_PER_S:
            try:
                await self._bus.answer(query.client, answer, source=self._source, epoch=self._epoch)
            except TransientError:
                await self._clock.sleep(0.1)
            except OutcomeUnknown:
                return
            else:
                return

    async def _answer(self, query: Query) -> Answer:
        if isinstance(query, WhatIfQuery):
            return await self._what_if.answer(query, limit_s=self._left_s(query))
        await self._pace.slot(Lane.HISTORY)
        if isinstance(query, ContractQuery):
            return await (self._search(query) if query.search else self._resolve(query))
        if isinstance(query, HistoryQuery):
            return await self._history(query)
        return _failed(query, "BAD_QUERY", f"a {query.TYPE} cannot be answered by this release")

    async def _resolve(self, query: ContractQuery) -> ContractAnswer:
        name = parse_contract(query.name)
        found = await self._contracts.resolve(name, text=query.name.strip().upper())
        if len(found) > 1:
            candidates = _candidates(found)
            return ContractAnswer(
                ts_init_ns=self._clock.wall_ns(), query_id=query.query_id, code="AMBIGUOUS",
                error=f"{query.name} could be {len(found)} contracts: write one of {', '.join(candidates[:10])}",
                contracts=tuple(found[:50]), candidates=tuple(candidates[:50]),
            )  # fmt: skip
        return ContractAnswer(ts_init_ns=self._clock.wall_ns(), query_id=query.query_id, contracts=tuple(found))

    async def _search(self, query: ContractQuery) -> ContractAnswer:
        session = self._open_session()
        names = await session.search(query.name, limit_s=self._left_s(query))
        return ContractAnswer(
            ts_init_ns=self._clock.wall_ns(), query_id=query.query_id, candidates=tuple(str(name) for name in names)
        )

    async def _history(self, query: HistoryQuery) -> HistoryAnswer:
        contract = await self._contracts.get(query.con_id)
        await self._wait_for_pacing(query)
        session = self._open_session()
        bars: list[HistoryBar] = await session.history(
            contract, end_ns=query.end_ns, duration=query.duration, bar_size=query.bar_size, what=query.what_to_show,
            use_rth=query.use_rth, limit_s=self._left_s(query),
        )  # fmt: skip
        return HistoryAnswer(
            ts_init_ns=self._clock.wall_ns(), query_id=query.query_id, con_id=query.con_id, bars=tuple(bars)
        )

    async def _wait_for_pacing(self, query: HistoryQuery) -> None:
        if query.bar_size not in SMALL_BARS:
            return
        kind = f"{query.duration}|{query.bar_size}|{query.what_to_show}|{query.use_rth}"
        identity = f"{query.con_id}|{query.end_ns}|{kind}"
        burst = f"{query.con_id}|{query.what_to_show}"
        cost = 2 if query.what_to_show == "BID_ASK" else 1
        while True:
            now_ns = self._clock.monotonic_ns()
            ready_ns = self._pacer.ready_ns(identity, burst, cost=cost, now_ns=now_ns)
            if ready_ns <= now_ns:
                self._pacer.sent(identity, burst, cost=cost, now_ns=now_ns)
                return
            wait_s = (ready_ns - now_ns) / NS_PER_S
            if wait_s > self._left_s(query):
                raise PacingRefused(
                    "PACING_HISTORY", f"IB's limit for small bars allows this request in {wait_s:.0f} s, not before"
                )
            await self._clock.sleep(wait_s)

    def _left_s(self, query: Query) -> float:
        return max(0.001, (query.deadline_ns - self._clock.wall_ns()) / NS_PER_S)

    def _open_session(self) -> IbSession:
        session = self._session()
        if session is None or not session.is_open:
            raise BrokerUnavailable("the gateway has no session with the broker now: ask later")
        return session


def _code_of(e: BrokerUnavailable) -> str:
    """Return the code of an answer; of 162 only the text tells "there are no bars" from pacing and outages."""
    code = e.code if isinstance(e, QueryFailed) else None
    if code == 162 and "query returned no data" in str(e):
        return NO_DATA
    return "BROKER_AWAY" if code is None else f"IB_{code}"


def _is_pacing(e: QueryFailed) -> bool:
    return e.code in (100, 420) or (e.code == 162 and "pacing violation" in e.text)


def _candidates(found: list[ContractInfo]) -> list[str]:
    """Return how to write each contract; by conId where two share a name."""
    counts: dict[str, int] = {}
    for info in found:
        counts[info.name] = counts.get(info.name, 0) + 1
    return [info.name if counts[info.name] == 1 else f"#{info.con_id}" for info in found]


def _failed(query: Query, code: str, error: str, candidates: list[str] | None = None) -> Answer:
    if isinstance(query, HistoryQuery):
        return HistoryAnswer(query_id=query.query_id, con_id=query.con_id, error=error, code=code)
    if isinstance(query, WhatIfQuery):
        return WhatIfAnswer(query_id=query.query_id, con_id=query.con_id, error=error, code=code)
    return ContractAnswer(query_id=query.query_id, error=error, code=code, candidates=tuple(candidates or ()))
