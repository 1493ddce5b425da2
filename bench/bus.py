"""Typed quotes to a real Redis and back: our bus beside what else there is, in the same run.

Ours validates and packs every tick, publishes under lease and fence to a stream of bounded length, and hands typed
records to one of a consumer group, which acknowledges them. What arrives together travels in one entry: 500 ticks in
the figures that are compared (in a burst the gateway's entries hold more), 50 in those beside. While an entry is on its
way the next one is packed, as the gateway goes on reading.

The references start from the same quotes and end with typed ones: redis-py appends one entry with a msgpack body per
tick in pipelines of 50, to a stream of bounded length, and reads 1,000 at a time; the hiredis reference sends such
commands packed by hiredis on a raw socket; redis-benchmark repeats one command with 64 in flight. FastStream and
nautilus_trader run as their documentation has it (`peer_bus_*.py`). CPU is the client's, not Redis'.

A lone tick is published a millisecond after the one before; the time is from the call to the hands of a reader that
waited for it.
"""

from __future__ import annotations

import asyncio
import csv
import shutil
import socket
import subprocess
import time
from collections.abc import Coroutine
from typing import Any

import hiredis
import msgpack
import redis
import uvloop

from bench import bus_peers
from bench.measuring import Row, Spent, percentile, ratio, spend
from bench.server import BenchServer
from shared.bus.consumer import GroupReader
from shared.bus.keys import Keys
from shared.bus.ports import LeaseToken, LeaseView
from shared.bus.redis_client import RedisBus, open_bus
from shared.bus.writer import TICK_STREAM_ENTRIES
from shared.messages.market import Tick, pack_valid, quote_tick, unpack_ticks

TICKS = 200_000
BATCH, SMALL_BATCH = 500, 50
PIPELINE = 50
LONE = 300
SOURCE = "gateway:bench"


def quotes(count: int) -> list[Tick]:
    """Return quotes with changing prices over 100 contracts."""
    now_ns = time.time_ns()
    return [
        quote_tick(265_000 + n % 100, now_ns + n, now_ns + n, 1, 100 + n % 50 / 100, 200, 100.01 + n % 50 / 100, 300)
        for n in range(count)
    ]


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run on the loop that the services run on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


async def lead(bus: RedisBus) -> LeaseToken:
    """Take the lease and raise the fence, as one who publishes has to."""
    token = await bus.lease_acquire("gateway", "bench", LeaseView(), at_least_epoch=int(time.time() * 1e6))
    assert token is not None
    await bus.raise_fence(token)
    return token


async def _publish(bus: RedisBus, ticks: list[Tick], batch: int) -> None:
    token = await lead(bus)
    async with asyncio.TaskGroup() as group:
        sent: asyncio.Task[None] | None = None
        for start in range(0, len(ticks), batch):
            body, _ = pack_valid(ticks[start : start + batch])
            if sent is not None:
                await sent
            sent = group.create_task(bus.publish_ticks(token, [(0, body)], source=SOURCE))
            await asyncio.sleep(0)  # it is on its way while the next batch is packed


async def _consume(bus: RedisBus, expected: int) -> None:
    reader = GroupReader(bus, bus.keys.ticks(0), "bench", "one")
    seen = 0
    while seen < expected:
        batch = await reader.read(block_ms=None)
        for entry in batch.entries:
            for _ in unpack_ticks(entry.fields[b"body"]):
                seen += 1
        await reader.ack(batch.entries)


def ours(server: BenchServer, ticks: list[Tick], batch: int) -> tuple[Spent, Spent]:
    """Return what publishing and consuming took."""

    async def publish() -> None:
        bus = open_bus(server.url, Keys("bench"))
        await _publish(bus, ticks, batch)
        await bus.close()

    async def consume() -> None:
        bus = open_bus(server.url, Keys("bench"))
        await _consume(bus, len(ticks))
        await bus.close()

    server.flush()
    return spend(lambda: run(publish())), spend(lambda: run(consume()))


def lone_ticks(server: BenchServer, ticks: list[Tick]) -> list[float]:
    """Return how long each of some lone ticks took to a reader that waits, in ms."""
    took_ms: list[float] = []

    async def measure() -> None:
        bus, other = open_bus(server.url, Keys("bench")), open_bus(server.url, Keys("bench"))
        token = await lead(bus)
        stream = bus.keys.ticks(0)
        sent = 0.0

        async def read() -> None:
            cursor = "0-0"
            while len(took_ms) < LONE:
                for entry in (await other.read({stream: cursor}, block_ms=200)).get(stream, ()):
                    cursor = entry.entry_id
                    took_ms.extend((time.perf_counter() - sent) * 1e3 for _ in unpack_ticks(entry.fields[b"body"]))

        reading = asyncio.create_task(read())
        for tick in ticks[:LONE]:
            await asyncio.sleep(0.001)
            sent, known = time.perf_counter(), len(took_ms)
            await bus.publish_ticks(token, [(0, pack_valid([tick])[0])], source=SOURCE)
            while len(took_ms) == known:
                await asyncio.sleep(0)
        await reading
        await bus.close()
        await other.close()

    server.flush()
    run(measure())
    return took_ms


def with_redis_py(server: BenchServer, ticks: list[Tick]) -> tuple[Spent, Spent]:
    """Return what a redis-py pipeline and a consumer group with acknowledgement took."""
    server.flush()
    client: Any = redis.Redis(host=server.host, port=server.port)
    client.xgroup_create("t", "g", id="0", mkstream=True)

    def publish() -> None:
        for start in range(0, len(ticks), PIPELINE):
            pipe = client.pipeline(transaction=False)
            for tick in ticks[start : start + PIPELINE]:
                pipe.xadd("t", {"body": msgpack.packb(tuple(tick))}, maxlen=TICK_STREAM_ENTRIES * BATCH)
            pipe.execute()

    def consume() -> None:
        seen = 0
        while seen < len(ticks):
            for _, entries in client.xreadgroup("g", "c", {"t": ">"}, count=1000):
                for _, fields in entries:
                    Tick(*msgpack.unpackb(fields[b"body"]))
                    seen += 1
                client.xack("t", "g", *[entry_id for entry_id, _ in entries])

    return spend(publish), spend(consume)


def with_hiredis(server: BenchServer, ticks: list[Tick]) -> Spent:
    """Return what the same appends took as packed commands on a raw socket."""
    server.flush()
    connection = socket.create_connection((server.host, server.port))

    def publish() -> None:
        reader = hiredis.Reader()
        for start in range(0, len(ticks), PIPELINE):
            batch = ticks[start : start + PIPELINE]
            bodies: list[Any] = [("XADD", "t", "*", "body", msgpack.packb(tuple(tick))) for tick in batch]
            connection.sendall(b"".join(hiredis.pack_command(body) for body in bodies))
            waiting = len(batch)
            while waiting:
                reader.feed(connection.recv(65536))
                while reader.gets() is not False:
                    waiting -= 1

    spent = spend(publish)
    connection.close()
    return spent


def with_redis_benchmark(server: BenchServer, ticks: list[Tick]) -> float | None:
    """Return ticks a second of `redis-benchmark -P 64` appending one such body, None where it is not installed."""
    if shutil.which("redis-benchmark") is None:
        return None
    server.flush()
    address = ["-h", server.host, "-p", str(server.port)]
    load = ["-P", "64", "-c", "1", "-n", str(len(ticks)), "--csv"]
    body = "x" * len(msgpack.packb(tuple(ticks[0])))
    command = ["redis-benchmark", *address, *load, "XADD", "t", "*", "body", body]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(next(csv.DictReader(printed.stdout.splitlines()))["rps"])


class Rows:
    """The rows of the report, made as they are measured."""

    def __init__(self) -> None:
        self.by_name: dict[str, Row] = {}

    def add(self, name: str, unit: str, value: float) -> None:
        """Take one round's value."""
        self.by_name.setdefault(name, Row(name, unit)).values.append(value)

    def spent(self, who: str, way: str, spent: Spent, count: int) -> None:
        """Take what one way took."""
        self.add(f"{who}: {way}", "ticks/s", count / spent.wall_s)
        self.add(f"{who}: {way}, CPU", "us/tick", spent.cpu_s / count * 1e6)


def measure(server: BenchServer, rounds: int) -> Rows:
    """Return the rows of the report."""
    ticks = quotes(TICKS)
    rows = Rows()
    peers = bus_peers.installed()
    for _ in range(rounds):
        for who, batch in (("ours", BATCH), (f"ours, {SMALL_BATCH} in an entry", SMALL_BATCH)):
            out, back = ours(server, ticks, batch)
            rows.spent(who, "publish", out, TICKS)
            rows.spent(who, "consume", back, TICKS)
        lone_ms = lone_ticks(server, ticks)
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            rows.add(f"ours: a lone tick, {name}", "ms", percentile(lone_ms, share))
        out, back = with_redis_py(server, ticks)
        rows.spent("redis-py", "publish", out, TICKS)
        rows.spent("redis-py", "consume", back, TICKS)
        rows.spent("hiredis-packed commands", "publish", with_hiredis(server, ticks), TICKS)
        fast = with_redis_benchmark(server, ticks)
        if fast is not None:
            rows.add("redis-benchmark -P 64: publish", "ticks/s", fast)
        for name in peers:
            out, back, version = bus_peers.run(name, server)
            rows.spent(f"{name} {version}", "publish", out, bus_peers.TICKS)
            rows.spent(f"{name} {version}", "consume", back, bus_peers.TICKS)
    return rows


def ratios(rows: Rows) -> list[str]:
    """Return ours over each reference, a line each."""
    lines = []
    for way in ("publish", "consume"):
        mine = rows.by_name[f"ours: {way}"]
        others = [row for name, row in rows.by_name.items() if name.endswith(f": {way}") and "ours" not in name]
        lines += [f"- ours over {row.name}: {ratio(mine, row):.2f}" for row in others]
    return lines
