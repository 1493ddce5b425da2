"""What a tick costs as the system grows: more symbols, more strategies, more workers, a reader far behind.

`python -m bench.growth --save` measures and writes `growth.md`, `growth.svg` and `growth.json`; the report quotes them.
All costs are CPU time, so that what else the machine does moves them less than it would wall time.

- **gateway**: its feed is told prices and sizes as its session would, 500 messages a network read over all symbols;
  merging, checking, packing and publishing to a real Redis, for each message.
- **worker**: real services in processes of their own on a real Redis (`bench/workers.py`). Each symbol is quoted so
  many times a second, fifty symbols together at most, so that what there is to do grows with their number as it does in
  life; the CPU time of all workers, until every unit has saved the last quote, less what idle ones take in that time,
  for each quote handed to a unit. By symbols: one strategy, one worker. By strategies: ten symbols, one worker, every
  strategy on each. By workers: a hundred symbols; every worker takes apart what the partitions that it reads carry, so
  the sum of their time grows, but may not grow as they do.
- **behind**: a reader that stopped while others go on. Entries of 500 ticks go to one stream, where they are kept
  within its bound of entries; a reader that keeps up takes each tick apart. At last the one behind reads all of it,
  from the oldest entry on. Each figure is of the tenth that was published up to, or read from, that many ticks on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from bench.bus import SOURCE, lead, quotes, run
from bench.growth_report import Series, picture, table
from bench.measuring import machine
from bench.server import BenchServer
from bench.workers import Desk, until
from services.gateway.core.tws_codes import CodeTable
from services.gateway.shell.feed import FeedDesk
from services.gateway.shell.outbox import Outbox
from services.gateway.shell.pace import Pace
from shared.bus.keys import Keys
from shared.bus.ports import FIRST
from shared.bus.redis_client import RedisBus, open_bus
from shared.bus.tail import Batch, TailReader
from shared.bus.writer import TICK_STREAM_ENTRIES
from shared.messages.market import TICK_RECORD, pack_valid, unpack_ticks

DATA, REPORT, PICTURE = (Path(__file__).parent / f"growth.{kind}" for kind in ("json", "md", "svg"))
SYMBOLS, STRATEGIES, WORKERS = (10, 100, 500), (1, 10, 50), (1, 2, 4)
FEW, SOME = 10, 100
READ = 500
"""Messages of one network read of the gateway, and ticks of an entry where a reader falls behind."""
MESSAGES = 100_000
PER_S, TOGETHER, WARM = 20.0, 50, 20
"""Quotes of each symbol a second; symbols published together; quotes of each before a measurement."""
QUOTED_S, IDLE_S = 10.0, 5.0
BEHIND = 10_000_000
FLAT, LINEAR = 0.25, 1.0
"""Exponents of a cost per tick: as good as constant, with room for the machine's noise; as large as what grows."""


def gateway_series() -> Series:
    """Return the series of the gateway's feed, empty."""
    return Series("a message in the gateway", "symbols", "us", FLAT)


async def _gateway(server: BenchServer, symbols: int, messages: int) -> float:
    """Return the CPU time of a message."""
    bus = open_bus(server.url, Keys(f"gateway-{symbols}"))
    token = await lead(bus)
    desk = FeedDesk(
        bus, Outbox(bus, SOURCE), cast("Any", None), CodeTable(), source=SOURCE, session=lambda: None, pace=Pace()
    )
    for req_id in range(symbols):
        desk.feed.subscribe(req_id, 265_000 + req_id, time.time_ns())
    publishing = asyncio.create_task(desk.run_ticks(token, lambda: True))
    used = time.process_time()
    for first in range(0, messages, READ):
        desk.read_began()
        for number in range(first, first + READ):
            side, price = 1 + number // symbols % 2, 100 + number // symbols % 50 / 100
            desk.price_tick(number % symbols, side, price, 200.0)
        desk.read_ended()
        while desk.feed.waiting:
            await asyncio.sleep(0.001)
    publishing.cancel()
    used = time.process_time() - used
    await bus.close()
    return used / messages * 1e6


def _cpu_s(pids: list[int]) -> float:
    tasks = [path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(path.read_text().split()[0]) for path in tasks) / 1e9


async def _worker(server: BenchServer, *, symbols: int, strategies: int, workers: int, share: float) -> float:
    """Return the CPU time of all workers for each quote handed to a unit."""
    server.flush()
    name = f"grow-{symbols}-{strategies}-{workers}"
    desk = Desk(server, name, contracts=symbols, strategies=strategies, batch=1)
    try:
        await desk.open(workers)
        pids = [process.pid for process in desk.workers.values()]
        await desk.publish(WARM, at_once=TOGETHER)
        await until(desk.all_saved)
        used, begun = _cpu_s(pids), time.perf_counter()
        await asyncio.sleep(IDLE_S * max(0.2, share))
        idle = (_cpu_s(pids) - used) / (time.perf_counter() - begun)
        used, begun = _cpu_s(pids), time.perf_counter()
        quoted = max(WARM, round(QUOTED_S * PER_S * share))
        await desk.publish(quoted, at_once=TOGETHER, per_s=PER_S)
        await until(desk.all_saved)
        spent = _cpu_s(pids) - used - idle * (time.perf_counter() - begun)
        if any(state["wrong"] or state["seen"] != desk.sent for state in await desk.states()):
            raise RuntimeError(f"{name}: quotes were lost or doubled")
        return spent / quoted / len(desk.units) * 1e6
    finally:
        await desk.close()


def _redis_cpu_s(server: BenchServer) -> float:
    used: Any = server.client().info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


class Behind:
    """One stream, one publisher, a reader that keeps up, and one that stopped."""

    def __init__(self, server: BenchServer, ticks: int) -> None:
        self._server = server
        self._ticks = ticks
        self.going_on = Series("a tick published and read at once", "ticks that another is behind", "us", FLAT)
        self.redis = Series("the same in Redis", "ticks that another is behind", "us", FLAT)
        self.memory = Series("a tick kept in Redis", "ticks kept", "bytes", FLAT)
        self.catching_up = Series("a tick read by who is behind", "ticks it is behind", "us", FLAT)
        self.series = [self.going_on, self.redis, self.memory, self.catching_up]

    def _marks(self) -> list[int]:
        return [self._ticks // share for share in (10, 5, 2, 1)]

    async def measure(self) -> None:
        """Fall behind, then catch up."""
        self._server.flush()
        bus = open_bus(self._server.url, Keys("behind"))
        token = await lead(bus)
        stream, body = bus.keys.ticks(0), pack_valid(quotes(READ))[0]
        before = int(cast("Any", self._server.client().info("memory"))["used_memory"])
        live, part, sent = TailReader(bus, {stream: FIRST}), self._ticks // 10, 0
        for mark in self._marks():
            while sent < mark - part:
                sent += await self._go_on(bus, token, live, body)
            used, redis_used, first = time.process_time(), _redis_cpu_s(self._server), sent
            while sent < mark:
                sent += await self._go_on(bus, token, live, body)
            self.going_on.add(mark, (time.process_time() - used) / (sent - first) * 1e6)
            self.redis.add(mark, (_redis_cpu_s(self._server) - redis_used) / (sent - first) * 1e6)
            kept = int(cast("Any", self._server.client().info("memory"))["used_memory"]) - before
            self.memory.add(mark, kept / sent)
        await self._catch_up(TailReader(bus, {stream: FIRST}), sent, part)
        await bus.close()

    @staticmethod
    async def _go_on(bus: RedisBus, token: Any, live: TailReader, body: bytes) -> int:
        for _ in range(10):
            await bus.publish_ticks(token, [(0, body)], source=SOURCE)
        return _taken(await live.read(count=100, block_ms=None))

    async def _catch_up(self, slow: TailReader, behind: int, part: int) -> None:
        """Read everything; the cost of a tick is noted after a tenth from each mark on."""
        for mark in sorted(self._marks(), reverse=True):
            while behind > mark:
                behind -= await self._take(slow)
            used, first = time.process_time(), behind
            while behind > max(0, mark - part):
                behind -= await self._take(slow)
            self.catching_up.add(mark, (time.process_time() - used) / (first - behind) * 1e6)
        if behind:
            raise RuntimeError(f"{behind} ticks that were published are missing")

    @staticmethod
    async def _take(slow: TailReader) -> int:
        found = await slow.read(count=10, block_ms=None)
        if found.gaps or not found.entries:
            raise RuntimeError("the stream lost what nobody had read")
        return _taken(found)


def _taken(found: Batch) -> int:
    """Take every tick of a read apart; return how many there were."""
    entries = [entry for rows in found.entries.values() for entry in rows]
    return sum(1 for entry in entries for _ in unpack_ticks(entry.fields[b"body"]))


def affordable(wanted: int) -> int:
    """Return how many ticks a reader may be behind here: within the stream's bound and a quarter of free memory."""
    rows = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(rows["MemAvailable"].split()[0]) * 1024
    return min(wanted, TICK_STREAM_ENTRIES * READ, free // 4 // TICK_RECORD.size) // 10_000 * 10_000


def measure(rounds: int, *, share: float) -> list[Series]:
    """Return every series; `share` of the full amount of work."""
    gateway = gateway_series()
    by_symbols = Series("a quote in a worker", "symbols", "us", FLAT)
    by_strategies = Series("a quote in a worker", "strategies", "us", FLAT)
    by_workers = Series("a quote in all workers", "workers", "us", LINEAR)
    cases: list[tuple[Series, int, dict[str, int]]] = [
        *[(by_symbols, size, {"symbols": size, "strategies": 1, "workers": 1}) for size in SYMBOLS],
        *[(by_strategies, size, {"symbols": FEW, "strategies": size, "workers": 1}) for size in STRATEGIES],
        *[(by_workers, size, {"symbols": SOME, "strategies": 1, "workers": size}) for size in WORKERS],
    ]
    with BenchServer() as server:
        behind = Behind(server, affordable(max(100_000, int(BEHIND * share))))
        for number in range(rounds):
            for size in SYMBOLS:
                run(_into(gateway, size, _gateway(server, size, max(5_000, int(MESSAGES * share)))))
            for series, size, case in cases:
                run(_into(series, size, _worker(server, **case, share=share)))
                print(f"  {series.name}, {size} {series.size}: {series.costs[size][-1]:.3g} us", file=sys.stderr)
            run(behind.measure())
            print(f"  round {number + 1} of {rounds}", file=sys.stderr)
    return [gateway, by_symbols, by_strategies, by_workers, *behind.series]


async def _into(series: Series, size: int, cost: Awaitable[float]) -> None:
    series.add(size, await cost)


def page(found: dict[str, Any]) -> list[str]:
    """Return a saved result as Markdown."""
    series = [
        Series(**{**row, "costs": {int(at): costs for at, costs in row["costs"].items()}}) for row in found["series"]
    ]
    about = (__doc__ or "").split("\n\n", 2)[2].strip()
    head = f"{found['machine']}; medians of {found['rounds']} rounds; load {found['load']}."
    return [about, "", head, "", *table(series), "", "![what a tick costs](growth.svg)"]


def report() -> list[str]:
    """Return the lines of the report, or what is to be done for them."""
    head = ["", "## Growth", ""]
    if not DATA.exists():
        return [*head, "Not measured: `python -m bench.growth --save`."]
    return [*head, *page(json.loads(DATA.read_text()))]


def main() -> int:
    """Measure, print, and fail where something grows worse than it may."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the full amount of work; 0.02 is a quick look")
    parser.add_argument("--save", action="store_true", help="write the page, the picture and the figures")
    options = parser.parse_args()
    loads = [os.getloadavg()[0]]
    series = measure(options.rounds, share=options.share)
    loads.append(os.getloadavg()[0])
    found = {
        "machine": machine(), "rounds": options.rounds, "load": f"{min(loads):.1f} to {max(loads):.1f}",
        "series": [asdict(one) for one in series],
    }  # fmt: skip
    if options.save:
        DATA.write_text(json.dumps(found, indent=1) + "\n")
        PICTURE.write_text(picture(series))
        REPORT.write_text("\n".join(["# Growth", "", *page(json.loads(DATA.read_text()))]) + "\n")
    print("\n".join(table(series)))
    return 0 if all(one.is_right for one in series) else 1


if __name__ == "__main__":
    sys.exit(main())
