"""Bad bytes on the socket: that session gets an error or is closed, others go on, and the simulator does not grow."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from shared.tws.connection import ClientConnection, ServerHello
from shared.tws.framing import encode_frame
from shared.tws.hello import ClientHello, encode_hello
from shared.tws.requests import ReqCurrentTime, StartApi, encode_request
from shared.tws.responses import CurrentTime, ErrorMessage, Response
from tests.conformance.simulator.conftest import RunningSimulator, Simulators
from tests.fuzz.mutate import Mutator, requests

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]
HELLO = encode_hello(ClientHello(100, 176))
START = encode_frame(encode_request(StartApi(50), 176))


class Client:
    """A client of our own, over a plain socket."""

    def __init__(self, simulator: RunningSimulator, number: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", simulator.port), timeout=10)
        self._codec = ClientConnection()
        self._send()
        while not any(isinstance(each, ServerHello) for each in self._receive()):
            pass
        self._codec.send(StartApi(number))
        self._send()

    def ask_time(self) -> bool:
        """Ask the time; return whether it came."""
        self._codec.send(ReqCurrentTime())
        self._send()
        while True:
            events = self._receive()
            if any(isinstance(each, CurrentTime) for each in events):
                return True
            if not events:
                return False

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def errors(self, count: int) -> list[int]:
        """Return the codes of the next errors that are no notices."""
        found: list[int] = []
        while len(found) < count:
            found += [each.code for each in self._receive() if isinstance(each, ErrorMessage) and each.code < 2000]
        return found

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _send(self) -> None:
        self._socket.sendall(self._codec.data_to_send())

    def _receive(self) -> list[Response | object]:
        data = self._socket.recv(1 << 16)
        return list(self._codec.receive_data(data)) if data else []


Connect = Callable[[RunningSimulator, int], Client]


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as opened:

        def make(simulator: RunningSimulator, number: int) -> Client:
            client = Client(simulator, number)
            opened.callback(client.close)
            return client

        yield make


def resident_kb(simulator: RunningSimulator) -> int:
    """Return the simulator's memory."""
    status = Path(f"/proc/{simulator.process.pid}/status")
    if not status.exists():
        pytest.skip("no /proc on this system")
    return int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmRSS")))


def closes(simulator: RunningSimulator, data: bytes) -> bool:
    """Return whether the simulator ends a connection that sends this."""
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=5) as connection:
        connection.sendall(data)
        try:
            while connection.recv(1 << 16):
                pass
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        return True


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"API\0" + struct.pack(">I", 0xFFFFFFFF),
        b"API\0" + encode_frame(b"hello"),
        b"API\0" + encode_frame(b"v300..400"),
        b"API\0" + encode_frame(b"v20..30"),
        HELLO + encode_frame(encode_request(ReqCurrentTime(), 176)),
        HELLO + START + struct.pack(">I", 0x7FFFFFFF),
        HELLO + START + struct.pack(">I", 0x00FFFFFF) + b"x",
    ],
    ids=["http", "length", "no versions", "too new", "too old", "no START_API", "long frame", "longer than a request"],
)
def test_what_cannot_be_a_session_is_closed_and_others_go_on(
    simulators: Simulators, connect: Connect, data: bytes
) -> None:
    simulator = simulators.start()
    good = connect(simulator, 1)
    assert closes(simulator, data)
    assert good.ask_time()


def test_frames_that_are_no_requests_are_answered_and_the_session_goes_on(
    simulators: Simulators, connect: Connect
) -> None:
    simulator = simulators.start()
    client = connect(simulator, 1)
    for payload in (b"9999\x001\0", b"x\0", b"1\0", b"\0", b"3\x007\0" + b"\xff\0" * 100, b"62\x001\x00nine\0"):
        client.raw(encode_frame(payload))
    assert client.errors(6) == [320] * 6
    assert client.ask_time()


def test_a_flood_of_bad_frames_leaves_others_and_the_memory_alone(simulators: Simulators, connect: Connect) -> None:
    simulator = simulators.start(SIM_PACING="off")
    good = connect(simulator, 1)
    mutator = Mutator(11, requests(176))
    chance = random.Random(11)
    frames = [encode_frame(mutator.next()) for _ in range(3000)]
    # the first round lets caches, books and histories fill
    before = 0
    for turn in range(4):
        bad = connect(simulator, 100 + turn)
        chance.shuffle(frames)
        for frame in frames:
            bad.raw(frame)
        assert good.ask_time()
        bad.close()
        if turn == 0:
            before = resident_kb(simulator)
    grown = resident_kb(simulator) - before
    assert grown < 40_000, f"the simulator has grown by {grown} kB over 9000 frames"
    assert simulator.get("/healthz")["ok"]
