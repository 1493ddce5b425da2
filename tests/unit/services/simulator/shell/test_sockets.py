from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from services.simulator.app import open_exchange
from services.simulator.settings import SimulatorSettings
from services.simulator.shell.sockets import Exchange
from shared.errors import ConfigError
from shared.settings import load_settings
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.connection import ClientConnection


class Client:
    """A client of our own codec; the exchange's fixture closes what is left open."""

    opened: ClassVar[list[Client]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.codec = ClientConnection()
        self.events: list[Any] = []

    @classmethod
    async def open(cls, exchange: Exchange, client_id: int) -> Client:
        client = cls(*await asyncio.open_connection("127.0.0.1", exchange.port))
        cls.opened.append(client)
        client.writer.write(client.codec.data_to_send())
        await client.until(lambda: bool(client.events))
        client.send(rq.StartApi(client_id))
        return client

    def send(self, request: rq.Request) -> None:
        self.codec.send(request)
        self.writer.write(self.codec.data_to_send())

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(20):
            while not condition():
                data = await self.reader.read(65536)
                if not data:
                    raise EOFError
                self.events.extend(self.codec.receive_data(data))

    async def heard(self, kind: type) -> None:
        await self.until(lambda: any(isinstance(each, kind) for each in self.events))


@pytest_asyncio.fixture
async def exchange(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Exchange]:
    for name in ("SIM_PORT", "SIM_HTTP_PORT"):
        monkeypatch.setenv(name, "0")
    async with AsyncExitStack() as resources:
        opened, _ = await open_exchange(load_settings(SimulatorSettings), resources)
        serving = asyncio.create_task(opened.serve())
        yield opened
        for client in Client.opened:
            client.writer.close()
            with suppress(OSError):
                await client.writer.wait_closed()
        Client.opened.clear()
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


async def test_a_client_is_answered_and_a_taken_id_is_closed(exchange: Exchange) -> None:
    client = await Client.open(exchange, 1)
    await client.heard(rs.NextValidId)
    second = await Client.open(exchange, 1)
    with pytest.raises(EOFError):
        await second.until(lambda: False)
    assert [each.code for each in second.events if isinstance(each, rs.ErrorMessage)] == [326]
    client.send(rq.ReqCurrentTime())
    await client.heard(rs.CurrentTime)


async def test_an_abandoned_connection_hears_nothing_and_frees_its_id(exchange: Exchange) -> None:
    client = await Client.open(exchange, 1)
    await client.heard(rs.NextValidId)
    exchange.inject_fault("half_open", {"client_id": 1})
    client.send(rq.ReqCurrentTime())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await client.heard(rs.CurrentTime)
    await (await Client.open(exchange, 1)).heard(rs.NextValidId)


async def test_a_cut_ends_the_connection_and_a_lockout_the_port(exchange: Exchange) -> None:
    client = await Client.open(exchange, 1)
    await client.heard(rs.NextValidId)
    exchange.inject_fault("login_lockout", {})
    with pytest.raises((EOFError, ConnectionError)):
        await client.until(lambda: False)
    assert not exchange.is_listening
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", exchange.port)
    exchange.inject_fault("login", {})
    async with asyncio.timeout(10):
        while not exchange.is_listening:
            await asyncio.sleep(0.01)
    await (await Client.open(exchange, 1)).heard(rs.NextValidId)


async def test_a_taken_port_is_said(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_PORT", str(exchange.port))
    async with AsyncExitStack() as resources:
        with pytest.raises(ConfigError, match=r"SIM_PORT: port .* cannot be used"):
            await open_exchange(load_settings(SimulatorSettings), resources)
