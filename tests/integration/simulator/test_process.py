"""The simulator as a process: mistakes at the start, bytes that mean nothing, faults, restarts."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from ib_insync import IB, LimitOrder, MarketOrder, Stock

from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.connection import ClientConnection, ServerHello
from tests.support import SpawnedProcess, Spawner, eventually, eventually_sync, free_port

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]
AAPL = Stock(conId=265598, symbol="AAPL", exchange="SMART", currency="USD")


class Running:
    def __init__(self, spawn: Spawner, **settings: str) -> None:
        self.spawn = spawn
        self.port, self.control_port = free_port(), free_port()
        self.settings = {"SIM_TICK_RATE": "10", **settings}
        self.process = self.start()

    def start(self) -> SpawnedProcess:
        ports = {"SIM_PORT": str(self.port), "SIM_HTTP_PORT": str(self.control_port)}
        process = self.spawn("services.simulator", env={**ports, **self.settings})
        process.wait_for_output("service.started", 20)
        return process

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.control_port}{path}", timeout=10) as answer:
            return json.load(answer)

    def text(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.control_port}{path}", timeout=10) as answer:
            return answer.read().decode()

    def post(self, path: str, headers: dict[str, str] | None = None, **parameters: Any) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.control_port}{path}",
            json.dumps(parameters).encode(),
            {"Content-Type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as e:
            with e:
                return e.code, json.load(e)


class RawClient:
    """A client of our own codec on a blocking socket, to see exactly what comes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.codec = ClientConnection()
        self.events: list[Any] = []
        self.socket.sendall(self.codec.data_to_send())
        self.until(lambda: any(isinstance(each, ServerHello) for each in self.events))

    def send(self, *requests: rq.Request) -> None:
        for request in requests:
            self.codec.send(request)
        self.socket.sendall(self.codec.data_to_send())

    def until(self, condition: Any) -> None:
        while not condition():
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("closed")
            self.events.extend(self.codec.receive_data(data))

    def errors(self) -> list[int]:
        return [each.code for each in self.events if isinstance(each, rs.ErrorMessage) and each.code < 2000]

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def running(spawn: Spawner) -> Running:
    return Running(spawn)


async def connected(port: int, client_id: int) -> IB:
    ib = IB()
    await ib.connectAsync("127.0.0.1", port, clientId=client_id, timeout=8)
    return ib


def test_mistakes_at_the_start_are_one_sentence_each(spawn: Spawner, tmp_path: Path) -> None:
    process = spawn("services.simulator", env={"SIM_ACCOUNTS": "nonsense", "SIM_PORT": "x", "SIM_SPEED": "0"})
    assert process.wait(20) == 78
    for name in ("SIM_ACCOUNTS", "SIM_PORT", "SIM_SPEED"):
        assert name in process.output
    assert "Traceback" not in process.output

    bad = tmp_path / "IBM_day.csv"
    bad.write_text("ts_ms,kind,bid_or_price,bid_size_or_size,ask,ask_size\n1,Q,2,1,1,1\n")
    process = spawn("services.simulator", "--replay", str(bad), "--port", "0", "--http-port", "0")
    assert process.wait(20) == 78
    assert "line 2, column 5: the quote is crossed or locked" in process.output and "Traceback" not in process.output

    process = spawn("services.simulator", "--replay", str(tmp_path / "missing.csv"))
    assert process.wait(20) == 78 and "there is no file" in process.output

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process = spawn("services.simulator", "--port", port, "--http-port", "0")
        assert process.wait(20) == 78
        assert f"port {port}" in process.output and "Traceback" not in process.output
        process = spawn("services.simulator", "--port", "0", "--http-port", port)
        assert process.wait(20) == 78 and "SIM_HTTP_PORT" in process.output


def test_the_handshake_reply_is_alone_and_bad_frames_do_not_end_a_session(running: Running) -> None:
    client = RawClient(running.port)
    assert [type(each) for each in client.events] == [ServerHello]
    client.send(rq.StartApi(1))
    client.until(lambda: any(isinstance(each, rs.NextValidId) for each in client.events))
    client.socket.sendall(b"\0\0\0\x05" + b"999\0\0" + b"\0\0\0\x04" + b"1\0x\0")
    client.until(lambda: len(client.errors()) == 2)
    assert client.errors() == [320, 320]
    client.send(rq.ReqCurrentTime())
    client.until(lambda: any(isinstance(each, rs.CurrentTime) for each in client.events))
    client.close()


def test_garbage_ends_only_its_own_session(running: Running) -> None:
    good = RawClient(running.port)
    good.send(rq.StartApi(1))
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"API\0\xff\xff\xff\xff", b"API\0\0\0\0\x04abcd", b"\0" * 1000):
        bad = socket.create_connection(("127.0.0.1", running.port), timeout=5)
        bad.sendall(garbage)
        try:
            while bad.recv(4096):
                pass
        except ConnectionResetError:
            pass  # as good an end as a closed stream
        bad.close()
    good.send(rq.ReqCurrentTime())
    good.until(lambda: any(isinstance(each, rs.CurrentTime) for each in good.events))
    good.close()
    eventually_sync(lambda: running.get("/truth?orders=no")["sessions"] == [])


def test_control_refuses_what_it_cannot_do(running: Running) -> None:
    assert "nightly_reset" in running.get("/faults")["faults"]
    assert running.post("/faults/nonsense")[0] == 400
    assert running.post("/faults/outage", seconds="long")[0] == 400
    assert running.post("/faults/outage", {"Origin": "https://evil.example"}, seconds=1)[0] == 403
    assert running.post("/faults/data_stall", seconds=1)[0] == 200
    assert running.get("/healthz")["ok"] is True
    assert "cq_simulator_messages_sent_total" in running.text("/metrics")


async def test_a_killed_simulator_comes_back_with_its_books(spawn: Spawner, tmp_path: Path) -> None:
    running = Running(spawn, SIM_STATE_DIR=str(tmp_path / "state"))
    ib = await connected(running.port, 3)
    trade = ib.placeOrder(AAPL, MarketOrder("BUY", 100, orderRef="first"))
    kept = ib.placeOrder(AAPL, LimitOrder("BUY", 10, 1.0, orderRef="kept", tif="GTC"))
    await eventually(lambda: trade.isDone() and kept.orderStatus.status == "Submitted")
    before = await asyncio.to_thread(running.get, "/truth")
    running.process.signal(signal.SIGKILL)
    await asyncio.to_thread(running.process.wait)
    await eventually(lambda: not ib.isConnected())
    running.process = await asyncio.to_thread(running.start)
    after = await asyncio.to_thread(running.get, "/truth")
    for name in ("orders", "executions"):
        assert before[name] == after[name]
    assert before["accounts"]["DUSIM0001"]["cash"] == after["accounts"]["DUSIM0001"]["cash"]
    again = await connected(running.port, 3)
    assert again.client._reqIdSeq > kept.order.orderId
    [position] = again.positions()
    assert position.position == 100
    assert [each.order.orderRef for each in again.openTrades()] == ["kept"]
    assert [each.execution.orderRef for each in again.fills()] == ["first"]
    again.cancelOrder(again.openTrades()[0].order)
    await eventually(lambda: not again.openTrades())
    again.disconnect()
    lines = (await asyncio.to_thread(running.text, "/truth/ledger")).splitlines()
    entries = [json.loads(line) for line in lines]
    assert [each["seq"] for each in entries] == list(range(1, len(entries) + 1))
    assert [each["order_ref"] for each in entries if each["kind"] == "order_received"] == ["first", "kept"]


async def test_a_nightly_reset_drops_everybody_and_loses_no_order(running: Running) -> None:
    ib = await connected(running.port, 3)
    codes: list[int] = []
    ib.errorEvent += lambda _, code, text, contract: codes.append(code)
    trade = ib.placeOrder(AAPL, LimitOrder("BUY", 10, 1.0, orderRef="kept", tif="GTC"))
    await eventually(lambda: trade.orderStatus.status == "Submitted")
    status, _ = await asyncio.to_thread(running.post, "/faults/nightly_reset", seconds=0.5, port_seconds=1.0)
    assert status == 200
    await eventually(lambda: not ib.isConnected())
    assert {2103, 1100} <= set(codes)
    with pytest.raises(OSError):
        await connected(running.port, 4)

    async def back() -> IB | None:
        try:
            return await connected(running.port, 3)
        except (OSError, TimeoutError):
            return None

    again: IB = await eventually(back, 15)
    await eventually(lambda: [each.order.orderRef for each in again.openTrades()] == ["kept"])
    again.disconnect()


async def test_a_client_id_in_use_is_refused(running: Running) -> None:
    first = await connected(running.port, 3)
    second = IB()
    codes: list[int] = []
    second.errorEvent += lambda _, code, text, contract: codes.append(code)
    with pytest.raises(TimeoutError):
        await second.connectAsync("127.0.0.1", running.port, clientId=3, timeout=1)
    assert codes == [326]
    first.disconnect()


def test_a_client_that_does_not_read_is_cut_and_others_go_on(spawn: Spawner) -> None:
    running = Running(spawn, SIM_TICK_RATE="3000", SIM_PACING="off")
    deaf = RawClient(running.port)
    deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.send(rq.StartApi(1))
    for number in range(1, 160):  # large answers that nobody reads
        deaf.send(rq.ReqHistoricalData(number, _apple(), duration="2 D", bar_size="1 min"))
    good = RawClient(running.port)
    good.send(rq.StartApi(2), rq.ReqCurrentTime())
    good.until(lambda: any(isinstance(each, rs.CurrentTime) for each in good.events))
    eventually_sync(lambda: [each["client_id"] for each in running.get("/truth?orders=no")["sessions"]] == [2], 60)
    good.send(rq.ReqCurrentTime())
    good.close()
    deaf.close()


def _apple() -> Any:
    from shared.tws.contract import TwsContract

    return TwsContract(con_id=265598, exchange="SMART")


def test_it_stops_at_once_when_told(running: Running) -> None:
    client = RawClient(running.port)
    client.send(rq.StartApi(1))
    assert running.process.terminate(10) == 0
    with pytest.raises(ConnectionError):
        client.until(lambda: False)
    client.close()


def test_a_scenario_plays_and_commands_come_from_the_command_line(spawn: Spawner, tmp_path: Path) -> None:
    night = tmp_path / "night.toml"
    night.write_text('[[step]]\nafter_s = 0.2\ndo = "deposit"\namount = "25"\n')
    running = Running(spawn, SIM_SCENARIO=str(night), SIM_STATE_DIR=str(tmp_path / "books"))
    eventually_sync(lambda: running.get("/truth")["accounts"]["DUSIM0001"]["cash"]["USD"] == "1000025", 10)

    def cq(*words: str) -> tuple[int, str]:
        process = spawn("services.simulator", *words, env={"SIM_HTTP_PORT": str(running.control_port)})
        return process.wait(20), process.output

    assert cq("do", "deposit", "amount=5") == (0, "done: deposit\n")
    status, books = cq("truth", "--no-orders")
    assert status == 0 and json.loads(books)["accounts"]["DUSIM0001"]["cash"]["USD"] == "1000030"
    status, lines = cq("ledger")
    entries = [json.loads(line) for line in lines.splitlines()]
    assert [each["amount"] for each in entries if each["kind"] == "cash"] == ["25", "5"]
    assert (tmp_path / "books" / "ledger.jsonl").read_text().splitlines() == lines.splitlines()
    assert "dividend symbol=required amount=required" in cq("list")[1]
    assert cq("check", str(night)) == (0, f"{night}: 1 steps, all of them possible\n")
    status, said = cq("do", "nonsense")
    assert status == 65 and said.startswith("simulator: there is no command 'nonsense'") and "Traceback" not in said
    status, said = cq("do", "deposit", "--http-port", str(free_port()))
    assert status == 69 and "no simulator answers" in said
    assert "Point a client at the port as if it were TWS" in cq("--help")[1]

    night.write_text('[[step]]\nafter_s = 1\n  do = "rset"\n')
    process = spawn("services.simulator", "--scenario", str(night), "--port", "0", "--http-port", "0")
    assert process.wait(20) == 78
    assert "night.toml, line 3, column 3: there is no command 'rset'" in process.output


def test_a_half_open_connection_is_silent_and_its_client_id_is_free(running: Running) -> None:
    first = RawClient(running.port)
    first.send(rq.StartApi(5))
    first.until(lambda: any(isinstance(each, rs.NextValidId) for each in first.events))
    assert running.post("/commands/half_open", client_id=5)[0] == 200
    first.send(rq.ReqCurrentTime())
    first.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        first.until(lambda: any(isinstance(each, rs.CurrentTime) for each in first.events))
    second = RawClient(running.port)
    second.send(rq.StartApi(5))
    second.until(lambda: any(isinstance(each, rs.NextValidId) for each in second.events))
    first.close()
    second.close()


def test_after_a_lockout_the_port_opens_with_the_login(running: Running) -> None:
    assert running.post("/commands/login_lockout")[0] == 200
    eventually_sync(lambda: not running.get("/healthz")["listening"], 5)
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", running.port), timeout=2)
    assert running.post("/commands/login")[0] == 200
    eventually_sync(lambda: running.get("/healthz")["listening"], 5)
    RawClient(running.port).close()
