"""Strategy workers: throughput with 1, 2 and 4 of them on 100 contracts, and how long a hand-over takes.

Every worker is the real service in a process of its own, on a real Redis; 100 units with one contract each, spread over
them. The quotes of a contract are numbered: each unit counts them, one lost or doubled would show in its saved state.
Throughput is from the first quote's publication to the moment when every unit has **saved** the last one, so publishing
and committing are in it. On a machine with fewer cores than workers, more workers share the same cores.

A hand-over is from the signal (SIGTERM: drained; SIGKILL: the lease of 1 s has to run out) to the moment when another
worker owns the last of the units.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.measuring import Row
from bench.server import BenchServer
from shared.bus.keys import Keys
from shared.bus.ports import LeaseToken, LeaseView
from shared.bus.redis_client import RedisBus, open_bus
from shared.messages.codec import encode_body
from shared.messages.market import ContractInfo, Tick, pack_ticks, quote_tick

CONTRACTS = 100
QUOTES = 600
"""Of each contract and round."""
BATCH = 5
LEASE_S = 1.0
LIMIT_S = 180.0


class Desk:
    """A deployment of nothing but workers.

    Args:
        server: its Redis.
        name: of the deployment.
        contracts: how many there are; every strategy has a unit on each.
        strategies: how many there are, all of the same class.
        batch: how many quotes of each contract are published together.
    """

    def __init__(
        self, server: BenchServer, name: str, *, contracts: int = CONTRACTS, strategies: int = 1, batch: int = BATCH
    ) -> None:
        self.url = server.url
        self.bus: RedisBus = open_bus(server.url, Keys(name))
        self.name = name
        self.con_ids = range(1, contracts + 1)
        self.units = [f"{strategy}/C{con_id}" for strategy in _names(strategies) for con_id in self.con_ids]
        self._strategies, self._batch = strategies, batch
        self.folder = Path(tempfile.mkdtemp(prefix="cq-bench-"))
        self.sent = 0
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._token: LeaseToken | None = None

    async def open(self, workers: int) -> None:
        """Put contracts on the bus, start the workers, and wait until every unit runs."""
        bus = self.bus
        await bus.hash_set(bus.keys.identity, {"id": self.name, "account": "DUSIM0001", "mode": "sim"})
        for con_id in self.con_ids:
            name = f"C{con_id}"
            info = ContractInfo(con_id=con_id, name=name, symbol=name, sec_type="STK", exchange="SMART", currency="USD")
            await bus.hash_set(bus.keys.contract_names, {name: str(con_id)})
            await bus.hash_set(bus.keys.contracts, {str(con_id): encode_body(info)})
        self._token = await bus.lease_acquire("gateway", "bench", LeaseView(), at_least_epoch=1)
        assert self._token is not None
        await bus.raise_fence(self._token)
        names = ", ".join(f'"C{con_id}"' for con_id in self.con_ids)
        body = f'file = "{Path(__file__).parent / "counting.py"}"\nclass = "Counting"\ncontracts = [{names}]\n'
        file = self.folder / "strategies.toml"
        file.write_text("".join(f"[strategy.{name}]\n{body}" for name in _names(self._strategies)))
        for number in range(1, workers + 1):
            self._start(f"w{number}", file)
        await until(self._all_run)

    def _start(self, name: str, file: Path) -> None:
        env = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("CQ_", "REDIS_", "STRATEGY_"))},
            "CQ_ENV_FILE": "", "CQ_MODE": "sim", "CQ_DEPLOYMENT": self.name, "CQ_INSTANCE": name,
            "REDIS_URL": self.url, "CQ_LEASE_TTL_S": str(LEASE_S), "STRATEGIES_FILE": str(file),
        }  # fmt: skip
        log = (self.folder / f"{name}.log").open("wb")
        with log:
            self.workers[name] = subprocess.Popen(
                [sys.executable, "-m", "services.strategy"], env=env, stdout=log, stderr=log
            )

    async def _all_run(self) -> bool:
        rows = [json.loads(row) for row in (await self.bus.hash_get_all(self.bus.keys.strategies)).values()]
        owners = {row["owner"] for row in rows if row["state"] == "running"}
        return sum(row["state"] == "running" for row in rows) == len(self.units) and owners == set(self.workers)

    async def publish(self, quotes: int = QUOTES, *, at_once: int | None = None, per_s: float = 0.0) -> None:
        """Publish every contract's next quotes, in batches as a gateway would.

        Args:
            quotes: how many of each contract.
            at_once: how many contracts are published together, all by default.
            per_s: quotes of each contract a second; 0 publishes as fast as it goes.
        """
        assert self._token is not None
        step = at_once or len(self.con_ids)
        groups = [self.con_ids[start : start + step] for start in range(0, len(self.con_ids), step)]
        begun = time.perf_counter()
        for turn, first in enumerate(range(self.sent + 1, self.sent + quotes + 1, self._batch)):
            for number, con_ids in enumerate(groups):
                if per_s:
                    due = begun + (turn + number / len(groups)) * self._batch / per_s
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                packed = self._packed(con_ids, range(first, first + self._batch))
                await self.bus.publish_ticks(self._token, packed, source="bench")
        self.sent += quotes

    def _packed(self, con_ids: range, numbers: range) -> list[tuple[int, bytes]]:
        now_ns = time.time_ns()
        partitions: dict[int, list[Tick]] = {}
        for number in numbers:
            for con_id in con_ids:
                quote = quote_tick(con_id, now_ns, now_ns, 1, float(number), 1.0, number + 1.0, 1.0)
                partitions.setdefault(self.bus.keys.partition(con_id), []).append(quote)
        return [(partition, pack_ticks(found)) for partition, found in partitions.items()]

    async def states(self) -> list[dict[str, int]]:
        """Return what the units have saved."""
        records = [await self.bus.load_unit(unit) for unit in self.units]
        return [json.loads(record.state).get("user", {}) for record in records]

    async def all_saved(self) -> bool:
        """Return whether every unit has saved the last quote."""
        return all(state.get("seen", 0) >= self.sent for state in await self.states())

    async def round(self) -> float:
        """Return quotes handed to units per second, over one round."""
        begun = time.perf_counter()
        publishing = asyncio.create_task(self.publish())
        await until(publishing_done(publishing), every_s=0.02)
        await until(self.all_saved, every_s=0.05)
        return len(self.units) * QUOTES / (time.perf_counter() - begun)

    async def hand_over(self, name: str, number: signal.Signals) -> float:
        """Signal a worker and return how long it takes until others own all of its units."""

        async def moved() -> bool:
            records = [await self.bus.load_unit(unit) for unit in self.units]
            return all(record.owner not in ("", name) for record in records)

        begun = time.perf_counter()
        self.workers.pop(name).send_signal(number)
        await until(moved, every_s=0.01)
        return time.perf_counter() - begun

    async def close(self) -> None:
        """End everything."""
        for process in self.workers.values():
            process.kill()
            process.wait(10)
        await self.bus.close()


def _names(strategies: int) -> list[str]:
    return ["counting", *[f"counting-{number}" for number in range(2, strategies + 1)]]


def publishing_done(task: asyncio.Task[None]) -> Callable[[], Awaitable[bool]]:
    """Return a question that raises what the publication raised."""

    async def done() -> bool:
        return task.done() and task.result() is None

    return done


async def until(look: Callable[[], Awaitable[bool]], *, every_s: float = 0.1) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(LIMIT_S):
        while not await look():
            await asyncio.sleep(every_s)


async def _measure(rounds: int) -> tuple[list[Row], int]:
    rows = []
    bad = 0
    with BenchServer() as server:
        for workers in (1, 2, 4):
            row = Row(f"{workers} worker{'s' if workers > 1 else ''}, {CONTRACTS} contracts", "quotes/s")
            server.flush()
            desk = Desk(server, f"bench-{workers}")
            try:
                await desk.open(workers)
                for _ in range(rounds):
                    row.values.append(await desk.round())
                if workers == 4:
                    for name, number, text in (("w4", signal.SIGTERM, "drained"), ("w3", signal.SIGKILL, "killed")):
                        moved = Row(f"hand-over of 25 to 34 units, worker {text}", "s")
                        moved.values.append(await desk.hand_over(name, number))
                        rows.append(moved)
                    await desk.round()
                states = await desk.states()
                bad += sum(state["wrong"] + abs(state["seen"] - desk.sent) for state in states)
            finally:
                await desk.close()
            rows.append(row)
    return rows, bad


def measure(rounds: int) -> tuple[list[Row], int]:
    """Return the rows, and how many quotes were lost or doubled."""
    return asyncio.run(_measure(rounds))
