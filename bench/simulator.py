"""What the simulator serves: ticks to one client and to eight, and orders from placed to filled.

Beside it, in the same round, what a bare ib_insync client with an empty handler can take from a server that has
everything prepared: as long as the simulator serves more than that, it is not what limits a test. Both are measured
as a pair of processes, one serving and one taking, each with a core of its own. The taking side of the simulator only
counts bytes. The simulator makes its own synthetic market meanwhile; ticks are messages of market data.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from bench import feed
from bench.measuring import Row
from copilot_quant.local.ports import reserve_ports
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.connection import ClientConnection, ServerHello
from shared.tws.contract import TwsContract
from shared.tws.framing import encode_frame
from shared.tws.order import TwsOrder
from shared.tws.versions import DEFAULT_CAP

TICK_RATE = 200_000
"""Market events per second that are asked for: more than can be made."""
SECONDS = 3.0
ORDERS = 3000
IN_FLIGHT = 100
AAPL = TwsContract(symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def simulator(tick_rate: float, state_dir: str = "") -> Iterator[tuple[int, int]]:
    """Run a simulator without any limits of its own; yield its port and process id."""
    port, control_port = reserve_ports(2)
    settings = {
        "SIM_PORT": port, "SIM_HTTP_PORT": control_port, "SIM_TICK_RATE": tick_rate, "SIM_PACING": "off",
        "SIM_LATENCY_MS": 0, "SIM_FILL_LATENCY_MS": 0, "SIM_MAX_ORDERS_PER_SIDE": 1_000_000, "SIM_CASH": 10**12,
        "SIM_STATE_DIR": state_dir, "CQ_ENV_FILE": "",
    }  # fmt: skip
    environment = {**os.environ, **{name: str(value) for name, value in settings.items()}}
    command = [sys.executable, "-m", "services.simulator"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(400):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{control_port}/healthz", timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port, process.pid
    finally:
        process.kill()  # it keeps nothing, and is far behind on purpose
        process.wait(30)


class Client:
    """A connection of our own codec; `socket` may be read past it to count bytes."""

    def __init__(self, port: int, client_id: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.codec = ClientConnection()
        self.events: list[object] = []
        self.socket.sendall(self.codec.data_to_send())
        self.until(ServerHello)
        self.send(rq.StartApi(client_id))
        self.until(rs.NextValidId)

    def send(self, *requests: rq.Request) -> None:
        """Send requests in one write."""
        for request in requests:
            self.codec.send(request)
        self.socket.sendall(self.codec.data_to_send())

    def read(self) -> list[object]:
        """Wait for some bytes and return what they mean."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the simulator closed the connection")
        return list(self.codec.receive_data(data))

    def until(self, kind: type) -> None:
        """Wait for a message of a kind."""
        while not any(isinstance(each, kind) for each in self.events):
            self.events.extend(self.read())


def cpu_s(pid: int) -> float:
    """Return the CPU seconds a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _CLOCK_TICKS


def frames_in(data: bytes) -> tuple[int, int]:
    """Return how many whole frames some bytes hold, and how many bytes those are."""
    count = position = 0
    while position + 4 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if position + 4 + length > len(data):
            break
        position += 4 + length
        count += 1
    return count, position


def served(clients: int) -> tuple[float, float]:
    """Return messages per second served to all clients together, and the simulator's CPU microseconds for each."""
    with simulator(TICK_RATE) as (port, pid):
        opened = [Client(port, number + 1) for number in range(clients)]
        selector = selectors.DefaultSelector()
        for client in opened:
            client.send(rq.ReqMktData(1, AAPL))
        sample = b"".join(opened[0].socket.recv(1 << 18) for _ in range(8))
        start = sample.find(b"\x001\x006\x001\x00")  # somewhere within a price: the next frame begins behind it
        count, length = _sampled(sample, max(0, start))
        bytes_each = length / max(1, count)
        for client in opened:
            client.socket.setblocking(False)
            selector.register(client.socket, selectors.EVENT_READ)
        _count(selector, 1.0)
        used, started = cpu_s(pid), time.perf_counter()
        total = _count(selector, SECONDS)
        took, used = time.perf_counter() - started, cpu_s(pid) - used
        for client in opened:
            client.socket.close()
    messages = total / bytes_each
    return messages / took, used / messages * 1e6


def _sampled(data: bytes, start: int) -> tuple[int, int]:
    """Return frames and their bytes of a stretch that may begin within a frame."""
    for offset in range(start, min(start + 200, len(data) - 4)):
        count, length = frames_in(data[offset:])
        if count > 1000:
            return count, length
    return frames_in(data)


def _count(selector: selectors.BaseSelector, seconds: float) -> int:
    total, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        for key, _ in selector.select(0.1):
            total += len(key.fileobj.recv(1 << 20))  # type: ignore[union-attr]
    return total


def orders_filled(state_dir: str = "") -> tuple[float, float]:
    """Return orders per second from placed to filled, and the simulator's CPU microseconds for each.

    As with ticks the taking side does as little as it can: its orders are written before the clock starts, and of what
    comes back it looks at the messages that say Filled.
    """
    placed = list(_orders())
    with simulator(50.0, state_dir) as (port, pid):
        client = Client(port, 1)
        client.send(rq.ReqMktData(1, AAPL))
        client.until(rs.TickPrice)
        sent = filled = 0
        rest = b""
        used, started = cpu_s(pid), time.perf_counter()
        while filled < ORDERS:
            more = min(ORDERS - sent, IN_FLIGHT - (sent - filled))
            if more:
                client.socket.sendall(b"".join(placed[sent : sent + more]))
                sent += more
            found, rest = _filled_in(rest + client.socket.recv(1 << 18))
            filled += found
        took, used = time.perf_counter() - started, cpu_s(pid) - used
        client.socket.close()
    return ORDERS / took, used / ORDERS * 1e6


def orders_kept() -> tuple[float, float]:
    """Return the same where every order survives the simulator's end, as `cq simulator` keeps them."""
    with tempfile.TemporaryDirectory() as directory:
        return orders_filled(directory)


def _orders() -> Iterator[bytes]:
    """Write the orders' frames."""
    for number in range(1, ORDERS + 1):
        side = "BUY" if number % 2 else "SELL"
        order = TwsOrder(action=side, total_quantity=Decimal(1), order_type="MKT", order_ref=f"b{number}")
        yield encode_frame(rq.encode_request(rq.PlaceOrder(number, AAPL, order), DEFAULT_CAP))


def _filled_in(data: bytes) -> tuple[int, bytes]:
    """Return how many orders some bytes report as filled, and the bytes of the frame that is not whole yet."""
    count = position = 0
    while position + 4 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 4 + length
        if end > len(data):
            break
        if data.startswith(b"3\0", position + 4) and data.find(b"\0Filled\0", position, end) > 0:
            count += 1
        position = end
    return count, data[position:]


def measure(rounds: int) -> list[Row]:
    """Return the rows of the report."""
    one, one_cpu = Row("simulator: to one client", "messages/s"), Row("simulator: to one client, CPU", "us/message")
    eight, eight_cpu = Row("simulator: to eight, together", "messages/s"), Row("simulator: to eight, CPU", "us/message")
    orders, orders_cpu = Row("simulator: placed to filled", "orders/s"), Row("simulator: an order, CPU", "us/order")
    kept = Row("simulator: the same, books kept on disk", "orders/s")
    kept_cpu = Row("simulator: an order kept on disk, CPU", "us/order")
    bare, bare_cpu = Row("bare ib_insync, empty handler", "messages/s"), Row("bare ib_insync, CPU", "us/message")
    with feed.blaster() as port:
        for _ in range(rounds):
            for rate, cpu, (value, spent) in (
                (one, one_cpu, served(1)),
                (bare, bare_cpu, feed.bare_rates(port)),
                (eight, eight_cpu, served(8)),
                (orders, orders_cpu, orders_filled()),
                (kept, kept_cpu, orders_kept()),
            ):
                rate.values.append(value)
                cpu.values.append(spent)
    return [one, one_cpu, eight, eight_cpu, orders, orders_cpu, kept, kept_cpu, bare, bare_cpu]
