"""Typed quotes to Redis and back in FastStream; a script of its own process, with its folder of `.cache/peers`.

Usage: peer_bus_faststream.py PORT COUNT   (prints one line of JSON)

As its documentation has it: a pydantic model, published in pipelines of 50 to a stream, and a subscriber of a consumer
group that takes up to 1,000 in a batch, acknowledged together when the handler has returned. (One at a time, each
acknowledged by itself, took twenty times as long.)
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from importlib.metadata import version
from typing import Any

import redis
import redis.asyncio
from faststream.redis import RedisBroker, StreamSub
from pydantic import BaseModel

PIPELINE = 50


class Quote(BaseModel):
    """A quote."""

    con_id: int
    ts_event_ns: int
    ts_init_ns: int
    quality: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float


def quotes(count: int) -> list[Quote]:
    now_ns = time.time_ns()
    return [
        Quote(
            con_id=265_000 + n % 100, ts_event_ns=now_ns + n, ts_init_ns=now_ns + n, quality=1, bid=100 + n % 50 / 100,
            bid_size=200, ask=100.01 + n % 50 / 100, ask_size=300,
        )
        for n in range(count)
    ]  # fmt: skip


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def main(port: int, count: int) -> dict[str, Any]:
    client: Any = redis.Redis(port=port)
    client.delete("faststream")
    client.xgroup_create("faststream", "g", id="0", mkstream=True)
    broker = RedisBroker(f"redis://127.0.0.1:{port}", logger=None)
    seen, done = 0, asyncio.Event()

    @broker.subscriber(stream=StreamSub("faststream", group="g", consumer="c", max_records=1000, batch=True))  # type: ignore[untyped-decorator]
    async def handle(quotes: list[Quote]) -> None:
        nonlocal seen
        seen += len(quotes)
        if seen == count:
            done.set()

    made = quotes(count)
    await broker.connect()
    sender: Any = redis.asyncio.Redis(port=port)
    began, used = time.perf_counter(), cpu_s()
    for start in range(0, count, PIPELINE):
        async with sender.pipeline() as pipe:
            for quote in made[start : start + PIPELINE]:
                await broker.publish(quote, stream="faststream", pipeline=pipe)
            await pipe.execute()
    published, used_published = time.perf_counter(), cpu_s()
    await broker.start()
    await done.wait()
    while client.xpending("faststream", "g")["pending"]:
        await asyncio.sleep(0.001)
    consumed, used_consumed = time.perf_counter(), cpu_s()
    await broker.stop()
    return {
        "publish_s": published - began, "publish_cpu_s": used_published - used, "consume_s": consumed - published,
        "consume_cpu_s": used_consumed - used_published, "version": version("faststream"),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))))
