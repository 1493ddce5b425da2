"""The guard over real sockets, between unmodified ib_insync and the simulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import ib_insync
import pytest

from services.guard.app import open_guard
from services.guard.settings import GuardSettings
from services.guard.shell.relay import Relay
from services.simulator.app import open_exchange
from services.simulator.settings import SimulatorSettings
from shared.errors import ConfigError
from shared.tws.framing import encode_frame
from shared.tws.hello import ClientHello, TradingClaim, encode_hello
from tests.support import eventually

TRADER = 101
LEADER = TradingClaim(10, "gateway-1", "inc")
SUCCESSOR = TradingClaim(11, "gateway-2", "inc")


@dataclass
class Bench:
    """A simulator, a guard in front of it, and clients."""

    resources: AsyncExitStack
    state_dir: Path
    exchange: Any
    truth_port: int
    relay: Relay
    http: str

    async def client(
        self, client_id: int, claim: TradingClaim | None = None, port: int = 0, timeout: float = 4.0
    ) -> ib_insync.IB:
        ib = ib_insync.IB()
        ib.client.MaxRequests = 0
        if claim is not None:
            ib.client.setConnectOptions(claim.as_option())
        self.resources.callback(ib.disconnect)
        await ib.connectAsync("127.0.0.1", port or self.relay.port, client_id, timeout=timeout)
        return ib

    async def ask(self, method: str, path: str, **kwargs: Any) -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session, session.request(method, self.http + path, **kwargs) as reply:
            return reply.status, await reply.json(content_type=None)


async def start_guard(resources: AsyncExitStack, tmp_path: Path, upstream: int, **more: Any) -> tuple[Relay, str]:
    values = {
        "mode": "sim", "GUARD_LISTEN_PORT": 0, "GUARD_HTTP_PORT": 0, "GUARD_UPSTREAM_PORT": upstream,
        "GUARD_STATE_DIR": tmp_path / "guard",
    }  # fmt: skip
    settings = GuardSettings.model_validate(values | more)
    relay, control, _ = await open_guard(settings, resources)
    return relay, f"http://127.0.0.1:{control.port}"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as resources:
        settings = SimulatorSettings.model_validate(
            {"SIM_PORT": 0, "SIM_HTTP_PORT": 0, "SIM_STATE_DIR": str(tmp_path / "sim"), "SIM_TICK_RATE": 50}
        )
        exchange, control = await open_exchange(settings, resources)
        serving = asyncio.ensure_future(exchange.serve())
        resources.callback(serving.cancel)
        relay, http = await start_guard(resources, tmp_path, exchange.port)
        yield Bench(resources, tmp_path, exchange, control.port, relay, http)


def stock() -> ib_insync.Contract:
    return ib_insync.Stock("AAPL", "SMART", "USD")


async def test_the_leader_trades_and_the_others_watch(bench):
    leader, watcher = await bench.client(TRADER, LEADER), await bench.client(1)
    (contract,) = await leader.qualifyContractsAsync(stock())
    trade = leader.placeOrder(contract, ib_insync.LimitOrder("BUY", 10, 1.0))
    await eventually(lambda: trade.orderStatus.status in ("Submitted", "PreSubmitted"))
    leader.cancelOrder(trade.order)
    await eventually(lambda: trade.orderStatus.status == "Cancelled")

    await watcher.reqPositionsAsync()
    ticker = watcher.reqMktData(contract)
    await eventually(lambda: ticker.bid > 0)
    errors: list[tuple[int, int]] = []
    watcher.errorEvent += lambda req_id, code, text, _: errors.append((req_id, code))
    refused = watcher.placeOrder(contract, ib_insync.MarketOrder("BUY", 10))
    await eventually(lambda: (refused.order.orderId, 201) in errors)
    assert watcher.isConnected()
    assert not await leader.reqAllOpenOrdersAsync()


async def test_a_successor_takes_over_at_once_and_owns_the_orders(bench):
    old = await bench.client(TRADER, LEADER)
    (contract,) = await old.qualifyContractsAsync(stock())
    trade = old.placeOrder(contract, ib_insync.LimitOrder("BUY", 10, 1.0, orderRef="kept"))
    await eventually(lambda: trade.orderStatus.status in ("Submitted", "PreSubmitted"))
    new = await bench.client(TRADER, SUCCESSOR)
    await eventually(lambda: not old.isConnected())
    (kept,) = await new.reqAllOpenOrdersAsync()
    assert kept.order.orderRef == "kept"
    new.cancelOrder(kept.order)
    await eventually(lambda: kept.orderStatus.status == "Cancelled")
    with pytest.raises((TimeoutError, ConnectionError, OSError)):
        await bench.client(TRADER, LEADER, timeout=0.5)
    assert new.isConnected()


async def test_the_epoch_and_the_halt_survive_a_restart_of_the_guard(bench):
    leader = await bench.client(TRADER, SUCCESSOR)
    assert (await bench.ask("GET", "/epoch"))[1]["epoch"] == 11
    status, state = await bench.ask("POST", "/halt", json={"reason": "storm", "who": "me"})
    assert (status, state["holding"], state["reason"]) == (200, True, "storm")
    await bench.relay.stop()
    await eventually(lambda: not leader.isConnected())
    with pytest.raises(ConfigError, match="another guard"):
        await start_guard(bench.resources, bench.state_dir, bench.exchange.port)
    bench.relay._store.close()
    bench.relay, bench.http = await start_guard(bench.resources, bench.state_dir, bench.exchange.port)
    with pytest.raises((TimeoutError, ConnectionError, OSError)):
        await bench.client(TRADER, LEADER, timeout=0.5)
    leader = await bench.client(TRADER, SUCCESSOR)
    (contract,) = await leader.qualifyContractsAsync(stock())
    trade = leader.placeOrder(contract, ib_insync.MarketOrder("BUY", 1))
    await eventually(lambda: any("storm" in entry.message for entry in trade.log))
    assert not leader.fills()
    assert (await bench.ask("POST", "/resume", json={"reason": "over", "who": "me"}))[1]["holding"] is False
    trade = leader.placeOrder(contract, ib_insync.MarketOrder("BUY", 1))
    await eventually(lambda: trade.orderStatus.status == "Filled")


async def test_a_reader_cannot_take_the_leaders_client_id(bench):
    errors: list[int] = []
    ib = ib_insync.IB()
    ib.errorEvent += lambda req_id, code, text, _: errors.append(code)
    with pytest.raises((TimeoutError, ConnectionError, OSError)):
        await ib.connectAsync("127.0.0.1", bench.relay.port, TRADER, timeout=1)
    assert errors == [326]


async def test_health_is_a_round_trip_through_the_api(bench, tmp_path):
    assert await bench.ask("GET", "/healthz") == (200, {"ok": True, "failed": None})
    # a port that accepts and says nothing, like socat in front of a dead gateway
    silent = await asyncio.start_server(lambda reader, writer: bench.resources.callback(writer.close), "127.0.0.1", 0)
    bench.resources.callback(silent.close)
    port = silent.sockets[0].getsockname()[1]
    _, http = await start_guard(bench.resources, tmp_path, port, GUARD_STATE_DIR=tmp_path / "other")
    bench.http = http
    status, answer = await bench.ask("GET", "/healthz")
    assert status == 503
    assert "handshake" in answer["failed"] or "closed" in answer["failed"]


async def test_resume_needs_the_token_where_one_is_set_and_pages_may_do_nothing(bench, tmp_path):
    _, bench.http = await start_guard(
        bench.resources, tmp_path, bench.exchange.port, GUARD_STATE_DIR=tmp_path / "other", GUARD_TOKEN="s3cret"
    )
    assert (await bench.ask("POST", "/halt", headers={"Origin": "http://evil"}))[0] == 403
    assert (await bench.ask("GET", "/halt"))[1]["holding"] is False
    assert (await bench.ask("POST", "/halt", data=b"not json"))[1]["holding"] is True
    assert (await bench.ask("POST", "/resume"))[0] == 403
    assert (await bench.ask("POST", "/resume", headers={"Authorization": "Bearer wrong"}))[0] == 403
    status, state = await bench.ask("POST", "/resume", headers={"Authorization": "Bearer s3cret"})
    assert (status, state["holding"]) == (200, False)


async def test_paper_starts_held_until_somebody_resumes(bench, tmp_path):
    _, bench.http = await start_guard(
        bench.resources, tmp_path, bench.exchange.port, GUARD_STATE_DIR=tmp_path / "other", mode="paper"
    )
    assert (await bench.ask("GET", "/halt"))[1]["holding"] is True
    assert (await bench.ask("POST", "/resume"))[0] == 403


async def test_a_broker_that_is_away_costs_one_session_and_not_the_guard(bench, tmp_path):
    relay, _ = await start_guard(bench.resources, tmp_path, 1, GUARD_STATE_DIR=tmp_path / "other")
    with pytest.raises((TimeoutError, ConnectionError, OSError)):
        await bench.client(1, port=relay.port, timeout=0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(encode_hello(ClientHello(157, 176)))
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    "bytes_", [b"GET / HTTP/1.1\r\n\r\n", b"API\0" + encode_frame(b"v157..176 cq.epoch=x"), b"API\0\xff\xff\xff\xff"]
)
async def test_junk_is_dropped_before_the_broker_hears_of_it(bench, bytes_):
    before = bench.relay.gate.sessions
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.relay.port)
    writer.write(bytes_)
    assert await reader.read() == b""
    writer.close()
    assert bench.relay.gate.sessions == before


async def test_half_a_frame_reaches_nobody_and_the_leader_trades_on(bench):
    leader = await bench.client(TRADER, LEADER)
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.relay.port)
    writer.write(encode_hello(ClientHello(157, 176)))
    size = int.from_bytes(await reader.readexactly(4), "big")
    await reader.readexactly(size)  # the broker's version: the session stands
    writer.write(encode_frame(b"71\x002\x0055\x00\x00")[:-3])
    await writer.drain()
    writer.close()
    await eventually(lambda: len(bench.relay.gate.sessions) == 1)
    (contract,) = await leader.qualifyContractsAsync(stock())
    trade = leader.placeOrder(contract, ib_insync.LimitOrder("BUY", 10, 1.0))
    await eventually(lambda: trade.orderStatus.status in ("Submitted", "PreSubmitted"))
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{bench.truth_port}/truth/ledger") as reply:
        seen = {json.loads(line).get("client_id") for line in (await reply.text()).splitlines()}
    assert TRADER in seen and 55 not in seen, "a startApi without its end is none"


async def test_a_frame_larger_than_any_request_ends_the_session(bench):
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.relay.port)
    writer.write(encode_hello(ClientHello(157, 176)))
    await reader.readexactly(4)
    writer.write(b"\x00\xff\xff\xff")
    await reader.read()
    writer.close()
    await eventually(lambda: not bench.relay.gate.sessions)
