"""From the TWS socket to the Redis entry: the gateway's feed beside a bare ib_insync client with an empty handler.

Both are sent the same prepared ticks by the same server, as fast as they take them; ours also merges, validates, packs
and publishes them. The time runs from the subscription to the last tick: seen by the handler, or written to Redis.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from bench.blaster import LAST_PRICE
from bench.measuring import Row
from bench.server import BenchServer
from copilot_quant.local.ports import reserve_ports
from services.gateway.core.tws_codes import CodeTable
from services.gateway.ports import SessionListener
from services.gateway.shell.feed import FeedDesk
from services.gateway.shell.ib_session import IbSession
from services.gateway.shell.outbox import Outbox
from services.gateway.shell.pace import Pace
from shared.bus.keys import Keys
from shared.bus.ports import LeaseView
from shared.bus.redis_client import open_bus
from shared.messages.market import ContractInfo, TickKind, unpack_ticks

if TYPE_CHECKING:
    from services.gateway.shell.contracts import Contracts

TICKS = 100_000
STOCK = ContractInfo(con_id=265598, name="AAPL", symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")

BARE = """
import sys, time
from ib_insync import IB, Stock
ib = IB()
ib.connect("127.0.0.1", int(sys.argv[1]), clientId=1, timeout=20)
contract = Stock("AAPL", "SMART", "USD", conId=265598)
done = []
def empty(tickers):
    if any(ticker.last == float(sys.argv[2]) for ticker in tickers):
        done.append(time.perf_counter())
ib.pendingTickersEvent += empty
started, cpu = time.perf_counter(), time.process_time()
ib.reqMktData(contract)
while not done:
    ib.sleep(0.005)
print(done[0] - started, time.process_time() - cpu)
ib.disconnect()
"""


class _Listener(SessionListener):
    """Hands a session's ticks to the feed, as the gateway's data desk does."""

    def __init__(self) -> None:
        self.desk: FeedDesk | None = None

    def __getattribute__(self, name: str) -> object:
        if name in ("price_tick", "size_tick", "read_began", "read_ended", "data_type"):
            return getattr(object.__getattribute__(self, "desk"), name)
        return object.__getattribute__(self, name)


async def _ours(port: int, redis_url: str) -> tuple[float, float]:
    bus = open_bus(redis_url, Keys("bench"))
    token = await bus.lease_acquire("gateway", "bench", LeaseView(), at_least_epoch=int(time.time() * 1e6))
    assert token is not None
    await bus.raise_fence(token)
    listener = _Listener()
    session = IbSession(1, listener)
    outbox = Outbox(bus, "gateway:bench")
    # The bench subscribes by itself, so no contracts are looked up.
    desk = FeedDesk(
        bus,
        outbox,
        cast("Contracts", None),
        CodeTable(),
        source="gateway:bench",
        session=lambda: session,
        pace=Pace(),
    )
    listener.desk = desk
    await session.open("127.0.0.1", port, limit_s=10)
    publishing = asyncio.create_task(desk.run_ticks(token, lambda: True))
    stream = bus.keys.ticks(bus.keys.partition(STOCK.con_id))
    started, cpu = time.perf_counter(), time.process_time()
    req_id = session.subscribe(STOCK)
    desk.feed.subscribe(req_id, STOCK.con_id, time.time_ns())
    while True:
        await asyncio.sleep(0.005)
        last = await bus.read_last(stream, 1)
        if last and any(
            tick.kind == TickKind.TRADE and tick.a == LAST_PRICE for tick in unpack_ticks(last[0].fields[b"body"])
        ):
            break
    took = time.perf_counter() - started, time.process_time() - cpu
    publishing.cancel()
    await session.close()
    await bus.close()
    return took


def _bare(port: int) -> tuple[float, float]:
    printed = subprocess.run(
        [sys.executable, "-c", BARE, str(port), str(LAST_PRICE)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    wall_s, cpu_s = printed.stdout.split()
    return float(wall_s), float(cpu_s)


def bare_rates(port: int) -> tuple[float, float]:
    """Return what a bare client takes from the blaster: messages per second, CPU microseconds per message."""
    wall_s, used_s = _bare(port)
    return TICKS / wall_s, used_s / TICKS * 1e6


@contextmanager
def blaster() -> Iterator[int]:
    """Run the server of prepared ticks; yield its port."""
    (port,) = reserve_ports(1)
    command = [sys.executable, "-m", "bench.blaster", "--port", str(port), "--ticks", str(TICKS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield port
    finally:
        process.terminate()
        process.wait(5)


def measure(rounds: int) -> list[Row]:
    """Return the rows of the report."""
    bare, bare_cpu = Row("bare ib_insync, empty handler", "messages/s"), Row("bare ib_insync, CPU", "us/message")
    ours, ours_cpu = Row("gateway: socket to Redis", "messages/s"), Row("gateway: socket to Redis, CPU", "us/message")
    with blaster() as port:
        for _ in range(rounds):
            rate, cpu_us = bare_rates(port)
            bare.values.append(rate)
            bare_cpu.values.append(cpu_us)
            with BenchServer() as server:
                wall_s, cpu_s = asyncio.run(_ours(port, server.url))
            ours.values.append(TICKS / wall_s)
            ours_cpu.values.append(cpu_s / TICKS * 1e6)
    return [ours, ours_cpu, bare, bare_cpu]
