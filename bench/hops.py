"""The reference for tick to order: a message through three bare Redis hops, asyncio with hiredis, no checks at all.

Each hop is a process of its own that reads one stream and appends to the next; the first appends what a paced sender
gives, the last notes the time. What our path adds to this is what the platform does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import hiredis

from bench.measuring import percentile
from bench.server import BenchServer
from copilot_quant.local.processes import Process

RATE = 1000
PACED_S = 10
BODY_BYTES = 64


class Connection:
    """A raw connection: packed commands out, parsed replies in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._parser = hiredis.Reader()

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def call(self, *command: str | bytes) -> Any:
        packed: Any = command
        self._writer.write(hiredis.pack_command(packed))
        while (reply := self._parser.gets()) is False:
            self._parser.feed(await self._reader.read(65536))
        return reply


async def hop(port: int, source: str, target: str) -> None:
    """Copy every entry of one stream to the next, for ever."""
    reading, writing = await Connection.open(port), await Connection.open(port)
    cursor = b"0-0"
    while True:
        reply = await reading.call("XREAD", "COUNT", "100", "BLOCK", "1000", "STREAMS", source, cursor)
        if not reply:
            continue
        for entry_id, fields in reply[0][1]:
            cursor = entry_id
            await writing.call("XADD", target, "*", *fields)


async def send_and_receive(port: int, seconds: float, rate: int) -> list[float]:
    """Send `rate` a second and return the latencies in milliseconds at the end of the third hop."""
    sending, receiving = await Connection.open(port), await Connection.open(port)
    latencies: list[float] = []
    count = int(rate * seconds)

    async def send() -> None:
        started = time.perf_counter()
        for number in range(count):
            wait_s = started + number / rate - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            await sending.call("XADD", "h0", "*", "t", str(time.time_ns()), "body", b"x" * BODY_BYTES)

    async def receive() -> None:
        cursor = b"0-0"
        while len(latencies) < count:
            reply = await receiving.call("XREAD", "COUNT", "100", "BLOCK", "1000", "STREAMS", "h2", cursor)
            for entry_id, fields in reply[0][1] if reply else ():
                cursor = entry_id
                latencies.append((time.time_ns() - int(fields[1])) / 1e6)

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        group.create_task(receive())
    return latencies


def measure(seconds: float = PACED_S, rate: int = RATE) -> dict[str, float]:
    """Return p50, p95 and p99 in milliseconds of one run."""
    with BenchServer() as server:
        hops = [
            subprocess.Popen([sys.executable, "-m", "bench.hops", "--port", str(server.port), f"h{n}", f"h{n + 1}"])
            for n in range(2)
        ]
        try:
            time.sleep(1.0)
            latencies = asyncio.run(send_and_receive(server.port, seconds, rate))
        finally:
            for process in hops:
                process.terminate()
                process.wait(5)
    steady = latencies[len(latencies) // 10 :]
    return {"p50": percentile(steady, 0.50), "p95": percentile(steady, 0.95), "p99": percentile(steady, 0.99)}


class Beside:
    """The reference as a process beside a system that is measured, under the same supervisor.

    Linux shares processors among sessions first (autogroup): from another session the few messages of the reference
    would go before all that the system does, and not wait in its queue.
    """

    def __init__(self, folder: Path, seconds: float, rate: int) -> None:
        self._go, self._found = folder / "go", folder / "found.json"
        self._limit_s = 60 + 3 * seconds
        words = ("--beside", str(folder), "--seconds", str(seconds), "--rate", str(rate))
        self.process = Process("hops", (sys.executable, "-m", "bench.hops", *words), 90)

    def run(self) -> dict[str, float]:
        """Let it measure, and return what it found."""
        self._go.touch()
        until = time.monotonic() + self._limit_s
        while not self._found.exists():
            if time.monotonic() > until:
                raise TimeoutError(f"the bare hops measured nothing within {self._limit_s:g} s")
            time.sleep(0.1)
        found: dict[str, float] = json.loads(self._found.read_text())
        return found


def wait_and_measure(folder: Path, seconds: float, rate: int) -> None:
    """Be the process of `Beside`."""
    while not (folder / "go").exists():
        time.sleep(0.1)
    written = folder / "found"
    written.write_text(json.dumps(measure(seconds, rate)))
    written.rename(folder / "found.json")
    signal.pause()  # until the supervisor ends it


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--rate", type=int)
    parser.add_argument("streams", nargs="*")
    options = parser.parse_args()
    if options.beside:
        wait_and_measure(options.beside, options.seconds, options.rate)
    else:
        asyncio.run(hop(options.port, *options.streams))
