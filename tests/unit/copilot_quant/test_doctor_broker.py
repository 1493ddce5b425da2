from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from copilot_quant.doctor_broker import examine_broker
from copilot_quant.findings import Finding
from shared.settings import BrokerSettings, Mode
from shared.tws.connection import ServerConnection
from shared.tws.contract import TwsContract
from shared.tws.layout import Response
from shared.tws.requests_account import ReqPositions, StartApi
from shared.tws.requests_data import ReqMktData
from shared.tws.responses_account import ErrorMessage, ManagedAccounts, NextValidId, Position, PositionEnd
from shared.tws.responses_market import MarketDataType, TickPrice

SETTINGS = BrokerSettings(mode=Mode.SIM)
Replies = Mapping[type[object], Sequence[Response]]
APPLE = TwsContract(con_id=265598, symbol="AAPL", sec_type="STK", exchange="NASDAQ", currency="USD")
HELD = [
    Position("DUSIM0001", APPLE, Decimal(100), 150.0),
    Position("DUSIM0002", APPLE, Decimal(7), 150.0),
    PositionEnd(),
]
LIVE, PRICE = MarketDataType(7001, 1), TickPrice(7001, 1, 150.0, 100)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copilot_quant.doctor_broker.NOTICES_S", 0.1)
    monkeypatch.setattr("copilot_quant.doctor_broker.ANSWER_LIMIT_S", 0.3)


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {one.name: one for one in findings}


@asynccontextmanager
async def a_tws(
    answer: Callable[[ServerConnection], Awaitable[bool]] | None, replies: Replies | None = None
) -> AsyncIterator[int]:
    """Listen like a TWS; `answer` greets after START_API and says whether the session goes on. None: says nothing.

    `replies` are sent to requests by their class; without one a request stays unanswered.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = ServerConnection("20261123 12:00:00 EST")
        try:
            while data := await reader.read(4096):
                if answer is None:
                    continue
                for event in connection.receive_data(data):
                    if isinstance(event, StartApi) and not await answer(connection):
                        writer.write(connection.data_to_send())
                        return
                    for reply in (replies or {}).get(type(event), ()):
                        connection.send(reply)
                writer.write(connection.data_to_send())
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def greeting(accounts: str, *notices: tuple[int, str]) -> Callable[[ServerConnection], Awaitable[bool]]:
    async def answer(connection: ServerConnection) -> bool:
        connection.send(ManagedAccounts(accounts=accounts))
        connection.send(NextValidId(order_id=1))
        for code, text in notices:
            connection.send(ErrorMessage(id=-1, code=code, text=text))
        return True

    return answer


async def test_a_broker_with_our_account_is_fine() -> None:
    async with a_tws(greeting("DUSIM0001,"), {ReqPositions: HELD, ReqMktData: [LIVE, PRICE]}) as port:
        found = by_name(await examine_broker("127.0.0.1", port, SETTINGS))
    assert [one.state for one in found.values()] == ["ok"] * 5
    assert "server version" in found["API"].text
    assert found["positions"].text == "100 AAPL (1 in other accounts, which are left alone)"
    assert found["data AAPL"].text == "LIVE: prices come"


@pytest.mark.parametrize(
    "data, words, cure",
    [
        ([MarketDataType(7001, 3), PRICE], "prices come delayed", "subscription"),
        (
            [ErrorMessage(id=7001, code=10167, text="delayed"), MarketDataType(7001, 3), PRICE],
            "delayed",
            "subscription",
        ),
        ([ErrorMessage(id=7001, code=354, text="not subscribed")], "354: not subscribed", "subscribe"),
        ([ErrorMessage(id=7001, code=4711, text="odd")], "4711: odd", "look the code up"),
        ([LIVE], "LIVE: no price came", "market open"),
    ],
)
async def test_the_state_of_the_data_and_its_cure(data: list[Response], words: str, cure: str) -> None:
    async with a_tws(greeting("DUSIM0001"), {ReqPositions: [PositionEnd()], ReqMktData: data}) as port:
        found = by_name(await examine_broker("127.0.0.1", port, SETTINGS))
    assert found["positions"].text == "none"
    assert found["data AAPL"].state == "warn" and words in found["data AAPL"].text and cure in found["data AAPL"].cure


async def test_a_list_of_positions_that_does_not_come_is_said() -> None:
    async with a_tws(greeting("DUSIM0001")) as port:
        found = by_name(await examine_broker("127.0.0.1", port, SETTINGS))
    assert found["positions"].state == "warn" and "did not come" in found["positions"].text


async def test_another_account_and_another_mode_are_said_with_what_to_change() -> None:
    async with a_tws(greeting("U7654321")) as port:
        found = by_name(await examine_broker("127.0.0.1", port, SETTINGS))
    assert "IB_SIM_ACCOUNT" in found["account"].cure and found["account"].state == "bad"
    assert "CQ_MODE" in found["mode"].cure and "7654321" not in found["account"].text


async def test_a_client_id_in_use_is_the_reason_and_not_a_silence() -> None:
    async def refuse(connection: ServerConnection) -> bool:
        connection.send(ErrorMessage(id=-1, code=326, text="client id is already in use"))
        return False

    async with a_tws(refuse) as port:
        found = by_name(await examine_broker("127.0.0.1", port, SETTINGS))
    assert found["connection"].state == "ok" and "326" in found["API"].text and "wait" in found["API"].cure


async def test_what_tws_itself_misses_is_ibs_side() -> None:
    farm = (2103, "Market data farm connection is broken:usfarm")
    async with a_tws(greeting("DUSIM0001", (1100, "Connectivity lost"), farm, (2104, "is OK:eufarm"))) as port:
        found = by_name(await examine_broker("127.0.0.1", port, SETTINGS))
    assert found["IB servers"].state == "bad" and "1100" in found["IB servers"].text
    assert found["data farm"].state == "warn" and "usfarm" in found["data farm"].text
    async with a_tws(greeting("DUSIM0001", (1100, "lost"), (1102, "restored"))) as port:
        assert "IB servers" not in by_name(await examine_broker("127.0.0.1", port, SETTINGS))


async def test_an_advisor_login_is_refused_with_a_sentence() -> None:
    async with a_tws(greeting("DF12345,DUSIM0001")) as port:
        found = by_name(await examine_broker("127.0.0.1", port, SETTINGS))
    assert found["login"].state == "bad" and "advisor" in found["login"].text


@pytest.mark.parametrize("says_hello", [False, True])
async def test_a_closed_connection_is_told_apart_by_how_far_it_came(says_hello: bool) -> None:
    async def close(connection: ServerConnection) -> bool:
        return False

    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    if says_hello:
        async with a_tws(close) as port:
            found = by_name(await examine_broker("127.0.0.1", port, SETTINGS))
        assert "after the greeting" in found["API"].text and "dialogs" in found["API"].cure
        return
    server = await asyncio.start_server(slam, "127.0.0.1", 0)
    async with server:
        found = by_name(await examine_broker("127.0.0.1", server.sockets[0].getsockname()[1], SETTINGS))
    assert "before a word" in found["API"].text and "trusted IPs" in found["API"].cure


async def test_a_tws_that_only_accepts_has_a_dialog_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copilot_quant.doctor_broker.CONNECT_LIMIT_S", 0.2)
    async with a_tws(None) as port:
        found = by_name(await examine_broker("127.0.0.1", port, SETTINGS))
    assert "timed out" in found["API"].text and "dialog" in found["API"].cure


async def test_a_port_where_nothing_listens_says_what_to_tick() -> None:
    async with a_tws(None) as port:
        pass
    found, *_ = await examine_broker("127.0.0.1", port, SETTINGS)
    assert found.state == "bad" and str(port) in found.cure and "Socket Clients" in found.cure


@pytest.mark.parametrize("name, cure", [("TWS, paper", "IB_PAPER_PORT="), ("TWS, live", "that is not paper")])
async def test_a_tws_at_another_of_the_usual_ports_is_found(
    monkeypatch: pytest.MonkeyPatch, name: str, cure: str
) -> None:
    settings = BrokerSettings(mode=Mode.PAPER, paper_account="DU1234567")
    async with a_tws(None) as there:
        async with a_tws(None) as gone:
            pass
        monkeypatch.setattr("copilot_quant.doctor_broker.USUAL_PORTS", {there: name, gone: "IB Gateway, paper"})
        found = by_name(await examine_broker("127.0.0.1", gone, settings))
    assert found["connection"].state == "bad"
    assert str(there) in found["other port"].text and cure in found["other port"].cure
