"""Typed quotes to Redis and back in nautilus_trader; a script of its own process, with its folder of `.cache/peers`.

Usage: peer_bus_nautilus.py PORT COUNT   (prints one line of JSON)

Its message bus with a Redis backing, put together as its kernel does: `QuoteTick` objects are serialised to msgpack
and written by a thread of its own; a second process' view of the bus streams them back and makes objects of them. It
reads a stream without a group or acknowledgement, and only what comes after it began: so what was published is copied
to a second stream once it listens, by a script inside Redis, and the time of that is not counted.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import Any

import msgspec
import nautilus_trader
import redis
from nautilus_trader.common.component import LiveClock, MessageBus
from nautilus_trader.config import DatabaseConfig, MessageBusConfig, msgspec_encoding_hook
from nautilus_trader.core import nautilus_pyo3
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.identifiers import InstrumentId, TraderId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.serialization.serializer import MsgSpecSerializer

BUFFER_MS = 10
"""The shortest that its documentation recommends."""
COPY = """
local entries = redis.call('XRANGE', KEYS[1], '-', '+')
for _, entry in ipairs(entries) do redis.call('XADD', KEYS[2], '*', unpack(entry[2])) end
return #entries
"""


def quotes(count: int) -> list[QuoteTick]:
    now_ns = time.time_ns()
    names = [InstrumentId.from_str(f"C{n}.SIM") for n in range(100)]
    return [
        QuoteTick(
            names[n % 100], Price(100 + n % 50 / 100, 2), Price(100.01 + n % 50 / 100, 2), Quantity(200, 0),
            Quantity(300, 0), now_ns + n, now_ns + n,
        )
        for n in range(count)
    ]  # fmt: skip


def backing(port: int, external: list[str] | None = None) -> tuple[Any, MessageBusConfig]:
    """Return the bus' way to Redis, and its configuration."""
    config = MessageBusConfig(
        database=DatabaseConfig(host="127.0.0.1", port=port), buffer_interval_ms=BUFFER_MS, stream_per_topic=False,
        external_streams=external,
    )  # fmt: skip
    made = nautilus_pyo3.RedisMessageBusDatabase(
        trader_id=nautilus_pyo3.TraderId("BENCH-001"),
        instance_id=nautilus_pyo3.UUID4.from_str(UUID4().value),
        config_json=msgspec.json.encode(config, enc_hook=msgspec_encoding_hook),
    )
    return made, config


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def publish(port: int, client: Any, count: int) -> tuple[str, float, float]:
    """Publish; return the stream's name, and what it took until Redis had the last of them."""
    made = quotes(count)
    database, config = backing(port)
    serializer = MsgSpecSerializer(encoding=msgspec.msgpack, timestamps_as_str=True)
    bus = MessageBus(TraderId("BENCH-001"), LiveClock(), serializer=serializer, database=database, config=config)
    began, used = time.perf_counter(), cpu_s()
    for quote in made:
        bus.publish("data.quotes", quote)
    while True:
        streams = [name for name in client.scan_iter() if client.type(name) == b"stream"]
        if streams and client.xlen(streams[0]) >= count:
            break
        time.sleep(0.001)
    took = time.perf_counter() - began, cpu_s() - used
    database.close()
    return streams[0].decode(), *took


async def consume(port: int, client: Any, stream: str, count: int) -> tuple[float, float]:
    """Return what it took from the first message to the last."""
    serializer = MsgSpecSerializer(encoding=msgspec.msgpack, timestamps_as_str=True)
    database, _ = backing(port, ["copied"])
    seen, done, loop = 0, asyncio.Event(), asyncio.get_running_loop()
    marks: list[tuple[float, float]] = []

    def take(message: Any) -> None:
        nonlocal seen
        quote = serializer.deserialize(message.payload)
        assert isinstance(quote, QuoteTick)
        seen += 1
        if seen in (1, count):
            marks.append((time.perf_counter(), cpu_s()))
        if seen == count:
            loop.call_soon_threadsafe(done.set)

    listening = asyncio.ensure_future(database.stream(take))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(client.eval, COPY, 2, stream, "copied")
    await done.wait()
    database.close()
    listening.cancel()
    return marks[1][0] - marks[0][0], marks[1][1] - marks[0][1]


def main(port: int, count: int) -> dict[str, Any]:
    client: Any = redis.Redis(port=port)
    client.flushall()
    stream, publish_s, publish_cpu_s = publish(port, client, count)
    consume_s, consume_cpu_s = asyncio.run(consume(port, client, stream, count))
    return {
        "publish_s": publish_s, "publish_cpu_s": publish_cpu_s, "consume_s": consume_s, "consume_cpu_s": consume_cpu_s,
        "version": nautilus_trader.__version__,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
