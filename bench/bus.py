"""Typed quotes to a real Redis and back: our bus beside redis-py, hiredis-packed commands and redis-benchmark.

Ours validates and packs every tick, publishes under lease and fence, and unpacks every tick into a typed record. The
references do less: redis-py appends one entry with a msgpack body per tick in pipelines of 50; the hiredis reference
sends the same commands packed by hiredis on a raw socket; redis-benchmark repeats one command with 64 in flight.
"""

from __future__ import annotations

import asyncio
import csv
import shutil
import socket
import subprocess
import time
from typing import Any

import hiredis
import msgpack
import redis

from bench.measuring import Row, Spent, spend
from bench.server import BenchServer
from shared.bus.keys import Keys
from shared.bus.ports import LeaseView
from shared.bus.redis_client import RedisBus, open_bus
from shared.messages.market import Tick, is_valid_tick, pack_ticks, quote_tick, unpack_ticks

TICKS = 200_000
BATCH = 200
PIPELINE = 50


def quotes(count: int) -> list[Tick]:
    """Return quotes with changing prices over 100 contracts."""
    now_ns = time.time_ns()
    return [
        quote_tick(265_000 + n % 100, now_ns + n, now_ns + n, 1, 100 + n % 50 / 100, 200, 100.01 + n % 50 / 100, 300)
        for n in range(count)
    ]


async def _publish_ours(bus: RedisBus, ticks: list[Tick]) -> None:
    token = await bus.lease_acquire("gateway", "bench", LeaseView(), at_least_epoch=int(time.time() * 1e6))
    assert token is not None
    await bus.raise_fence(token)
    for start in range(0, len(ticks), BATCH):
        valid = [tick for tick in ticks[start : start + BATCH] if is_valid_tick(tick)]
        await bus.publish_ticks(token, [(0, pack_ticks(valid))], source="gateway:bench")


async def _consume_ours(bus: RedisBus, expected: int) -> None:
    cursors = {bus.keys.ticks(0): "0-0"}
    seen = 0
    while seen < expected:
        for stream, entries in (await bus.read(cursors, count=200)).items():
            for entry in entries:
                for _ in unpack_ticks(entry.fields[b"body"]):
                    seen += 1
            cursors[stream] = entries[-1].entry_id


def ours(server: BenchServer, ticks: list[Tick]) -> tuple[Spent, Spent]:
    """Return what publishing and consuming took."""

    async def publish() -> None:
        bus = open_bus(server.url, Keys("bench"))
        await _publish_ours(bus, ticks)
        await bus.close()

    async def consume() -> None:
        bus = open_bus(server.url, Keys("bench"))
        await _consume_ours(bus, len(ticks))
        await bus.close()

    server.flush()
    return spend(lambda: asyncio.run(publish())), spend(lambda: asyncio.run(consume()))


def with_redis_py(server: BenchServer, ticks: list[Tick]) -> tuple[Spent, Spent]:
    """Return what a redis-py pipeline and a consumer group with acknowledgement took."""
    server.flush()
    client: Any = redis.Redis(host=server.host, port=server.port)
    client.xgroup_create("t", "g", id="0", mkstream=True)

    def publish() -> None:
        for start in range(0, len(ticks), PIPELINE):
            pipe = client.pipeline(transaction=False)
            for tick in ticks[start : start + PIPELINE]:
                pipe.xadd("t", {"body": msgpack.packb(tuple(tick))})
            pipe.execute()

    def consume() -> None:
        seen = 0
        while seen < len(ticks):
            for _, entries in client.xreadgroup("g", "c", {"t": ">"}, count=1000):
                for _, fields in entries:
                    msgpack.unpackb(fields[b"body"])
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


def measure(server: BenchServer, rounds: int) -> list[Row]:
    """Return the rows of the report."""
    ticks = quotes(TICKS)
    rows = {
        "publish": Row("bus: publish", "ticks/s"),
        "publish_cpu": Row("bus: publish, CPU", "us/tick"),
        "consume": Row("bus: consume", "ticks/s"),
        "consume_cpu": Row("bus: consume, CPU", "us/tick"),
        "py_publish": Row("redis-py pipeline of 50: publish", "ticks/s"),
        "py_consume": Row("redis-py consumer group: consume", "ticks/s"),
        "hiredis": Row("hiredis-packed commands: publish", "ticks/s"),
        "benchmark": Row("redis-benchmark -P 64: publish", "ticks/s"),
    }
    for _ in range(rounds):
        out, back = ours(server, ticks)
        rows["publish"].values.append(TICKS / out.wall_s)
        rows["publish_cpu"].values.append(out.cpu_s / TICKS * 1e6)
        rows["consume"].values.append(TICKS / back.wall_s)
        rows["consume_cpu"].values.append(back.cpu_s / TICKS * 1e6)
        out, back = with_redis_py(server, ticks)
        rows["py_publish"].values.append(TICKS / out.wall_s)
        rows["py_consume"].values.append(TICKS / back.wall_s)
        rows["hiredis"].values.append(TICKS / with_hiredis(server, ticks).wall_s)
        fast = with_redis_benchmark(server, ticks)
        if fast is not None:
            rows["benchmark"].values.append(fast)
    return [row for row in rows.values() if row.values]
