"""Kill, stop, add and drain strategy workers while ticks flow at the simulator, and judge the hand-overs.

`python -m tests.chaos.handover --for 600` starts the local system (real processes, real Redis, gateway, guard, risk,
the simulator over TCP) with workers of its own (`pool.py`), and does to them, seeded, what operations and bad days do:
SIGKILL and start again, SIGSTOP for less or more than a lease and go on, scale up, scale down. A checker of its own
(`handover_checker.py`) reads the streams beside it. Totals over all runs are kept in `.cache/handover.json`.
Exit status 0 only if nothing was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from copilot_quant.desk import Desk, open_desk
from copilot_quant.local.books import fetch_truth
from copilot_quant.local.processes import services_of
from copilot_quant.local.system import LocalOptions, LocalSystem
from shared.bus.ports import FIRST, Entry
from shared.errors import CqError
from shared.messages import decode_fields
from shared.messages.market import TickKind, unpack_ticks
from shared.messages.orders import Fill, Intent
from shared.settings import BrokerSettings, load_settings
from tests.chaos.handover_checker import Account, HandoverChecker
from tests.chaos.pool import WorkerPool
from tests.chaos.waiting import until
from tests.chaos.witness import witness_file

ROOT = Path(__file__).resolve().parents[2]
TOTALS = ROOT / ".cache" / "handover.json"
SYMBOLS = ("AAPL", "MSFT", "GOOGL", "AMZN", "IBM", "SPY", "NVDA", "TSLA")
EVERY = 20
MOST_WORKERS = 5
LEASE_S = 1.0
UP_SHARE = 0.25
START_LIMIT_S = 120.0
SETTLE_LIMIT_S = 60.0
LOCAL: dict[str, Any] = {
    "gateways": 1,
    "workers": 0,
    "lease_ttl_s": LEASE_S,
    "simulator": {"SIM_TICK_RATE": "15", "SIM_CASH": "10000000"},
}
QUOTE = int(TickKind.QUOTE)


@dataclass
class Report:
    """Counts of one run, or of all of them."""

    seconds: float = 0.0
    kills: int = 0
    stops: int = 0
    ups: int = 0
    downs: int = 0
    quotes: int = 0
    fills: int = 0
    intents: int = 0
    moves: int = 0
    sent_twice: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def acts(self) -> int:
        """Return how many crashes and scalings there were."""
        return self.kills + self.stops + self.ups + self.downs

    def add(self, other: Report) -> None:
        """Add another run's counts."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def text(self) -> str:
        """Return the counts for people."""
        lines = [
            f"{self.acts} acts in {self.seconds:.0f} s: {self.kills} SIGKILL, {self.stops} SIGSTOP, {self.ups} up, "
            f"{self.downs} down",
            f"{self.quotes} quotes and {self.fills} executions handed to units, {self.intents} intents, "
            f"{self.moves} times from another worker or life than the one before; orders sent twice {self.sent_twice}",
            f"skipped, doubled or from two workers: {len(self.wrong)}",
        ]
        return "\n".join([*lines, *(f"  {sentence}" for sentence in self.wrong[:10])])


class StreamReader:
    """Feeds the checker from the streams, from their first entries on."""

    def __init__(self, desk: Desk, checker: HandoverChecker) -> None:
        self._desk = desk
        self._checker = checker
        keys = desk.keys
        self._ticks = [keys.ticks(partition) for partition in range(keys.tick_partitions)]
        self._cursors = dict.fromkeys([*self._ticks, keys.fills, keys.intents], FIRST)

    async def run(self) -> None:
        """Read for ever."""
        while True:
            await self.step(block_ms=100)

    async def step(self, *, block_ms: int | None = None) -> int:
        """Read on once and return how many entries came."""
        bus, checker = self._desk.bus, self._checker
        for unit in checker.without_beginning:
            record = await bus.load_unit(unit)
            if record.state and (began := json.loads(record.state).get("began")):
                checker.began(unit, began)
        found = await bus.read(self._cursors, count=500, block_ms=block_ms)
        for stream, entries in found.items():
            self._cursors[stream] = entries[-1].entry_id
            take = self._take_ticks if stream in self._ticks else self._take_message
            for entry in entries:
                take(stream, entry)
        return sum(len(entries) for entries in found.values())

    def _take_ticks(self, stream: str, entry: Entry) -> None:
        for tick in unpack_ticks(entry.fields[b"body"]):
            if tick.kind == QUOTE:
                quote = (tick.ts_event_ns, tick.a, tick.b, tick.c, tick.d)
                self._checker.quote(stream, entry.entry_id, tick.con_id, quote)

    def _take_message(self, stream: str, entry: Entry) -> None:
        message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=stream).message
        if isinstance(message, Fill):
            self._checker.fill(
                stream, entry.entry_id, message.con_id, message.strategy, message.exec_stem, message.exec_id
            )
        elif isinstance(message, Intent) and message.unit:
            worker, epoch = entry.fields[b"source"].decode(), int(entry.fields[b"epoch"])
            self._checker.intent(message.unit, message.intent_id, message.reason, worker, epoch)


class Drill:
    """Does things to workers, seeded; never leaves none of them."""

    def __init__(self, pool: WorkerPool, seed: int, report: Report) -> None:
        self._pool = pool
        self._random = random.Random(seed)
        self._report = report
        self._later: set[asyncio.Task[None]] = set()
        self._busy: set[str] = set()
        self._names = 2

    async def run(self, seconds: float, tell: Callable[[str], None]) -> None:
        """Act until the time is over, then wait for what was begun."""
        until = time.monotonic() + seconds
        told = time.monotonic()
        while time.monotonic() < until:
            await asyncio.sleep(self._random.uniform(0.05, 0.8))
            await self._act()
            if dead := self._pool.dead():
                raise CqError(f"workers ended by themselves: {dead}")
            if time.monotonic() - told > 30:
                told = time.monotonic()
                tell(f"{self._report.acts} acts, workers {len(self._pool.names)}")
        await asyncio.gather(*self._later)

    async def _act(self) -> None:
        free = [name for name in self._pool.names if name not in self._busy]
        acts = [self._kill] * 5 + [self._stop] * 3 + [self._down] * 2 * (len(free) > 1)
        has_room = len(self._pool.names) + len(self._busy - set(self._pool.names)) < MOST_WORKERS
        if has_room and self._random.random() < UP_SHARE:
            self._names += 1
            self._pool.start(f"w{self._names}")
            self._report.ups += 1
        elif free:
            task = asyncio.create_task(self._random.choice(acts)(self._random.choice(free)))
            self._later.add(task)
            task.add_done_callback(self._later.discard)

    async def _kill(self, name: str) -> None:
        self._report.kills += 1
        self._busy.add(name)
        self._pool.kill(name)
        await asyncio.sleep(self._random.choice((0.0, 0.1, 0.5, LEASE_S, 2 * LEASE_S)))
        self._pool.start(name)
        self._busy.discard(name)

    async def _stop(self, name: str) -> None:
        self._report.stops += 1
        self._busy.add(name)
        self._pool.stop(name)
        await asyncio.sleep(self._random.choice((0.05, 0.3, 0.9, 1.1, 2.5)) * LEASE_S)
        self._pool.go_on(name)
        self._busy.discard(name)

    async def _down(self, name: str) -> None:
        self._report.downs += 1
        self._busy.add(name)
        await asyncio.to_thread(self._pool.drain, name)
        self._busy.discard(name)


async def _all_began(checker: HandoverChecker) -> bool:
    return not checker.without_beginning


async def _is_caught_up(desk: Desk, units: dict[str, int], behind: dict[str, str]) -> bool:
    """Return whether every unit has saved that it read its ticks and executions to the end."""
    behind.clear()
    for unit, con_id in units.items():
        cursors = (await desk.bus.load_unit(unit)).cursors
        for stream in (desk.keys.ticks(desk.keys.partition(con_id)), desk.keys.fills):
            if cursors.get(stream) != (last := await desk.bus.last_id(stream)):
                behind[unit] = f"{stream}: {cursors.get(stream)} of {last}"
    return not behind


async def _settle(system: LocalSystem, desk: Desk, reader: StreamReader, checker: HandoverChecker) -> None:
    """Stop the market, let the units come to the end of their streams, and compare with their last states."""
    units = await _contracts(desk)
    await asyncio.sleep(2.0)  # what was ordered last fills
    await asyncio.to_thread(system.supervisor.stop_process, "gateway-1")
    behind: dict[str, str] = {}
    try:
        await until("reading to the end", SETTLE_LIMIT_S, partial(_is_caught_up, desk, units, behind))
    except TimeoutError:
        for unit, where in behind.items():
            checker.wrong.append(f"{unit} does not read to the end: {where}")
    while await reader.step():
        pass
    for unit in units:
        state = json.loads((await desk.bus.load_unit(unit)).state)["user"]
        checker.end(unit, Account(**state))


async def _contracts(desk: Desk) -> dict[str, int]:
    stored = await desk.bus.hash_get_all(desk.keys.contract_names)
    return {f"witness/{symbol}": int(stored[symbol]) for symbol in SYMBOLS if symbol in stored}


async def _all_known(desk: Desk) -> bool:
    return len(await _contracts(desk)) == len(SYMBOLS)


async def run(seconds: float, seed: int, *, keep: bool, tell: Callable[[str], None]) -> Report:
    """Run the drill once and return its report."""
    report = Report()
    system = LocalSystem(LocalOptions(**LOCAL, keep_files=keep), ROOT)
    plan = replace(system.plan, workers=1, strategies_file=str(witness_file(system.run_dir, SYMBOLS, EVERY)))
    worker = next(process for process in services_of(plan) if process.name == "strategy-1")
    logs = system.run_dir / "logs"
    pool = WorkerPool({**worker.env, "STRATEGY_MAX_ERRORS": "1000"}, logs)
    try:
        await system.start(tell)
        os.environ.update({**system.operator_env(), "CQ_ENV_FILE": ""})
        async with open_desk(load_settings(BrokerSettings), client_name="cq-drill") as desk:
            for name in ("w1", "w2"):
                pool.start(name)
            await until("contracts", START_LIMIT_S, partial(_all_known, desk))
            checker = HandoverChecker(await _contracts(desk), EVERY, "witness")
            reader = StreamReader(desk, checker)
            reading = asyncio.create_task(reader.run())
            await until("the units' beginning", START_LIMIT_S, partial(_all_began, checker))
            tell(f"seed {seed}: {len(SYMBOLS)} units run")
            begun = time.monotonic()
            await Drill(pool, seed, report).run(seconds, tell)
            report.seconds = time.monotonic() - begun
            reading.cancel()
            await asyncio.wait([reading])
            if not reading.cancelled():
                raise CqError(f"the checker stopped reading: {reading.exception()}")
            await _settle(system, desk, reader, checker)
            truth = await fetch_truth(system.simulator_http)
            report.sent_twice = int(truth["counts"]["orders_sent_twice"])
            report.quotes, report.fills, report.intents = checker.quotes, checker.fills, checker.intents
            report.moves, report.wrong = checker.moves, checker.wrong
    finally:
        await asyncio.to_thread(pool.end)
        is_bad = bool(report.wrong) or not report.intents
        await asyncio.to_thread(lambda: system.stop(keep_files=keep or is_bad))
        if is_bad:
            tell(f"logs are kept in {system.run_dir}")
    return report


def add_to_totals(report: Report, path: Path = TOTALS) -> Report:
    """Add a run to what all runs so far came to, and return that."""
    total = Report(**json.loads(path.read_text())) if path.is_file() else Report()
    total.add(report)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(asdict(total), indent=1))
    return total


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--for", dest="seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="default: one per run so far")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    options = parser.parse_args()
    seed = options.seed
    if seed is None:
        seed = Report(**json.loads(TOTALS.read_text())).acts + 1 if TOTALS.is_file() else 1
    report = asyncio.run(
        run(options.seconds, seed, keep=options.keep, tell=lambda line: print(line, file=sys.stderr, flush=True))
    )
    print(report.text())
    total = add_to_totals(report)
    print(f"all runs so far: {total.text()}")
    return 1 if report.wrong or report.sent_twice or not report.intents else 0


if __name__ == "__main__":
    sys.exit(main())
