"""The library's decoders fed with bytes: nothing is dropped, queries end or raise, groups leave in one write."""

from __future__ import annotations

import asyncio
import os
import struct
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from services.gateway.core.ledger import ClaimedOrder, OrderTerms, terms_in
from services.gateway.ports import ClientIdInUse, QueryFailed, SessionListener
from services.gateway.shell.ib_library import load_library
from services.gateway.shell.ib_session import IbSession
from shared.errors import BrokerUnavailable, TimedOut
from shared.messages.orders import Side

LIBRARY = load_library(os.environ.get("TEST_LIBRARY") or "ib_insync")
"""The other one is put in by tests/conformance/tws/test_gateway_on_ib_async.py."""


class Heard(SessionListener):
    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("told", "of", "__class__") or name.startswith("_"):
            return object.__getattribute__(self, name)
        return lambda *values: self.told.append((name, values))

    def of(self, name: str) -> list[Any]:
        return [values for kind, values in object.__getattribute__(self, "told") if kind == name]


class Tws:
    """A TCP server that answers as told; frames in and out."""

    def __init__(self) -> None:
        self.frames: list[list[str]] = []
        self.writer: asyncio.StreamWriter | None = None
        self.reads: list[int] = []
        self.greeting: list[tuple[object, ...]] = [(15, 1, "DU1"), (9, 1, 7)]
        self.got = asyncio.Event()

    async def start(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self.server.sockets[0].getsockname()[1])

    def send(self, *fields: object) -> None:
        assert self.writer is not None
        body = "".join(f"{field}\0" for field in fields).encode()
        self.writer.write(struct.pack(">I", len(body)) + body)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        await reader.readexactly(4)
        (size,) = struct.unpack(">I", await reader.readexactly(4))
        self.hello = (await reader.readexactly(size)).decode()
        self.send(176, "20261123 10:00:00 UTC")
        first = True
        try:
            while True:
                (size,) = struct.unpack(">I", await reader.readexactly(4))
                self.frames.append((await reader.readexactly(size)).decode().split("\0")[:-1])
                if first:
                    first = False
                    for fields in self.greeting:
                        self.send(*fields)
                self.got.set()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    async def stop(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.server.close()


@pytest.fixture
async def tws() -> Any:
    made = Tws()
    made.port = await made.start()  # type: ignore[attr-defined]
    yield made
    await made.stop()


async def opened(tws: Any, **more: Any) -> tuple[IbSession, Heard]:
    heard = Heard()
    session = IbSession(5, heard, library=LIBRARY, **more)
    await session.open("127.0.0.1", tws.port, limit_s=2.0)
    return session, heard


async def until(predicate: Any) -> None:
    for _ in range(400):
        if predicate():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not in time")


EXECUTION = (
    11, -1, 3, 1, "AAPL", "STK", "", "0.0", "", "", "SMART", "USD", "AAPL", "NMS", "e.01.01",
    "20261123 10:00:00 Mars/Base",
    "DU1", "NYSE", "BOT", "5", "10.5", 99, 5, 0, "5", "10.5", "ref", "", "", "", 2,
)  # fmt: skip


async def test_the_handshake_gives_accounts_and_the_next_id(tws: Any) -> None:
    session, _ = await opened(tws, options="cq.epoch=1,cq.owner=a,cq.incarnation=b")
    assert (session.accounts, session.next_valid_id, session.is_open) == (("DU1",), 7, True)
    assert tws.hello == "v157..176 cq.epoch=1,cq.owner=a,cq.incarnation=b"
    await session.close()
    assert not session.is_open


async def test_326_is_noticed_at_once(tws: Any) -> None:
    tws.greeting = [(4, 2, -1, 326, "client id is in use", "")]
    with pytest.raises(ClientIdInUse):
        await asyncio.wait_for(opened(tws), 1.0)


async def test_a_port_where_nobody_listens_is_unavailable() -> None:
    with pytest.raises(BrokerUnavailable, match="nobody listens"):
        await IbSession(5, Heard()).open("127.0.0.1", 1, limit_s=1.0)


async def test_an_execution_in_an_unknown_time_zone_is_not_lost(tws: Any) -> None:
    session, heard = await opened(tws)
    tws.send(*EXECUTION)
    await until(lambda: heard.of("executed"))
    (execution,) = heard.of("executed")[0]
    assert (execution.exec_id, execution.shares, execution.side) == ("e.01.01", Decimal(5), Side.BUY)
    assert execution.ts_ns == 1795428000 * 10**9
    await session.close()


async def test_much_at_once_is_told_whole_and_in_order_before_the_end_of_the_socket(tws: Any) -> None:
    _, heard = await opened(tws)
    fields = list(EXECUTION)
    for number in range(1500):
        fields[14] = f"e.{number}.01"
        tws.send(*fields)
    tws.writer.close()
    await until(lambda: heard.of("closed"))
    names = [name for name, _ in heard.told]
    assert [execution.exec_id for (execution,) in heard.of("executed")] == [f"e.{number}.01" for number in range(1500)]
    assert "executed" not in names[names.index("closed") :]


async def test_what_does_not_decode_is_told_and_the_rest_goes_on(tws: Any) -> None:
    session, heard = await opened(tws)
    tws.send(11, "nonsense")
    tws.send(3, 4, "x")
    tws.send(9999, "a message of the future")
    tws.send(3, 4, "Submitted", 0, 10, 0, 99, 0, 0, 5, "", 0)
    await until(lambda: heard.of("order_status"))
    assert [message_id for message_id, _, _ in heard.of("unreadable")] == [11, 3]
    (line,) = heard.of("order_status")[0]
    assert (line.order_id, line.perm_id, line.status) == (4, 99, "Submitted")
    await session.close()


async def test_a_query_that_fails_or_times_out_is_never_an_empty_answer(tws: Any) -> None:
    session, _ = await opened(tws)
    with pytest.raises(TimedOut):
        await session.open_orders(limit_s=0.1)
    asked = asyncio.create_task(session.executions(limit_s=2.0))
    await until(lambda: [frame for frame in tws.frames if frame[0] == "7"])
    req_id = next(frame for frame in tws.frames if frame[0] == "7")[2]
    tws.send(4, 2, req_id, 321, "no", "")
    with pytest.raises(QueryFailed):
        await asked
    lost = asyncio.create_task(session.positions(limit_s=2.0))
    await asyncio.sleep(0)
    tws.writer.close()
    with pytest.raises(BrokerUnavailable):
        await lost
    await session.close()


async def test_two_questions_for_open_orders_are_asked_one_after_the_other(tws: Any) -> None:
    session, _ = await opened(tws)
    both = [asyncio.create_task(session.open_orders(limit_s=2.0)) for _ in range(2)]
    await until(lambda: [frame for frame in tws.frames if frame[0] == "5"])
    await asyncio.sleep(0.05)
    assert len([frame for frame in tws.frames if frame[0] == "5"]) == 1
    tws.send(53, 1)
    await until(lambda: len([frame for frame in tws.frames if frame[0] == "5"]) == 2)
    tws.send(53, 1)
    assert [await each for each in both] == [[], []]
    await session.close()


async def test_a_group_leaves_in_one_write_with_exact_numbers(tws: Any) -> None:
    session, _ = await opened(tws)
    orders = [
        ClaimedOrder(
            number, f"ref{number}", "DU1", 1, Side.BUY, Decimal("0.5"), "LMT", Decimal("10.10"), None, "DAY", False,
            number == 9, parent_id=0 if number == 7 else 7,
        )
        for number in (7, 8, 9)
    ]  # fmt: skip
    writes: list[Any] = []
    transport = session._transport
    assert transport is not None
    original = transport.write

    def counted(data: Any) -> None:
        writes.append(data)
        original(data)

    transport.write = counted  # type: ignore[method-assign]
    session.place(orders, None)
    assert len(writes) == 1
    await until(lambda: len([frame for frame in tws.frames if frame[0] == "3"]) == 3)
    placed = [frame for frame in tws.frames if frame[0] == "3"]
    assert [frame[26] for frame in placed] == ["ref7", "ref8", "ref9"]
    assert [frame[27] for frame in placed] == ["0", "0", "1"] and [frame[28] for frame in placed] == ["0", "7", "7"]
    assert {(frame[17], frame[19]) for frame in placed} == {("0.5", "10.10")}
    await session.close()
    with pytest.raises(BrokerUnavailable):
        session.place(orders, None)


async def test_what_was_encoded_ahead_is_sent_only_as_the_very_orders_that_were_claimed(tws: Any) -> None:
    session, _ = await opened(tws)
    order = ClaimedOrder(
        7, "ref7", "DU1", 1, Side.BUY, Decimal("0.5"), "LMT", Decimal("10.10"), None, "DAY", False, True
    )  # fmt: skip
    said: Any = terms_in(order)
    hoped = OrderTerms(*said)
    session.prepare([hoped], None)
    encoded = session._encoded
    assert encoded is not None and not tws.frames[2:]  # nothing of it has left
    assert encoded.says([order], None)
    for other in (replace(order, order_id=8), replace(order, quantity=Decimal(1)), replace(order, account="DU2")):
        assert not encoded.says([other], None)
        session.prepare([hoped], None)
        session.place([other], None)
    assert not encoded.says([order, order], None)
    assert session._encoded is None  # used up
    session.prepare([hoped], None)
    session.place([order], None)
    session.place([order], None)  # encoded anew: what was prepared is used up
    await until(lambda: len([frame for frame in tws.frames if frame[0] == "3"]) == 5)
    placed = [frame for frame in tws.frames if frame[0] == "3"]
    assert [(frame[1], frame[17]) for frame in placed] == [
        ("8", "0.5"), ("7", "1"), ("7", "0.5"), ("7", "0.5"), ("7", "0.5"),
    ]  # fmt: skip
    assert placed[3] == placed[4]
    await session.close()
    session.prepare([hoped], None)
    assert session._encoded is None


async def test_the_end_of_the_socket_is_told_once(tws: Any) -> None:
    session, heard = await opened(tws)
    tws.writer.close()
    await until(lambda: heard.of("closed"))
    await session.close()
    assert len(heard.of("closed")) == 1 and not session.is_open
