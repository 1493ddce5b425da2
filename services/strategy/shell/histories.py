"""Load what units look back on before they start: asked of marketdata, in the background, again until it comes.

A unit whose bars cannot be had waits, with the reason in `cq strategies`; nothing else waits for it. pandas, where a
strategy needs it, is imported in a thread: the first import takes longer than a handler may.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.strategy.core.history import ClosedBar, closed_bar_of, hours_of
from services.strategy.shell.answers import Answers
from services.strategy.shell.loader import DeclaredUnit
from shared.bar_sizes import BAR_SIZES
from shared.bus.ports import Bus
from shared.clock import NS_PER_S, Clock, random_token
from shared.errors import OutcomeUnknown, TransientError
from shared.logs import get_logger
from shared.messages.market import ContractInfo
from shared.messages.requests import BarsAnswer, BarsPieces, BarsQuery

ASK_LIMIT_S = 120.0
ASK_AGAIN_S = 5.0
POLL_S = 0.1
MINUTE_S = 60

History = dict[tuple[int, str], list[ClosedBar]]
"""(conId, bar size) → bars, oldest first."""


@dataclass(slots=True)
class _Wanted:
    """One series for one unit."""

    name: str
    count: int
    query_id: str = ""
    asked_ns: int = 0
    due_ns: int = 0
    pieces: BarsPieces = field(default_factory=BarsPieces)
    bars: list[ClosedBar] | None = None
    error: str = ""


class HistoryBook:
    """The history of units that are about to start."""

    def __init__(self, bus: Bus, *, client: str, source: str, clock: Clock) -> None:
        self._bus = bus
        self._client = client
        self._source = source
        self._clock = clock
        self._answers = Answers(bus, client=client, source=source)
        self._wanted: dict[str, dict[tuple[int, str], _Wanted]] = {}
        self._by_query: dict[str, _Wanted] = {}
        self._has_imported = False

    def of_unit(self, declared: DeclaredUnit, contracts: Sequence[ContractInfo]) -> History | None:
        """Return the bars a unit needs and forget them; None while they are being asked for.

        Bars older than the last minute's end are asked for again: the unit reads its streams from now, and what closed
        in between would be in neither.
        """
        needs = declared.strategy.history
        if not needs:
            return {}
        wanted = self._wanted.setdefault(declared.unit_id, {})
        for info in contracts:
            for size, count in needs:
                wanted.setdefault((info.con_id, size), _Wanted(f"{count} x {size} of {info.name}", count))
        now_ns = self._clock.wall_ns()
        for (_, size), one in wanted.items():
            step_ns = max(MINUTE_S, BAR_SIZES[size]) * NS_PER_S
            if one.bars is not None and one.asked_ns // step_ns != now_ns // step_ns:
                one.bars, one.query_id, one.due_ns = None, "", 0
        loaded = {key: one.bars for key, one in wanted.items() if one.bars is not None}
        if len(loaded) < len(wanted) or not self._has_imported:
            return None
        self.forget(declared.unit_id)
        return loaded

    def why_missing(self, unit_id: str) -> str:
        """Return a sentence about the first series that has not come."""
        for one in self._wanted.get(unit_id, {}).values():
            if one.bars is None:
                return f"waits for history ({one.name})" + (f": {one.error}" if one.error else "")
        return "waits for history"

    def forget(self, unit_id: str) -> None:
        """Drop a unit: it has started, or another worker has it."""
        for one in self._wanted.pop(unit_id, {}).values():
            self._by_query.pop(one.query_id, None)

    async def run(self) -> None:
        """Ask for what is wanted and take the answers, for ever."""
        while True:
            if self._wanted:
                try:
                    await self._step()
                except (TransientError, OutcomeUnknown) as e:
                    get_logger().debug("history.delayed", error=str(e))
            await self._clock.sleep(POLL_S)

    async def _step(self) -> None:
        if not self._has_imported:
            with contextlib.suppress(ImportError):  # `history` says so to the strategy that calls it
                await asyncio.to_thread(importlib.import_module, "pandas")
            self._has_imported = True
        await self._take_answers()
        now_ns = self._clock.wall_ns()
        for wanted in list(self._wanted.values()):
            for (con_id, size), one in wanted.items():
                if one.bars is None and one.due_ns <= now_ns:
                    await self._ask(one, con_id, size, now_ns)

    async def _ask(self, one: _Wanted, con_id: int, size: str, now_ns: int) -> None:
        self._by_query.pop(one.query_id, None)
        one.query_id, one.pieces, one.asked_ns = random_token(), BarsPieces(), now_ns
        one.due_ns = now_ns + int((ASK_LIMIT_S + 1) * NS_PER_S)
        self._by_query[one.query_id] = one
        query = BarsQuery(
            ts_init_ns=now_ns, query_id=one.query_id, client=self._client, con_id=con_id, bar_size=size,
            deadline_ns=now_ns + int(ASK_LIMIT_S * NS_PER_S), count=one.count, closed_only=True,
            use_rth=hours_of(size) == "rth",
        )  # fmt: skip
        await self._bus.append(self._bus.keys.history_queries, query, source=self._source)

    async def _take_answers(self) -> None:
        for answer in await self._answers.take():
            one = self._by_query.get(answer.query_id) if isinstance(answer, BarsAnswer) else None
            if one is not None and isinstance(answer, BarsAnswer):
                self._answered(one, answer)

    def _answered(self, one: _Wanted, answer: BarsAnswer) -> None:
        if answer.error:
            if one.error != answer.error:
                get_logger().warning("history.missing", wanted=one.name, error=answer.error, code=answer.code)
            one.error = answer.error
            one.due_ns = self._clock.wall_ns() + int(ASK_AGAIN_S * NS_PER_S)
            return
        bars = one.pieces.add(answer)
        if bars is not None:
            one.bars = [closed_bar_of(bar) for bar in bars]
            one.error = ""
