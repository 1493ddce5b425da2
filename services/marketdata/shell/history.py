"""Historical bars of a contract: from the cache on disk, the rest from the gateway.

Invariants:
1. What is asked twice at once is asked of the broker once: equal wishes share one job, and jobs of one series
   (contract, size, kind, hours) run one after the other: the later finds in the cache what the earlier fetched.
2. The bar that still grows is asked for again only after `RUNNING_FRESH_S`: IB refuses an identical request sooner.
3. A request that failed fails the wish; nothing of it is cached, and no bars at all is an error too.

Files: `<cache>/<conId>/<what>-<rth|all>-<bar size>.mpz`, zlib over msgpack; written whole and renamed, so that a crash
leaves the old one. A file that cannot be read is dropped and asked for anew: it is a cache.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgpack
from pydantic import ValidationError

from services.marketdata.core.history import BarCache, Request, Span, steps_back
from services.marketdata.metrics import HISTORY_ASKED
from services.marketdata.shell.questions import Questions
from shared.bar_sizes import BAR_SIZES, parse_bar_size
from shared.clock import NS_PER_S, Clock
from shared.errors import BadInput, BrokerUnavailable, CqError, InvariantBroken, PacingRefused, TimedOut
from shared.logs import get_logger
from shared.messages.requests import NO_DATA, HistoryAnswer, HistoryBar, HistoryQuery

_VERSION = 1
_ASK_TIMEOUT_S = 90.0
"""IB's pacing may hold a request back for a while; the gateway says so before this is over."""
_LEAST_S = 0.5
"""The gateway is asked to answer so long before the caller gives up, so that the caller learns the cause."""
_PACING_WAIT_S = 10.0
RUNNING_FRESH_S = 15.0
ASK_AT_ONCE = 3
"""The gateway answers eight queries at once; names of contracts must not wait behind bars."""
_MAX_FILE_BYTES = 256 << 20
MAX_BARS = 100_000


@dataclass(frozen=True, slots=True)
class Wish:
    """Which bars: those that open in `start_ns`..`end_ns` (wall ns UTC), or with `count` the last before the end.

    With `closed_only` the bar that still grows is left out.
    """

    con_id: int
    bar_size: str
    start_ns: int
    end_ns: int
    count: int = 0
    closed_only: bool = False
    what_to_show: str = "TRADES"
    use_rth: bool = True

    @property
    def length_ns(self) -> int:
        """Return the bar length."""
        return BAR_SIZES[self.bar_size] * NS_PER_S

    def checked(self, now_ns: int) -> Wish:
        """Return the wish with its times aligned to bars, the end not after the bar that grows now.

        Raises:
            BadInput: it means no bars.
        """
        size = parse_bar_size(self.bar_size)
        step_ns = BAR_SIZES[size] * NS_PER_S
        if not self.what_to_show.replace("_", "").isalnum():
            raise BadInput(f"{self.what_to_show!r} is no kind of historical data: TRADES, MIDPOINT, BID, ASK …")
        closed_ns = now_ns - now_ns % step_ns
        latest_ns = closed_ns if self.closed_only else closed_ns + step_ns
        end_ns = min(latest_ns, -(-self.end_ns // step_ns) * step_ns) if self.end_ns else latest_ns
        start_ns = 0 if self.count else self.start_ns - self.start_ns % step_ns
        if end_ns <= start_ns or self.count < 0:
            raise BadInput(f"no bars between {start_ns} and {end_ns}: the end is not after the start")
        wanted = self.count or (end_ns - start_ns) // step_ns
        if wanted > MAX_BARS:
            raise BadInput(f"{wanted} bars of {size} are more than the {MAX_BARS} that one query may ask for")
        return replace(self, bar_size=size, start_ns=start_ns, end_ns=end_ns)


class HistoryFailed(BrokerUnavailable):
    """The gateway or the broker answered a request for bars with an error; `code` is the answer's."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(slots=True)
class _Job:
    """One wish under way, for everybody who has it; `deadline_ns` is that of the most patient."""

    deadline_ns: int
    result: asyncio.Future[list[HistoryBar]]
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Series:
    """What is remembered of one file beside it: its lock, and the bar that grew when last asked."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    asked_ns: int = 0
    asked_span: Span = (0, 0)
    running: list[HistoryBar] = field(default_factory=list)


class History:
    """Asks for bars and remembers the closed ones; works between `open` and its end.

    Args:
        questions: a client of the gateway.
        cache_dir: where files are kept.
        clock: tells what has closed.
    """

    def __init__(self, questions: Questions, cache_dir: Path, clock: Clock) -> None:
        self._questions = questions
        self._cache_dir = cache_dir
        self._clock = clock
        self._jobs: dict[Wish, _Job] = {}
        self._series: dict[Path, _Series] = {}
        self._slots = asyncio.Semaphore(ASK_AT_ONCE)
        self._group: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let jobs run until the end of the block; what is under way then is given up."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                yield
            finally:
                self._group = None
                for job in self._jobs.values():
                    if job.task is not None:
                        job.task.cancel()

    async def bars(self, wish: Wish, *, deadline_ns: int = 0) -> list[HistoryBar]:
        """Return the bars of a wish, oldest first; never none.

        A caller that gives up (`deadline_ns`, wall time) leaves the job to run on: its answer is cached.

        Raises:
            BadInput: an unknown bar size or an empty span.
            HistoryFailed: the answer was an error, or that there are no bars; the sentence says which.
            PacingRefused: IB's pacing allows the request only after the deadline.
            TimedOut: the deadline came first.
        """
        now_ns = self._clock.wall_ns()
        wish = wish.checked(now_ns)
        deadline_ns = deadline_ns or now_ns + int(_ASK_TIMEOUT_S * NS_PER_S)
        job = self._jobs.get(wish)
        if job is None:
            if self._group is None:
                raise InvariantBroken("history was asked for bars outside of its `open` block")
            job = self._jobs[wish] = _Job(deadline_ns, asyncio.get_running_loop().create_future())
            job.task = self._group.create_task(self._run(wish, job))
        job.deadline_ns = max(job.deadline_ns, deadline_ns)
        left_s = max(0.0, (deadline_ns - self._clock.wall_ns()) / NS_PER_S)
        done, _ = await asyncio.wait([job.result], timeout=left_s)
        if not done:
            raise TimedOut(f"{wish.bar_size} bars of #{wish.con_id} are still being asked for: ask again later")
        return job.result.result()

    async def _run(self, wish: Wish, job: _Job) -> None:
        """Serve a wish; its error is the answer, never the end of the other jobs."""
        try:
            bars = await self._serve(wish)
        except asyncio.CancelledError:
            job.result.cancel()
            raise
        except (CqError, ValueError) as e:
            get_logger().info("history.failed", con_id=wish.con_id, bars=wish.bar_size, error=str(e))
            job.result.set_exception(e)
            job.result.exception()  # taken, should nobody wait any more
        else:
            job.result.set_result(bars)
        finally:
            del self._jobs[wish]

    async def _serve(self, wish: Wish) -> list[HistoryBar]:
        path = self._path(wish)
        series = self._series.setdefault(path, _Series())
        async with series.lock:
            cache = await asyncio.to_thread(self._load, path, BAR_SIZES[wish.bar_size])
            if wish.count:
                found = await self._last(wish, cache, series, path)
            else:
                found = await self._between(wish, cache, series, path, (wish.start_ns, wish.end_ns))
        if not found:
            what = f"{wish.bar_size} bars of #{wish.con_id} ({wish.what_to_show})"
            raise HistoryFailed(NO_DATA, f"the broker has no {what} in the time asked for")
        return found

    async def _last(self, wish: Wish, cache: BarCache, series: _Series, path: Path) -> list[HistoryBar]:
        found: list[HistoryBar] = []
        for span in steps_back(wish.end_ns, wish.count, BAR_SIZES[wish.bar_size]):
            found = [*await self._between(wish, cache, series, path, span), *found]
            if len(found) >= wish.count:
                break
        return found[-wish.count :]

    async def _between(self, wish: Wish, cache: BarCache, series: _Series, path: Path, span: Span) -> list[HistoryBar]:
        step_ns = wish.length_ns
        for request in cache.requests(*span):
            now_ns = self._clock.wall_ns()
            if request.span == series.asked_span and now_ns - series.asked_ns < RUNNING_FRESH_S * NS_PER_S:
                continue  # the bar that grows, asked a moment ago
            answer = await self._ask(wish, request)
            now_ns = self._clock.wall_ns()
            if answer.code != NO_DATA:
                cache.add(request.span, answer.bars, now_ns)
                await asyncio.to_thread(self._save, path, cache)
            if request.span[1] > now_ns - step_ns:
                series.asked_ns, series.asked_span = now_ns, (now_ns - now_ns % step_ns, request.span[1])
                series.running = [bar for bar in answer.bars if bar.ts_ns + step_ns > now_ns]
        found = {bar.ts_ns: bar for bar in (*series.running, *cache.between(*span))}
        return [found[ts_ns] for ts_ns in sorted(found) if span[0] <= ts_ns < span[1]]

    async def _ask(self, wish: Wish, request: Request) -> HistoryAnswer:
        """Ask the gateway once; where IB's pacing says not yet, again until the most patient caller gives up."""
        while True:
            async with self._slots:
                now_ns = self._clock.wall_ns()
                left_s = (self._deadline_ns(wish) - now_ns) / NS_PER_S
                limit_s = min(_ASK_TIMEOUT_S, max(_LEAST_S, left_s - _LEAST_S))
                HISTORY_ASKED.inc()
                query = HistoryQuery(
                    **self._questions.head(limit_s),  # type: ignore[arg-type]
                    con_id=wish.con_id,
                    end_ns=request.end_ns if request.end_ns < now_ns else 0,
                    duration=request.duration,
                    bar_size=wish.bar_size,
                    what_to_show=wish.what_to_show,
                    use_rth=wish.use_rth,
                )
                answer = await self._questions.ask(query, HistoryAnswer)
            if not answer.error or answer.code == NO_DATA:
                return answer
            if answer.code != "PACING_HISTORY":
                text = f"no {wish.bar_size} bars of #{wish.con_id}: {answer.error}"
                raise HistoryFailed(answer.code or "BROKER_AWAY", text)
            if self._clock.wall_ns() + _PACING_WAIT_S * NS_PER_S > self._deadline_ns(wish):
                raise PacingRefused(answer.code, answer.error)
            await self._clock.sleep(_PACING_WAIT_S)

    def _deadline_ns(self, wish: Wish) -> int:
        job = self._jobs.get(wish)
        return 0 if job is None else job.deadline_ns

    def _path(self, wish: Wish) -> Path:
        hours = "rth" if wish.use_rth else "all"
        size = wish.bar_size.replace(" ", "")
        return self._cache_dir / str(int(wish.con_id)) / f"{wish.what_to_show}-{hours}-{size}.mpz"

    def _load(self, path: Path, length_s: int) -> BarCache:
        try:
            raw = zlib.decompressobj().decompress(path.read_bytes(), _MAX_FILE_BYTES)
            content = msgpack.unpackb(raw)
            if content["v"] == _VERSION and content["length_s"] == length_s:
                spans = [(int(start), int(end)) for start, end in content["spans"]]
                return BarCache(length_s, spans, [HistoryBar.model_validate(row) for row in content["bars"]])
        except FileNotFoundError:
            pass
        except (OSError, zlib.error, ValueError, TypeError, KeyError, msgpack.UnpackException, ValidationError) as e:
            get_logger().warning("history.cache_dropped", path=str(path), error=str(e))
        return BarCache(length_s)

    def _save(self, path: Path, cache: BarCache) -> None:
        rows = [bar.model_dump(mode="json") for bar in cache.bars]
        content = {"v": _VERSION, "length_s": cache.length_ns // 1_000_000_000, "spans": cache.spans, "bars": rows}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(".new")
            fresh.write_bytes(zlib.compress(msgpack.packb(content), 3))
            fresh.replace(path)
        except OSError as e:
            get_logger().warning("history.not_cached", path=str(path), error=str(e))
