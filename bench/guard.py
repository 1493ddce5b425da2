"""What the guard adds to a message: the same questions to the simulator straight and through the guard, in turns.

*Time* is a reading session's request for the current time and its answer: two small messages through the guard. *Order*
is an order of a trading session in a contract that the broker does not know, until it is refused (200), which the
simulator does at once: the guard parses the order, checks it against halt and allow-list, and relays it whole. Each
number is a round trip; what the guard adds is the difference of the same percentile of both ways, for two messages.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from bench.measuring import percentile
from bench.simulator import Client, simulator
from copilot_quant.local.ports import reserve_ports
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.connection import ClientConnection, ServerHello
from shared.tws.contract import TwsContract
from shared.tws.hello import ClientHello, TradingClaim
from shared.tws.order import TwsOrder
from shared.tws.versions import MIN_SUPPORTED

ASKED = 1500
ORDERS = 600
TRADING_ID = 101
NOBODY = TwsContract(symbol="NOBODY", sec_type="STK", exchange="SMART", currency="USD")


@contextmanager
def guard(upstream: int) -> Iterator[int]:
    """Run a guard in front of a port; yield its own."""
    port, control = reserve_ports(2)
    with tempfile.TemporaryDirectory() as state:
        settings = {
            "CQ_MODE": "sim", "CQ_INSTANCE": "guard", "CQ_ENV_FILE": "", "CQ_HTTP_PORT": "0",
            "GUARD_LISTEN_PORT": port, "GUARD_UPSTREAM_HOST": "127.0.0.1", "GUARD_UPSTREAM_PORT": upstream,
            "GUARD_STATE_DIR": state, "GUARD_HTTP_PORT": control, "GUARD_TRADING_CLIENT_IDS": TRADING_ID,
        }  # fmt: skip
        environment = {**os.environ, **{name: str(value) for name, value in settings.items()}}
        command = [sys.executable, "-m", "services.guard"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(400):
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait(10)


class Trader(Client):
    """A session under the trading client id, with a claim for a guard on the way."""

    def __init__(self, port: int, client_id: int, *, options: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.codec = ClientConnection(ClientHello(MIN_SUPPORTED, 176, options))
        self.events: list[object] = []
        self.socket.sendall(self.codec.data_to_send())
        self.until(ServerHello)
        self.send(rq.StartApi(client_id))
        self.until(rs.NextValidId)
        self.next_id = next(each.order_id for each in self.events if isinstance(each, rs.NextValidId))

    def order(self, number: int) -> float:
        """Place an order that is refused at once and return the milliseconds until it is."""
        order_id, self.next_id = self.next_id, self.next_id + 1
        side = "BUY" if number % 2 else "SELL"
        order = TwsOrder(action=side, total_quantity=Decimal(1), order_type="MKT", order_ref=f"g{order_id}")
        began = time.perf_counter()
        self.send(rq.PlaceOrder(order_id, NOBODY, order))
        while True:
            for each in self.read():
                if isinstance(each, rs.ErrorMessage) and each.id == order_id:
                    return (time.perf_counter() - began) * 1000


def asked(client: Client) -> float:
    """Ask the time and return the milliseconds until the answer."""
    began = time.perf_counter()
    client.send(rq.ReqCurrentTime())
    while True:
        if any(isinstance(each, rs.CurrentTime) for each in client.read()):
            return (time.perf_counter() - began) * 1000


def measure() -> dict[str, dict[str, list[float]]]:
    """Return round trips in milliseconds, by what was asked and by which way."""
    found: dict[str, dict[str, list[float]]] = {what: {"direct": [], "guard": []} for what in ("time", "order")}
    with simulator(5.0) as (port, _), guard(port) as through:
        ways = {"direct": Client(port, 1), "guard": Client(through, 2)}
        for client in ways.values():
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(ASKED):
            for way, client in ways.items():
                found["time"][way].append(asked(client))
        for client in ways.values():
            client.socket.close()
        claim = TradingClaim(1, "bench", "bench").as_option()
        traders = {"direct": Trader(port, 7), "guard": Trader(through, TRADING_ID, options=claim)}
        for number in range(ORDERS):
            for way, trader in traders.items():
                found["order"][way].append(trader.order(number))
        for trader in traders.values():
            trader.socket.close()
    return found


def table(found: dict[str, dict[str, list[float]]]) -> list[str]:
    """Return the report's table."""
    lines = ["| round trip | way | times | p50 (ms) | p99 (ms) |", "|---|---|---:|---:|---:|"]
    for what, ways in found.items():
        shares = {
            way: [percentile(values[len(values) // 10 :], share) for share in (0.5, 0.99)]
            for way, values in ways.items()
        }
        for way, (p50, p99) in shares.items():
            lines.append(f"| {what} | {way} | {len(ways[way])} | {p50:.3f} | {p99:.3f} |")
        added = [shares["guard"][number] - shares["direct"][number] for number in (0, 1)]
        lines.append(f"| {what} | **the guard adds** | | **{added[0]:.3f}** | **{added[1]:.3f}** |")
    return lines


def report() -> list[str]:
    """Measure and return the part of the bench report."""
    return ["", "## The guard's added latency", "", (__doc__ or "").split("\n\n")[1].strip(), "", *table(measure())]


if __name__ == "__main__":
    print("\n".join(report()))
