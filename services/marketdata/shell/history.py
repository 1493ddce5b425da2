"""Historical bars of a contract: from the cache on disk, the rest from the gateway.

Files: `<cache>/<conId>/<what>-<rth|all>-<bar size>.mpz`, zlib over msgpack; written whole and renamed, so that a crash
leaves the old one. A file that cannot be read is dropped and asked for anew: it is a cache.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import msgpack
from pydantic import ValidationError

from services.marketdata.core.history import BAR_SIZES, BarCache
from services.marketdata.shell.questions import Questions
from shared.clock import Clock
from shared.errors import BadInput, BrokerUnavailable
from shared.logs import get_logger
from shared.messages.requests import HistoryAnswer, HistoryBar, HistoryQuery

_VERSION = 1
_ASK_TIMEOUT_S = 90.0
"""IB's pacing may hold a request back for a while; the gateway says so before this is over."""
_MAX_FILE_BYTES = 256 << 20


class History:
    """Asks for bars and remembers the closed ones.

    Args:
        questions: a client of the gateway.
        cache_dir: where files are kept.
        clock: tells what has closed.
    """

    def __init__(self, questions: Questions, cache_dir: Path, clock: Clock) -> None:
        self._questions = questions
        self._cache_dir = cache_dir
        self._clock = clock

    async def bars(
        self,
        con_id: int,
        start_ns: int,
        end_ns: int,
        bar_size: str,
        *,
        what_to_show: str = "TRADES",
        use_rth: bool = True,
    ) -> list[HistoryBar]:
        """Return the bars that open in `start_ns`..`end_ns` (wall ns UTC), oldest first.

        Raises:
            BadInput: an unknown bar size or an empty span.
            BrokerUnavailable: the broker's answer was an error; the sentence says which.
            TimedOut: no gateway answered.
        """
        length_s = BAR_SIZES.get(bar_size)
        if length_s is None:
            raise BadInput(f"{bar_size!r} is no bar size: choose from {', '.join(BAR_SIZES)}")
        if end_ns <= start_ns:
            raise BadInput(f"no bars between {start_ns} and {end_ns}: the end is not after the start")
        path = self._path(con_id, bar_size, what_to_show, use_rth=use_rth)
        cache = self._load(path, length_s)
        step_ns = cache.length_ns
        start_ns, end_ns = start_ns - start_ns % step_ns, -(-end_ns // step_ns) * step_ns
        running: list[HistoryBar] = []
        for request in cache.requests(start_ns, end_ns):
            query = HistoryQuery(
                **self._questions.head(_ASK_TIMEOUT_S),  # type: ignore[arg-type]
                con_id=con_id,
                end_ns=request.end_ns if request.end_ns < self._clock.wall_ns() else 0,
                duration=request.duration,
                bar_size=bar_size,
                what_to_show=what_to_show,
                use_rth=use_rth,
            )
            answer = await self._questions.ask(query, HistoryAnswer)
            if answer.error:
                raise BrokerUnavailable(f"no {bar_size} bars of #{con_id}: {answer.error} {answer.code}".rstrip())
            now_ns = self._clock.wall_ns()
            cache.add(request.span, answer.bars, now_ns)
            running = [bar for bar in answer.bars if bar.ts_ns + step_ns > now_ns] or running
            self._save(path, cache)
        found = {bar.ts_ns: bar for bar in (*running, *cache.between(start_ns, end_ns))}
        return [found[ts_ns] for ts_ns in sorted(found) if start_ns <= ts_ns < end_ns]

    def _path(self, con_id: int, bar_size: str, what: str, *, use_rth: bool) -> Path:
        if not what.replace("_", "").isalnum():
            raise BadInput(f"{what!r} is no kind of historical data: TRADES, MIDPOINT, BID, ASK …")
        hours = "rth" if use_rth else "all"
        return self._cache_dir / str(int(con_id)) / f"{what}-{hours}-{bar_size.replace(' ', '')}.mpz"

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
