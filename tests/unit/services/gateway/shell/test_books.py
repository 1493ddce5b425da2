"""The books' shell: read back from the bus, corrections found there, kept for a successor."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, cast

import pytest

from services.gateway.shell.account import AccountDesk
from services.gateway.shell.books import BooksDesk
from services.gateway.shell.contracts import Contracts
from services.gateway.shell.journal import JournalDesk
from services.gateway.shell.outbox import Outbox
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.messages.base import Message
from shared.messages.control import Control, ControlAction, PositionMove
from shared.messages.orders import Fill, OrderEvent, OrderState, Side
from tests.support import eventually


class Trading:
    """What the books ask of the trading session."""

    rounds = 0
    can_send = False

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, reason: str) -> None:
        self.asked.append(reason)


def fill(exec_id: str, quantity: int) -> Fill:
    stem, _, revision = exec_id.rpartition(".")
    return Fill(
        exec_id=exec_id, exec_stem=stem, revision=int(revision), intent_id="i" * 20, strategy="demo", account="DU1",
        con_id=1, side=Side.BUY, quantity=Decimal(quantity), price=Decimal(1),
    )  # fmt: skip


@pytest.fixture
async def bus() -> MemoryBus:
    return MemoryBus(MemoryServer(), Keys("sim"))


def desk_on(bus: MemoryBus) -> BooksDesk:
    outbox = Outbox(bus, "gateway:a")
    account = AccountDesk(bus, outbox, "DU1", session=lambda: None, limit_s=1.0)
    trading = cast(Any, Trading())
    contracts = Contracts(bus, outbox, lambda: None, limit_s=1.0)
    journal = JournalDesk(bus, outbox, account, contracts, trading, account_id="DU1", time_zone="America/New_York")
    return BooksDesk(bus, outbox, account, trading, journal, account_id="DU1", source="gateway:a")


async def test_a_correction_is_counted_by_whoever_reads_it(bus: MemoryBus) -> None:
    desk = desk_on(bus)
    await bus.append(bus.keys.fills, fill("e.1.01", 10), source="t")
    await desk.turn()
    assert desk.books.expected(1) == 10
    await bus.hash_set(bus.keys.books, {"snapshot": desk.books.to_json()})
    await bus.append(bus.keys.fills, fill("e.1.02", 7), source="t")
    await desk.turn()
    successor = desk_on(bus)
    successor.books = await successor._restored()
    await successor.turn()
    assert desk.books.expected(1) == successor.books.expected(1) == 7


async def test_only_orders_that_are_not_ours_are_read(bus: MemoryBus) -> None:
    desk = desk_on(bus)
    event = OrderEvent(
        state=OrderState.FILLED, strategy="unassigned", account="DU1", con_id=1, side=Side.SELL, quantity=Decimal(5),
        order_type="LMT", perm_id=77, is_external=True, filled=Decimal(5),
    )  # fmt: skip
    await bus.append(bus.keys.orders, event, source="t")
    await bus.append(bus.keys.orders, event.model_copy(update={"order_ref": "cqabc", "is_external": False}), source="t")
    await desk.turn()
    assert desk.books.shares(1) == {"unassigned": Decimal(-5)}


async def test_an_entry_that_cannot_be_read_is_kept_and_the_broker_asked() -> None:
    server = MemoryServer()
    bus = MemoryBus(server, Keys("sim"))
    desk = desk_on(bus)
    server.add(bus.keys.fills, {"type": b"fill", "id": b"e.1.01", "body": b"\xff"})
    await bus.append(bus.keys.fills, fill("e.2.01", 3), source="t")
    await desk.turn()
    assert desk.books.expected(1) == 3
    assert await bus.stream_length(bus.keys.dead_letter) == 1 and len(desk._trading.asked) == 1  # type: ignore[attr-defined]
    await desk.turn()
    assert await bus.stream_length(bus.keys.dead_letter) == 1


async def test_damaged_books_begin_anew_and_adopt_nothing(bus: MemoryBus) -> None:
    await bus.hash_set(bus.keys.books, {"snapshot": "nothing"})
    desk = desk_on(bus)
    assert (await desk._restored()).is_begun


async def test_a_word_on_nothing_changes_nothing(bus: MemoryBus) -> None:
    desk = desk_on(bus)
    for scope in ("account", "contract:x", "contract:1"):
        desk.accept(
            Control(control_id="c", action=ControlAction.ACCEPT_POSITION, scope=scope, who="a", ts_init_ns=2**60)
        )
    assert desk.books.shares(1) == {}


async def test_a_move_is_written_to_fills_and_counted_when_it_is_read_back(bus: MemoryBus) -> None:
    desk = desk_on(bus)
    await bus.append(bus.keys.fills, fill("e.1.01", 10), source="t")
    await desk.turn()
    put: list[tuple[str, Message]] = []
    desk._outbox.put = lambda stream, message: put.append((stream, message))  # type: ignore[method-assign]
    asked = PositionMove(taken_from="demo", given_to="dip", quantity=Decimal(4), price=Decimal(7))
    for scope, text in (
        ("contract:1", asked.model_dump_json()),
        ("contract:2", asked.model_dump_json()),
        ("contract:1", "what"),
        ("account", asked.model_dump_json()),
    ):
        desk.assign(Control(control_id="m", action=ControlAction.ASSIGN_POSITION, scope=scope, who="a", text=text))
    ((stream, made),) = put
    assert stream == bus.keys.fills and desk.books.shares(1) == {"demo": 10}
    for _ in range(2):
        await bus.append(stream, made, source="gateway:a")
        await desk.turn()
    assert desk.books.shares(1) == {"demo": 6, "dip": 4}


async def test_a_successor_shows_at_once_whose_the_positions_are(bus: MemoryBus) -> None:
    before = desk_on(bus)
    await bus.append(bus.keys.fills, fill("e.1.01", 10), source="t")
    await before.turn()
    await bus.hash_set(bus.keys.books, {"snapshot": before.books.to_json()})
    successor = desk_on(bus)
    refreshed: list[int] = []
    successor._account.refresh = lambda con_ids: refreshed.extend(con_ids)  # type: ignore[method-assign]
    running = asyncio.ensure_future(successor.run())
    await eventually(lambda: 1 in refreshed)
    running.cancel()
